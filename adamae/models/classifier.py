"""The video classifier for fine-tuning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adamae.checks import check_choice, check_rate
from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.block import initialise_normal
from adamae.layers.dropping import dropout
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.pixels import PixelNormalisation, checked_grid, cut_pixels
from adamae.layers.recomputation import CheckpointActivations
from adamae.models.encoder import Encoder
from adamae.models.naming import adopt_reference_names
from adamae.models.noise_streams import FRAMES_AFTER_BLOCKS, HEAD_AFTER_BLOCKS, TOKENS_AFTER_BLOCKS
from adamae.models.weight_decay import names_without_decay
from adamae.randomness import SampleNoise
from adamae.samplers.frame_choice import FrameChoice
from adamae.samplers.token_choice import TokenChoice
from adamae.selection import TokenSelection, gather_tokens


class Classifier(nn.Module):
    """An encoder with mean pooling, a norm and a head.

    With a plain ViT (:func:`~adamae.models.vit.vit_classifier`) state-dict keys and shapes are those of the published
    fine-tuned checkpoints: encoder keys without a prefix, no ``norm`` (pooling comes first), and additional ``fc_norm``
    and ``head``.

    Names in a state dict differ from those of ``named_parameters`` (:func:`~adamae.models.reference_name`). Code that
    looks up names of a state dict in the module tree, such as ``torch.distributed.checkpoint.state_dict``, needs
    :func:`~adamae.models.use_module_names`.

    Args:
        encoder: Encodes all tokens, or only the selected ones with ``token_choice``.
        head: Maps a feature (B, D) to logits; None: the model returns features.
        fc_drop_rate: Dropout before the head.
        use_mean_pooling: Mean over the tokens and then a norm; else the first token.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        token_choice: Selects the tokens to encode in training and evaluation; None: all.
        frame_choice: Selects frames of longer clips; None: clips are used unchanged.

    Raises:
        UserError: If the encoder does not support the selected tokens, or ``fc_drop_rate`` is not in [0, 1).
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module | None = None,
        *,
        fc_drop_rate: float = 0.0,
        use_mean_pooling: bool = True,
        imagenet_default_mean_and_std: bool = True,
        token_choice: TokenChoice | None = None,
        frame_choice: FrameChoice | None = None,
    ) -> None:
        super().__init__()
        check_rate("fc_drop_rate", fc_drop_rate)
        self.grid = encoder.grid
        self.encoder = encoder
        self.pixel_norm = PixelNormalisation(encoder.in_chans, imagenet_default_mean_and_std)
        self.fc_norm = LayerNorm(encoder.embed_dim) if use_mean_pooling else None
        self.fc_drop_rate = fc_drop_rate
        self.head = nn.Identity() if head is None else head
        self.frame_choice = frame_choice or FrameChoice(self.grid, None)
        self.token_choice = token_choice or TokenChoice("none", 1.0, self.grid, encoder.patch_embed.embed_dim)
        encoder.check_takes("visible" if self.token_choice.active else "all")
        adopt_reference_names(
            self,
            [
                *((f"token_choice.{ours}", theirs) for ours, theirs in self.token_choice.published_names),
                ("encoder.", ""),
            ],
        )

    def forward(self, video: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Compute the logits of clips.

        Args:
            video: Raw clips (B, T, H, W, C) uint8, or standardised ones (B, C, T, H, W) float.
            seeds: (B,) integers, preferably on the host, for dropout, stochastic depth and random token selection. Only
                dropout of attention weights draws from torch's generator. See :meth:`noise` for None.

        Returns:
            (B, num_classes) logits, or features (B, D) without a head.

        Raises:
            UserError: If the clips have the wrong type or shape.
        """
        noise = self.noise(video, seeds)
        return self._logits(self.pool(self.encode(video, noise)), noise if self.training else None)

    def forward_features(self, video: Tensor) -> Tensor:
        """Encode clips to tokens without pooling, as timm's models do; ``forward_head`` takes the result.

        Args:
            video: As in :meth:`forward`.

        Returns:
            (B, N, D) features, or (B, K, D) of the selected tokens; see :meth:`encode`.
        """
        return self.encode(video, self.noise(video))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Compute logits (B, num_classes) from the features (B, N, D) of :meth:`forward_features`.

        Args:
            features: (B, N, D).
            pre_logits: Return the pooled features (B, D) before dropout and head.
        """
        feature = self.pool(features)
        if pre_logits:
            return feature
        return self._logits(feature, SampleNoise.fresh(len(feature), feature.device) if self.training else None)

    def _logits(self, feature: Tensor, noise: SampleNoise | None) -> Tensor:
        """Apply the head, in training after dropout; ``noise`` is None in evaluation."""
        if noise is not None and self.fc_drop_rate:
            feature = dropout(feature, self.fc_drop_rate, noise.fold_in(self.encoder.depth + HEAD_AFTER_BLOCKS))
        logits: Tensor = self.head(feature)
        return logits

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, C) of a clip; T counts the frames before the selection by ``frame_choice``."""
        return (*self.frame_choice.candidates.clip_shape, self.encoder.in_chans)

    @property
    def num_classes(self) -> int:
        """Outputs of the linear head; 0 without one."""
        return int(getattr(self.head, "out_features", 0))

    @property
    def num_features(self) -> int:
        """Width D of the features."""
        return self.encoder.embed_dim

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one, initialised as in a new model.

        Args:
            num_classes: Outputs of the head; 0: no head, the model returns features.
        """
        like = next(self.encoder.parameters())
        new = new_head(self.num_features, num_classes, 1.0) if num_classes else nn.Identity()
        self.head = new.to(like.device, like.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks of the encoder in the backward pass; see :meth:`checkpoint_activations`."""
        self.checkpoint_activations("all" if enable else "none")

    def no_weight_decay(self) -> set[str]:
        """Return the names, in the module tree, of tokens and position embeddings without weight decay."""
        return names_without_decay(self)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return how timm groups parameters by layer for layer decay: input, blocks, and all after them.

        Args:
            coarse: Ignored: blocks are not grouped further.
        """
        first = "|".join((r"patch_embed\.", *(f"{name}$" for name in self.encoder.first_layer)))
        return {"stem": rf"^encoder\.(?:{first})", "blocks": [(r"^encoder\.blocks\.(\d+)\.", None)]}

    def checkpoint_activations(self, parts: CheckpointActivations) -> None:
        """Choose the parts that are recomputed in the backward pass; losses and gradients do not change.

        Args:
            parts: "none" or "all" (each block of the encoder).

        Raises:
            UserError: If ``parts`` is "decoder" or unknown.
        """
        if parts == "decoder":
            raise UserError("checkpoint_activations = 'decoder': a classifier has no decoder; expected none or all")
        check_choice("checkpoint_activations", parts, ("none", "all"))
        self.encoder.recompute_blocks(parts == "all")

    def noise(self, video: Tensor, seeds: Tensor | None = None) -> SampleNoise:
        """Return the noise of a batch.

        Without seeds, training draws them from torch's generator. In evaluation the seed of a clip is computed from its
        pixels, so the result depends only on the clip.

        Raises:
            UserError: As in :meth:`forward`.
        """
        self._grid_of(video)
        if seeds is not None:
            return SampleNoise(seeds, video.device)
        return SampleNoise.fresh(len(video), video.device) if self.training else SampleNoise(_fingerprint(video))

    def encode(self, video: Tensor, noise: SampleNoise) -> Tensor:
        """Encode clips as in :meth:`forward` to features (B, N, D), or (B, K, D) of the selected tokens."""
        tokenizer = self.encoder.patch_embed
        tokens_noise = noise.fold_in(self.encoder.depth + TOKENS_AFTER_BLOCKS)
        frames_noise = noise.fold_in(self.encoder.depth + FRAMES_AFTER_BLOCKS)
        pixels = cut_pixels(video, self._grid_of(video), self.pixel_norm)
        pixels, _ = self.frame_choice.shorten(pixels, tokenizer.exact, frames_noise, self.training)
        tokens = tokenizer.exact(pixels) if self.token_choice.exact_tokens else tokenizer(pixels)
        chosen, selection = self.token_choice(tokens, tokens_noise), None
        if chosen is not None:
            # No target tokens.
            tokens, selection = gather_tokens(tokens, chosen), TokenSelection(chosen, chosen[:, :0])
        encoded: Tensor = self.encoder(tokens, noise, selection)
        return encoded

    def _grid_of(self, video: Tensor) -> TokenGrid:
        return checked_grid(video, self.frame_choice.grids, self.encoder.in_chans, self.encoder.patch_embed.dtype)

    def pool(self, tokens: Tensor) -> Tensor:
        """Pool encoded tokens (B, N, D) to one feature (B, D)."""
        return tokens[:, 0] if self.fc_norm is None else self.fc_norm(tokens.mean(dim=1))


def _fingerprint(video: Tensor) -> Tensor:
    """(B,) integer sum of a clip's values (their bits for floats), exact and so equal on every device."""
    whole = video if video.dtype == torch.uint8 else video.float().contiguous().view(torch.int32)
    return whole.flatten(1).sum(dim=1, dtype=torch.int64) % 2**31


def new_head(embed_dim: int, num_classes: int, scale: float) -> nn.Linear:
    """Return a classifier's head with its initial values multiplied by ``scale``."""
    head = nn.Linear(embed_dim, num_classes)
    initialise_normal(head)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(scale)
    return head
