"""The masked autoencoder that is pre-trained: sampler, encoder, decoder and their losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.layers.block import recompute_blocks
from adamae.layers.pixels import PixelNormalisation, cut_pixels, frames_in
from adamae.layers.recomputation import CheckpointActivations, recomputed
from adamae.losses.neighbour_gain import neighbour_gain_loss
from adamae.losses.reconstruction import (
    Metric,
    Statistics,
    reconstruction_target,
    token_error,
    trivial_error,
    trivial_token_error,
)
from adamae.losses.sampling import Reduction, Reward, entropy, sampling_loss
from adamae.models.decoder import Decoder
from adamae.models.decoder_budget import checked_budget, draw_part
from adamae.models.encoder import Encoder
from adamae.models.naming import Prefixes, adopt_reference_names
from adamae.models.past_network import PastNetwork
from adamae.randomness import SampleNoise
from adamae.samplers.frame_choice import FrameChoice
from adamae.samplers.sampler import Sampler
from adamae.selection import TokenSelection, gather_tokens


@dataclass
class PretrainOutput:
    """What one forward pass gives.

    Attributes:
        prediction: (B, M, P) predicted pixels of the target tokens, colour fastest.
        selection: Which tokens were visible, which were targets, and the log-probabilities of all.
        token_error: (B, M) reconstruction error of each target token.
        losses: 0-dim tensors: "loss" is what to minimise, "reconstruction" and "sampling" its parts.
        frames: (B, T) which frames of the clips were looked at; None for all.
    """

    prediction: Tensor
    selection: TokenSelection
    token_error: Tensor
    losses: dict[str, Tensor]
    frames: Tensor | None = None


class Pretrainer(nn.Module):
    """A masked autoencoder put together from an encoder, a sampler and a decoder.

    With a plain ViT (:func:`~adamae.models.vit.vit_pretrainer`) it is AdaMAE (learnable masks), VideoMAE and its
    relatives (random, tube or frame masks) or EVEREST (motion masks), and state-dict keys and shapes are those of the
    published checkpoints.

    Args:
        encoder: Takes visible tokens alone.
        sampler: Chooses them on the encoder's grid.
        decoder: Predicts target tokens of the same grid.
        mask_token: (1, 1, D') what the decoder reads for a target token; None: a new one.
        encoder_to_decoder: From what the encoder gives, and the selection, to the visible tokens (B, V, D') in the
            decoder's width; None: a linear layer without bias.
        frame_choice: Shortens clips of more frames; None: clips are taken as they are.
        decoder_budget: Share of the hidden tokens that the decoder reconstructs at each step of training, a new random
            part each time; see :mod:`adamae.models.decoder_budget`.
        normalize_target: Normalise each target token by its own mean and deviation.
        target_statistics: Take them per "colour" or over all values of the "token".
        reconstruction_loss: "mse" or "l1".
        sampling_weight: Weight of the sampling loss.
        sampling_reward: What the sampler is rewarded by: the "error" of a target token (paper); its learning
            "progress", the error of an average of past weights less the error (:mod:`adamae.models.past_network`); or
            what visible tokens were worth to their "neighbours" (:mod:`adamae.losses.neighbour_gain`).
        sampling_reduction: "mean" (published code) or "sum" (paper) over the target tokens; "neighbours": always mean.
        sampling_advantage: Reward by the error over the clip's mean (not in the paper).
        sampling_entropy_weight: Reward for entropy (not in the paper).
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        published_names: How published checkpoints call the parts: (prefix here, prefix there), see
            :func:`~adamae.models.naming.adopt_reference_names`; the sampler's stand before them.

    Raises:
        UserError: If the parts do not fit together, or the sampler leaves nothing to see or to predict.
    """

    def __init__(
        self,
        encoder: Encoder,
        sampler: Sampler,
        decoder: Decoder,
        *,
        mask_token: nn.Parameter | None = None,
        encoder_to_decoder: nn.Module | None = None,
        frame_choice: FrameChoice | None = None,
        decoder_budget: float = 1.0,
        normalize_target: bool = True,
        target_statistics: Statistics = "colour",
        reconstruction_loss: Metric = "mse",
        sampling_weight: float = 1e-4,
        sampling_reward: Reward = "error",
        sampling_reduction: Reduction = "mean",
        sampling_advantage: bool = False,
        sampling_entropy_weight: float = 0.0,
        imagenet_default_mean_and_std: bool = True,
        published_names: Prefixes = (),
    ) -> None:
        super().__init__()
        encoder.check_sampler(sampler)
        if decoder.grid != encoder.grid:
            raise UserError(f"the decoder's tokens are {decoder.grid}: expected the encoder's, {encoder.grid}")
        if normalize_target and encoder.grid.tubelet_size * encoder.grid.patch_size**2 == 1:
            raise UserError(
                "tokens of one pixel (tubelet_size = patch_size = 1): expected larger tokens, or targets that are not "
                "normalised by each token's deviation"
            )
        sampler.num_visible(encoder.grid)
        if sampler.num_secondary(encoder.grid):
            encoder.learn_secondary_token()
        self.grid = encoder.grid
        self.frame_choice = frame_choice or FrameChoice(self.grid, None)
        self.pixel_values = PixelNormalisation(encoder.in_chans, imagenet_default_mean_and_std)
        self.mask_token = new_mask_token(decoder.embed_dim) if mask_token is None else mask_token
        self.encoder = encoder
        self.sampler = sampler
        self.decoder = decoder
        if encoder_to_decoder is None:
            encoder_to_decoder = Projection(encoder.embed_dim, decoder.embed_dim, bias=False)
        self.encoder_to_decoder = encoder_to_decoder
        with_past = sampling_reward == "progress" and sampler.learns
        self.past = PastNetwork(encoder, encoder_to_decoder, decoder, self.mask_token) if with_past else None
        self.decoder_budget = checked_budget(decoder_budget)
        self.normalize_target = normalize_target
        self.target_statistics: Statistics = target_statistics
        self.reconstruction_loss: Metric = reconstruction_loss
        self.sampling_weight = sampling_weight
        self.sampling_reward: Reward = sampling_reward
        self.sampling_options: dict[str, Any] = {
            "reduction": sampling_reduction,
            "advantage": sampling_advantage,
            "entropy_weight": sampling_entropy_weight,
        }
        self.checkpoint_activations("none")
        adopt_reference_names(
            self,
            [
                *((f"sampler.{ours}", f"encoder.{theirs}") for ours, theirs in sampler.published_names),
                *published_names,
            ],
        )

    def begin_update(self) -> None:
        """To be called before the forward passes of each update, as the engines do, and not for each micro-batch.

        It moves the average of past weights that ``sampling_reward="progress"`` compares with; else it does nothing.
        """
        if self.past is not None:
            self.past.follow(self)

    def forward(
        self, video: Tensor, visible: Tensor | None = None, seeds: Tensor | None = None, diagnose: bool = False
    ) -> PretrainOutput:
        """One pass from clips to losses.

        Args:
            video: Raw clips (B, T, H, W, C) uint8, or standardised ones (B, C, T, H, W) float.
            visible: (B, V) indices of the visible tokens, to prescribe what the sampler would draw.
            seeds: (B,) integers, best on the host; with the same seed a clip is treated the same in every batch. None
                draws them from torch's generator.
            diagnose: Add to the losses what a person watches: "trivial", and of a learned sampler "entropy" and
                "top_tenth" (see :meth:`diagnosis`).
        """
        noise = SampleNoise.fresh(len(video), video.device) if seeds is None else SampleNoise(seeds, video.device)
        exact = self.encoder.patch_embed.exact
        pixels, frames = self.frame_choice.shorten(self.pixels(video), exact, noise.fold_in(3), self.training)
        seen, selection = self.select_tokens(pixels, noise.fold_in(0), visible)
        if self.training and self.decoder_budget < 1:
            selection = draw_part(selection, self.decoder_budget, noise.fold_in(4))
        latent = self.encoder(seen, noise.fold_in(1), selection)
        visible_tokens = self.encoder_to_decoder(latent, selection)
        decoded = self.decoder.decode(visible_tokens, self.mask_token, selection, noise.fold_in(2))
        # The bytes of the batch are there anyway, so where little is to be kept they are kept and not their pixels.
        source = video if self._recompute and frames is None else pixels
        prediction, error = recomputed(self._recompute, self.reconstruct, decoded, source, selection)
        losses = {"loss": error.mean(), "reconstruction": error.mean().detach()}
        if selection.log_probs is not None:
            sampling = self.sampling_loss(pixels, selection, error, noise)
            losses["loss"] = losses["loss"] + self.sampling_weight * sampling
            losses["sampling"] = sampling.detach()
        if diagnose:
            # Not |=, which the compiler of torch 2.6 cannot follow.
            losses.update(self.diagnosis(pixels, selection))
        return PretrainOutput(prediction, selection, error, losses, frames)

    def pixels(self, video: Tensor) -> Tensor:
        """Clips as in :meth:`forward` to standardised tokens' pixels (B, N, P), cut once for all uses."""
        return cut_pixels(video, self.frame_choice.grid_of(frames_in(video)), self.pixel_values)

    def embed(self, pixels: Tensor) -> Tensor:
        """Pixels (B, V, P) to tokens (B, V, D), in the precision in which the sampler chooses."""
        return self._embed(pixels, self.sampler.exact_tokens)

    def tokens_for(self, sampler: Sampler, pixels: Tensor) -> Tensor:
        """Pixels (B, N, P) to the tokens (B, N, D) that ``sampler`` looks at; the pixels where it reads no tokens."""
        return self._embed(pixels, sampler.exact_tokens) if sampler.reads_tokens else pixels

    def _embed(self, pixels: Tensor, exact: bool) -> Tensor:
        tokens: Tensor = (self.encoder.patch_embed.exact if exact else self.encoder.patch_embed)(pixels)
        return tokens

    def select_tokens(
        self, pixels: Tensor, noise: SampleNoise, visible: Tensor | None
    ) -> tuple[Tensor, TokenSelection]:
        """Choose.

        Unless the sampler teaches the tokenizer, the tokens that it chooses from carry no gradient, and those of the
        visible pixels are made a second time: the backward pass is then that of V tokens instead of N. Where it reads
        no tokens, those of the visible pixels are all that are made.

        Args:
            pixels: (B, N, P) of all tokens.
            noise: What the sampler draws from.
            visible: (B, V) a choice already made.

        Returns:
            (B, V, D) the visible tokens without positions, and where they and the targets lie.
        """
        taught = self.sampler.teaches_tokenizer
        tokens = self.tokens_for(self.sampler, pixels)
        tokens = tokens if taught else tokens.detach()
        selection = self.sampler(tokens, pixels, self.grid, noise, visible)
        at = selection.visible
        seen = gather_tokens(tokens, at) if taught else self.embed(gather_tokens(pixels, at))
        return seen, selection

    def target(self, pixels: Tensor, selection: TokenSelection) -> Tensor:
        """(B, M, P) what the decoder should predict."""
        wanted = gather_tokens(pixels, selection.target)
        return reconstruction_target(wanted, self.pixel_values, self.normalize_target, self.target_statistics)

    def reconstruct(self, decoded: Tensor, source: Tensor, selection: TokenSelection) -> tuple[Tensor, Tensor]:
        """The decoder's last layers, and what they are judged by.

        Args:
            decoded: (B, M, D') target tokens behind the decoder's blocks.
            source: (B, N, P) pixels of all tokens, or the clips that they are cut from.
            selection: Says which are the target tokens.

        Returns:
            (B, M, P) the prediction, and (B, M) its error.
        """
        pixels = source if source.dim() == 3 else self.pixels(source)
        prediction = self.decoder.predict(decoded)
        return prediction, token_error(prediction, self.target(pixels, selection), self.reconstruction_loss)

    def sampling_loss(self, pixels: Tensor, selection: TokenSelection, error: Tensor, noise: SampleNoise) -> Tensor:
        """What teaches the sampler: 0-dim.

        Args:
            pixels: (B, N, P) of all tokens.
            selection: With the sampler's distribution.
            error: (B, M) of the target tokens.
            noise: Of this forward pass.
        """
        if self.sampling_reward == "error":
            return sampling_loss(selection, error, **self.sampling_options)
        visible, target = gather_tokens(pixels, selection.visible), self.target(pixels, selection)
        if self.past is not None:
            past = token_error(self.past(visible, selection, noise), target, self.reconstruction_loss)
            return sampling_loss(selection, past - error, **self.sampling_options)
        trivial = trivial_token_error(
            target, visible, self.pixel_values, self.normalize_target, self.reconstruction_loss
        )
        return neighbour_gain_loss(selection, trivial - error, self.grid)

    def checkpoint_activations(self, parts: CheckpointActivations) -> None:
        """Choose what is computed again in the backward pass instead of being kept; losses and gradients stay.

        Args:
            parts: "decoder" is all that looks at all tokens: the sampler, each block of the decoder, and the
                reconstruction loss; "all" adds each block of the encoder.
        """
        self._recompute = parts != "none"
        self.sampler.recompute = self._recompute
        recompute_blocks(self.decoder.blocks, self._recompute)
        self.encoder.recompute_blocks(parts == "all")

    @torch.no_grad()
    def diagnosis(self, pixels: Tensor, selection: TokenSelection) -> dict[str, Tensor]:
        """What tells a person whether training goes well.

        Returns:
            "trivial": loss of the prediction that needs no network; "entropy": of the sampler's distribution over
            that of the uniform one, 1 when nothing is preferred; "top_tenth": share of the visible tokens that lie
            on the tenth of the clip with the highest probability, 0.1 when nothing is preferred.
        """
        visible, target = gather_tokens(pixels, selection.visible), self.target(pixels, selection)
        trivial = trivial_error(target, visible, self.pixel_values, self.normalize_target, self.reconstruction_loss)
        result = {"trivial": trivial}
        if selection.log_probs is not None:
            top = selection.log_probs.topk(max(1, self.grid.num_tokens // 10), dim=1).indices
            on_top = torch.zeros_like(selection.log_probs).scatter(1, top, 1)
            result["entropy"] = entropy(selection.log_probs).mean() / self.sampler.max_entropy(self.grid)
            result["top_tenth"] = on_top.gather(1, selection.visible).mean()
        return result

    @property
    def learns_to_sample(self) -> bool:
        """Whether the sampler has anything to learn."""
        return self.sampler.learns


class Projection(nn.Linear):
    """A linear layer from the encoder's tokens to the decoder's width."""

    def forward(self, latent: Tensor, selection: TokenSelection) -> Tensor:  # type: ignore[override]
        """(B, V, D) to (B, V, D')."""
        return super().forward(latent)


def new_mask_token(dim: int) -> nn.Parameter:
    """(1, 1, D') a mask token with its start values."""
    # Clipped at one deviation, as published: the values' own deviation is then about half of it.
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02, a=-0.02, b=0.02))
