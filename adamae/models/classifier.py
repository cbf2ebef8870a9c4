"""The video classifier that is fine-tuned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.layers.dropping import dropout
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.pixels import PixelNormalisation, cut_pixels, frames_in
from adamae.layers.recomputation import CheckpointActivations
from adamae.models.encoder import Encoder
from adamae.models.naming import adopt_reference_names
from adamae.randomness import SampleNoise
from adamae.samplers.frame_choice import FrameChoice
from adamae.samplers.token_choice import TokenChoice
from adamae.selection import TokenSelection, gather_tokens


class Classifier(nn.Module):
    """An encoder with mean pooling, a norm and a head.

    With a plain ViT (:func:`~adamae.models.vit.vit_classifier`) state-dict keys and shapes are those of the published
    fine-tuned checkpoints: the encoder's without their prefix, no ``norm`` (pooling comes first), ``fc_norm`` and
    ``head`` added.

    Args:
        encoder: Takes all tokens, or visible ones alone where some are chosen.
        head: From a feature (B, D) to logits; None: the model gives features.
        fc_drop_rate: Dropout before the head.
        use_mean_pooling: Mean over the tokens and then a norm; else the first token.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        token_choice: Which tokens are encoded, in training and in evaluation; None: all.
        frame_choice: Shortens clips of more frames; None: clips are taken as they are.

    Raises:
        UserError: If the encoder cannot be given those tokens.
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
        self.grid = encoder.grid
        self.encoder = encoder
        self.pixel_values = PixelNormalisation(encoder.in_chans, imagenet_default_mean_and_std)
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
        """Clips to logits.

        Args:
            video: Raw clips (B, T, H, W, C) uint8, or standardised ones (B, C, T, H, W) float.
            seeds: (B,) integers, best on the host, that dropout, stochastic depth and a random selection of tokens draw
                from (dropout of attention weights alone draws from torch's generator); see :meth:`noise` for None.

        Returns:
            (B, num_classes), or features (B, D) where there is no head.
        """
        noise = self.noise(video, seeds)
        feature = self.pool(self.encode(video, noise))
        if self.training and self.fc_drop_rate:
            feature = dropout(feature, self.fc_drop_rate, noise.fold_in(self.encoder.depth + 2))
        logits: Tensor = self.head(feature)
        return logits

    def checkpoint_activations(self, parts: CheckpointActivations) -> None:
        """Choose what is computed again in the backward pass instead of being kept; losses and gradients stay.

        Args:
            parts: "none" or "all", which is each block.

        Raises:
            UserError: If the decoder is named.
        """
        if parts == "decoder":
            raise UserError("checkpoint_activations = 'decoder': a classifier has no decoder; expected none or all")
        self.encoder.recompute_blocks(parts == "all")

    def noise(self, video: Tensor, seeds: Tensor | None = None) -> SampleNoise:
        """What chance there is.

        Without seeds, training draws from torch's generator. In evaluation a clip's own content is its seed, so that
        its result depends on nothing else.
        """
        if seeds is not None:
            return SampleNoise(seeds, video.device)
        return SampleNoise.fresh(len(video), video.device) if self.training else SampleNoise(_fingerprint(video))

    def encode(self, video: Tensor, noise: SampleNoise) -> Tensor:
        """Clips as in :meth:`forward` to encoded tokens (B, N, D), or (B, K, D) of those that were chosen."""
        tokenizer = self.encoder.patch_embed
        # The encoder's layers have the noise's first children, dropout before the head the one behind these two.
        tokens_noise, frames_noise = (noise.fold_in(self.encoder.depth + number) for number in (0, 1))
        pixels = cut_pixels(video, self.frame_choice.grid_of(frames_in(video)), self.pixel_values)
        pixels, _ = self.frame_choice.shorten(pixels, tokenizer.exact, frames_noise, self.training)
        tokens = tokenizer.exact(pixels) if self.token_choice.exact_tokens else tokenizer(pixels)
        chosen, selection = self.token_choice(tokens, tokens_noise), None
        if chosen is not None:
            # Nothing is predicted.
            tokens, selection = gather_tokens(tokens, chosen), TokenSelection(chosen, chosen[:, :0])
        encoded: Tensor = self.encoder(tokens, noise, selection)
        return encoded

    def pool(self, tokens: Tensor) -> Tensor:
        """Encoded tokens (B, N, D) to one feature (B, D)."""
        return tokens[:, 0] if self.fc_norm is None else self.fc_norm(tokens.mean(dim=1))


def _fingerprint(video: Tensor) -> Tensor:
    """(B,) a number that a clip's values add up to, exactly and so on every device alike."""
    whole = video if video.dtype == torch.uint8 else video.float().contiguous().view(torch.int32)
    return whole.flatten(1).sum(dim=1, dtype=torch.int64) % 2**31
