"""The video classifier that is fine-tuned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.block import LayerNorm, recompute_blocks
from adamae.layers.pixels import PixelNormalisation, cut_pixels, frames_in
from adamae.layers.recomputation import CheckpointActivations
from adamae.models.encoder import Encoder, Positions
from adamae.models.naming import adopt_reference_names
from adamae.models.pretrainer import check_heads
from adamae.randomness import SampleNoise
from adamae.samplers.adaptive import Network
from adamae.samplers.frame_choice import FrameChoice
from adamae.samplers.token_choice import TokenChoice


class Classifier(Encoder):
    """The encoder with mean pooling, a norm and a linear head.

    State-dict keys and shapes are those of the published fine-tuned checkpoints: the encoder's without their
    prefix, no ``norm`` (pooling comes first), ``fc_norm`` and ``head`` added.

    Args:
        img_size: Frame size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side.
        tubelet_size: Frames in a token.
        num_frames: Frames in a clip.
        in_chans: Colour channels.
        num_classes: Outputs of the head; 0 means no head, so the model gives features.
        embed_dim: Width D.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D.
        qkv_bias: Whether queries and values have a bias.
        init_values: Start value of LayerScale, 0 for none.
        drop_rate: Dropout after each attention projection and MLP.
        attn_drop_rate: Dropout on the attention weights.
        drop_path_rate: Stochastic depth of the last block.
        fc_drop_rate: Dropout before the head.
        init_scale: Factor on the head's start values.
        use_mean_pooling: Mean over the tokens; else the first token, as VideoMAE's ``--use_cls`` does.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        position_embedding: "fixed" as published, "learned", or "separable" as in mae_st.
        cls_token: Whether a learned token takes part in the attention, as in mae_st.
        token_selection: Which tokens are encoded, in training and in evaluation: all ("none"), those that move most
            ("motion"), those that a learned sampler prefers ("adaptive"), or any ("random").
        keep_ratio: Share of the tokens that is then encoded.
        sampler_network: The learned sampler's network, as in the :class:`~adamae.models.Pretrainer` it comes from.
        sampler_depth: Its blocks.
        sampler_dim: Its width; None is the encoder's.
        sampler_mlp_ratio: Hidden width of its MLPs over its width.
        candidate_frames: Take clips of so many frames and look at those ``num_frames`` on which most happens; None
            looks at all. Clips of ``num_frames`` are taken as they are.
        frame_keep_ratio: Share of the candidates' tokens that is counted for that.
        frame_choice: "draw" by the counts, take the "top", or "auto": the one in training, the other in evaluation.

    Raises:
        UserError: If sizes do not divide, or ``position_embedding`` or ``token_selection`` is unknown.
    """

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        tubelet_size: int = 2,
        num_frames: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        init_values: float | None = 0.0,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        fc_drop_rate: float = 0.0,
        init_scale: float = 1.0,
        use_mean_pooling: bool = True,
        imagenet_default_mean_and_std: bool = True,
        position_embedding: Positions = "fixed",
        cls_token: bool = False,
        token_selection: str = "none",
        keep_ratio: float = 0.6,
        sampler_network: Network = "mha",
        sampler_depth: int = 1,
        sampler_dim: int | None = None,
        sampler_mlp_ratio: float = 4.0,
        candidate_frames: int | None = None,
        frame_keep_ratio: float = 0.3,
        frame_choice: str = "auto",
    ) -> None:
        check_heads("encoder", embed_dim, num_heads)
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        super().__init__(
            TokenGrid.of(num_frames, height, width, tubelet_size, patch_size),
            in_chans=in_chans,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            init_values=init_values,
            drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=drop_path_rate,
            final_norm=not use_mean_pooling,
            position_embedding=position_embedding,
            cls_token=cls_token,
        )
        self.pixel_values = PixelNormalisation(in_chans, imagenet_default_mean_and_std)
        self.fc_norm = LayerNorm(embed_dim) if use_mean_pooling else None
        self.fc_dropout = nn.Dropout(fc_drop_rate)
        self.head: nn.Module = nn.Identity()
        if num_classes:
            self.head = head = nn.Linear(embed_dim, num_classes)
            _initialise_normal(head)
            with torch.no_grad():
                for parameter in head.parameters():
                    parameter.mul_(init_scale)
        self.blocks.apply(_initialise_normal)
        self.frame_choice = FrameChoice(self.grid, candidate_frames, frame_keep_ratio, frame_choice)
        self.token_choice = TokenChoice(
            token_selection,
            keep_ratio,
            self.grid,
            embed_dim,
            mlp_ratio=sampler_mlp_ratio,
            network=sampler_network,
            depth=sampler_depth,
            dim=sampler_dim,
        )
        adopt_reference_names(self)

    def forward(self, video: Tensor, seeds: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Clips to logits.

        Args:
            video: Raw clips (B, T, H, W, C) uint8, or standardised ones (B, C, T, H, W) float.
            seeds: (B,) integers that stochastic depth and a random selection of tokens draw from; see :meth:`noise`
                for None.

        Returns:
            (B, num_classes), or features (B, D) where there is no head.
        """
        return self.head(self.fc_dropout(self.pool(self.encode(video, self.noise(video, seeds)))))

    def checkpoint_activations(self, parts: CheckpointActivations) -> None:
        """Choose what is computed again in the backward pass instead of being kept; losses and gradients stay.

        Args:
            parts: "none" or "all", which is each block.

        Raises:
            UserError: If the decoder is named.
        """
        if parts == "decoder":
            raise UserError("checkpoint_activations = 'decoder': a classifier has none; expected none or all")
        recompute_blocks(self.blocks, parts == "all")

    def noise(self, video: Tensor, seeds: Tensor | None = None) -> SampleNoise:
        """What chance there is.

        Without seeds, training draws from torch's generator. In evaluation a clip's own content is its seed, so that
        its result depends on nothing else.
        """
        if seeds is not None:
            return SampleNoise(seeds)
        return SampleNoise.fresh(len(video), video.device) if self.training else SampleNoise(_fingerprint(video))

    def encode(self, video: Tensor, noise: SampleNoise) -> Tensor:
        """Clips as in :meth:`forward` to encoded tokens (B, N, D), or (B, K, D) of those that were chosen."""
        # The blocks have the noise's first children.
        tokens_noise, frames_noise = (noise.child(len(self.blocks) + number) for number in (0, 1))
        pixels = cut_pixels(video, self.frame_choice.grid_of(frames_in(video)), self.pixel_values)
        pixels, _ = self.frame_choice.shorten(pixels, self.patch_embed.exact, frames_noise, self.training)
        tokens = self.patch_embed.exact(pixels) if self.token_choice.exact_tokens else self.patch_embed(pixels)
        return super().forward(tokens, noise, self.token_choice(tokens, tokens_noise))

    def pool(self, tokens: Tensor) -> Tensor:
        """Encoded tokens (B, N, D) to one feature (B, D)."""
        return tokens[:, 0] if self.fc_norm is None else self.fc_norm(tokens.mean(dim=1))


def _fingerprint(video: Tensor) -> Tensor:
    """(B,) a number that a clip's values add up to, exactly and so on every device alike."""
    whole = video if video.dtype == torch.uint8 else video.float().contiguous().view(torch.int32)
    return whole.flatten(1).sum(dim=1, dtype=torch.int64) % 2**31


def _initialise_normal(module: nn.Module) -> None:
    """The fine-tune networks' start: normal linear weights of deviation 0.02, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
