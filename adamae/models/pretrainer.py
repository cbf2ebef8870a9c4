"""The pre-training model: a masked autoencoder of sampler, encoder and decoder, with its losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from adamae.checks import check_choice, check_fraction
from adamae.errors import UserError
from adamae.layers.block import recompute_blocks
from adamae.layers.pixels import PixelNormalisation, checked_grid, cut_pixels
from adamae.layers.recomputation import CheckpointActivations, recomputed
from adamae.losses.reconstruction import (
    METRICS,
    STATISTICS,
    Metric,
    Statistics,
    reconstruction_target,
    token_error,
    trivial_error,
)
from adamae.losses.sampling import REDUCTIONS, REWARDS, Reduction, Reward, entropy, sampling_loss
from adamae.models.decoder import Decoder
from adamae.models.decoder_budget import draw_part
from adamae.models.ema_network import EmaNetwork
from adamae.models.encoder import Encoder
from adamae.models.naming import Prefixes, adopt_reference_names
from adamae.models.noise_streams import DECODER, DECODER_BUDGET, ENCODER, FRAME_CHOICE, SAMPLER
from adamae.models.weight_decay import names_without_decay
from adamae.randomness import SampleNoise
from adamae.samplers.frame_choice import FrameChoice
from adamae.samplers.sampler import Sampler
from adamae.selection import TokenSelection, gather_tokens


@dataclass
class PretrainOutput:
    """Output of one forward pass.

    Attributes:
        prediction: (B, M, P) predicted pixels of the target tokens, colour fastest. Their unit is that of the target
            (:func:`~adamae.losses.reconstruction.reconstruction_target`): with ``normalize_target`` the distance from
            each token's mean in standard deviations, else 0 for black and 1 for white.
        selection: Indices of the visible and target tokens, and the log-probabilities of all tokens.
        token_error: (B, M) reconstruction error of each target token.
        losses: 0-dim tensors. "loss" is minimised: "reconstruction", plus ``sampling_weight`` times "sampling" with a
            learned sampler. Both parts are detached and not weighted.
        frames: (B, T) indices of the selected frames; None if all frames of the clips are used.
    """

    prediction: Tensor
    selection: TokenSelection
    token_error: Tensor
    losses: dict[str, Tensor]
    frames: Tensor | None = None


class Pretrainer(nn.Module):
    """A masked autoencoder composed of an encoder, a sampler and a decoder.

    With a plain ViT (:func:`~adamae.models.vit.vit_pretrainer`) it is AdaMAE (learnable masks), VideoMAE and its
    relatives (random, tube or frame masks) or EVEREST (motion masks), and state-dict keys and shapes are those of the
    published checkpoints.

    Names in a state dict differ from those of ``named_parameters`` (:func:`~adamae.models.reference_name`). Code that
    looks up names of a state dict in the module tree, such as ``torch.distributed.checkpoint.state_dict``, needs
    :func:`~adamae.models.use_module_names`.

    Args:
        encoder: Encodes the visible tokens only.
        sampler: Selects the visible tokens on the encoder's grid.
        decoder: Predicts target tokens of the same grid.
        mask_token: (1, 1, D') decoder input for a target token; None: a new parameter.
        encoder_to_decoder: Maps the encoder's output and the selection to visible tokens (B, V, D') in the decoder's
            width; None: a linear layer without bias.
        frame_choice: Selects frames of longer clips; None: clips are used unchanged.
        decoder_budget: Fraction of the masked tokens that the decoder reconstructs in training, resampled at each step;
            see :mod:`adamae.models.decoder_budget`.
        normalize_target: Normalise each target token by its own mean and std.
        target_statistics: Compute mean and std per "colour" or over all values of the "token".
        reconstruction_loss: "mse" or "l1".
        sampling_weight: Weight of the sampling loss.
        sampling_reward: Reward of the sampler: the "error" of a target token (paper), or its learning "progress", the
            error of an average of past weights minus the current error (:mod:`adamae.models.ema_network`).
        sampling_reduction: "mean" (official code) or "sum" (paper) over the target tokens.
        sampling_entropy_weight: Weight of an entropy bonus (not in the paper).
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        published_names: Names of the parts in published checkpoints as (prefix here, prefix there), see
            :func:`~adamae.models.naming.adopt_reference_names`; those of the sampler are added before them.

    Raises:
        UserError: If an option is unknown, the parts do not fit together, or the sampler leaves no visible or no target
            token.
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
        sampling_entropy_weight: float = 0.0,
        imagenet_default_mean_and_std: bool = True,
        published_names: Prefixes = (),
    ) -> None:
        super().__init__()
        check_choice("target_statistics", target_statistics, STATISTICS)
        check_choice("reconstruction_loss", reconstruction_loss, METRICS)
        check_choice("sampling_reward", sampling_reward, REWARDS)
        check_choice("sampling_reduction", sampling_reduction, REDUCTIONS)
        check_fraction("decoder_budget", decoder_budget)
        _check_fit(encoder, sampler, decoder, mask_token, frame_choice)
        if normalize_target and encoder.grid.tubelet_size * encoder.grid.patch_size**2 == 1:
            raise UserError(
                "tokens of one pixel (tubelet_size = patch_size = 1): expected larger tokens, or targets that are not "
                "normalised by each token's std"
            )
        if sampler.num_secondary(encoder.grid):
            encoder.learn_secondary_token()
        self.grid = encoder.grid
        self.frame_choice = frame_choice or FrameChoice(self.grid, None)
        self.pixel_norm = PixelNormalisation(encoder.in_chans, imagenet_default_mean_and_std)
        self.mask_token = new_mask_token(decoder.embed_dim) if mask_token is None else mask_token
        self.encoder = encoder
        self.sampler = sampler
        self.decoder = decoder
        if encoder_to_decoder is None:
            encoder_to_decoder = Projection(encoder.embed_dim, decoder.embed_dim, bias=False)
        self.encoder_to_decoder = encoder_to_decoder
        with_past = sampling_reward == "progress" and sampler.learns
        self.past = EmaNetwork(encoder, encoder_to_decoder, decoder, self.mask_token) if with_past else None
        self.decoder_budget = decoder_budget
        self.normalize_target = normalize_target
        self.target_statistics: Statistics = target_statistics
        self.reconstruction_loss: Metric = reconstruction_loss
        self.sampling_weight = sampling_weight
        self.sampling_reduction: Reduction = sampling_reduction
        self.sampling_entropy_weight = sampling_entropy_weight
        self.checkpoint_activations("none")
        adopt_reference_names(
            self,
            [
                *((f"sampler.{ours}", f"encoder.{theirs}") for ours, theirs in sampler.published_names),
                *published_names,
            ],
        )

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, C) of a clip; T counts the frames before the selection by ``frame_choice``."""
        return (*self.frame_choice.candidates.clip_shape, self.encoder.in_chans)

    def begin_update(self) -> None:
        """Update the average of past weights for ``sampling_reward="progress"``; without it, do nothing.

        Call it once before the forward passes of each update, as the engines do, not once per micro-batch.
        """
        if self.past is not None:
            self.past.update(self)

    def forward(
        self, video: Tensor, visible: Tensor | None = None, seeds: Tensor | None = None, diagnose: bool = False
    ) -> PretrainOutput:
        """Compute the losses for a batch of clips.

        Args:
            video: Raw clips (B, T, H, W, C) uint8, or standardised ones (B, C, T, H, W) float.
            visible: (B, V) indices of the visible tokens, used instead of the sampler's draw.
            seeds: (B,) integers, preferably on the host. A clip with the same seed gets the same random numbers in
                every batch. None draws the seeds from torch's generator.
            diagnose: Add diagnostics to the losses: "trivial", and with a learned sampler "entropy" and "top_tenth"
                (see :meth:`diagnosis`).

        Returns:
            Prediction, selection, errors and losses.

        Raises:
            UserError: If the clips or ``visible`` have the wrong type or shape, or there are no clips.
        """
        pixels = self.pixels(video)
        if not len(video):
            raise UserError("got a batch of 0 clips: expected at least 1")
        noise = SampleNoise.fresh(len(video), video.device) if seeds is None else SampleNoise(seeds, video.device)
        exact = self.encoder.patch_embed.exact
        pixels, frames = self.frame_choice.shorten(pixels, exact, noise.fold_in(FRAME_CHOICE), self.training)
        seen, selection = self.select_tokens(pixels, noise.fold_in(SAMPLER), visible)
        if self.training and self.decoder_budget < 1:
            selection = draw_part(selection, self.decoder_budget, noise.fold_in(DECODER_BUDGET))
        latent = self.encoder(seen, noise.fold_in(ENCODER), selection)
        visible_tokens = self.encoder_to_decoder(latent, selection)
        decoded = self.decoder.decode(visible_tokens, self.mask_token, selection, noise.fold_in(DECODER))
        # With recomputation, keep the uint8 clips, which the batch holds anyway, instead of float pixels.
        source = video if self._recompute and frames is None else pixels
        prediction, error = recomputed(self._recompute, self.reconstruct, decoded, source, selection)
        losses = {"loss": error.mean(), "reconstruction": error.mean().detach()}
        if selection.log_probs is not None:
            sampling = self.sampling_loss(pixels, selection, error, noise)
            losses["loss"] = losses["loss"] + self.sampling_weight * sampling
            losses["sampling"] = sampling.detach()
        if diagnose:
            # Not |=, which torch.compile of torch 2.6 cannot trace.
            losses.update(self.diagnosis(pixels, selection))
        return PretrainOutput(prediction, selection, error, losses, frames)

    def pixels(self, video: Tensor) -> Tensor:
        """Patchify clips as in :meth:`forward` into the standardised pixels (B, N, P) of their tokens."""
        grids, dtype = self.frame_choice.grids, self.encoder.patch_embed.dtype
        return cut_pixels(video, checked_grid(video, grids, self.encoder.in_chans, dtype), self.pixel_norm)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pixels (B, V, P) as tokens (B, V, D), in the precision that the sampler uses."""
        return self._embed(pixels, self.sampler.exact_tokens)

    def tokens_for(self, sampler: Sampler, pixels: Tensor) -> Tensor:
        """Return the input of ``sampler``: tokens (B, N, D), or the pixels (B, N, P) if it does not read tokens."""
        return self._embed(pixels, sampler.exact_tokens) if sampler.reads_tokens else pixels

    def _embed(self, pixels: Tensor, exact: bool) -> Tensor:
        tokens: Tensor = (self.encoder.patch_embed.exact if exact else self.encoder.patch_embed)(pixels)
        return tokens

    def select_tokens(
        self, pixels: Tensor, noise: SampleNoise, visible: Tensor | None
    ) -> tuple[Tensor, TokenSelection]:
        """Select visible and target tokens.

        Unless the sampler trains the tokenizer, its input tokens are detached and the visible pixels are embedded a
        second time, so the tokenizer's backward pass is over V tokens instead of N. If the sampler does not read
        tokens, only the visible pixels are embedded.

        Args:
            pixels: (B, N, P) pixels of all tokens.
            noise: Noise for the sampler.
            visible: (B, V) indices used instead of the sampler's draw, or None.

        Returns:
            (B, V, D) the visible tokens without position embedding, and the selection.
        """
        taught = self.sampler.teaches_tokenizer
        tokens = self.tokens_for(self.sampler, pixels)
        tokens = tokens if taught else tokens.detach()
        selection = self.sampler(tokens, self.grid, noise, visible)
        at = selection.visible
        seen = gather_tokens(tokens, at) if taught else self.embed(gather_tokens(pixels, at))
        return seen, selection

    def target(self, pixels: Tensor, selection: TokenSelection) -> Tensor:
        """Return the reconstruction target (B, M, P)."""
        wanted = gather_tokens(pixels, selection.target)
        return reconstruction_target(wanted, self.pixel_norm, self.normalize_target, self.target_statistics)

    def reconstruct(self, decoded: Tensor, source: Tensor, selection: TokenSelection) -> tuple[Tensor, Tensor]:
        """Apply the decoder's norm and head, and compute the reconstruction error.

        Args:
            decoded: (B, M, D') target tokens after the decoder's blocks.
            source: (B, N, P) pixels of all tokens, or the clips to patchify.
            selection: Contains the indices of the target tokens.

        Returns:
            (B, M, P) the prediction, and (B, M) its error.
        """
        pixels = source if source.dim() == 3 else self.pixels(source)
        prediction = self.decoder.predict(decoded)
        return prediction, token_error(prediction, self.target(pixels, selection), self.reconstruction_loss)

    def sampling_loss(self, pixels: Tensor, selection: TokenSelection, error: Tensor, noise: SampleNoise) -> Tensor:
        """Compute the sampling loss (0-dim).

        Args:
            pixels: (B, N, P) pixels of all tokens.
            selection: Must have ``log_probs``.
            error: (B, M) reconstruction error of the target tokens.
            noise: Noise of this forward pass.
        """
        reward = error
        if self.past is not None:
            visible, target = gather_tokens(pixels, selection.visible), self.target(pixels, selection)
            past = token_error(self.past(visible, selection, noise), target, self.reconstruction_loss)
            reward = past - error
        return sampling_loss(
            selection, reward, reduction=self.sampling_reduction, entropy_weight=self.sampling_entropy_weight
        )

    def checkpoint_activations(self, parts: CheckpointActivations) -> None:
        """Choose the parts that are recomputed in the backward pass; losses and gradients do not change.

        Args:
            parts: "none"; "decoder" for all parts that process all tokens, which are the sampler, each block of the
                decoder and the reconstruction loss; or "all", which adds each block of the encoder.

        Raises:
            UserError: If ``parts`` is unknown.
        """
        check_choice("checkpoint_activations", parts, get_args(CheckpointActivations))
        self._recompute = parts != "none"
        self.sampler.recompute = self._recompute
        recompute_blocks(self.decoder.blocks, self._recompute)
        self.encoder.recompute_blocks(parts == "all")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute all parts in the backward pass, as timm's models do; see :meth:`checkpoint_activations`."""
        self.checkpoint_activations("all" if enable else "none")

    def no_weight_decay(self) -> set[str]:
        """Return the names, in the module tree, of tokens and position embeddings without weight decay."""
        return names_without_decay(self)

    @torch.no_grad()
    def diagnosis(self, pixels: Tensor, selection: TokenSelection) -> dict[str, Tensor]:
        """Compute diagnostics of training.

        Returns:
            "trivial": loss of a prediction without a network; "entropy": entropy of the sampler's distribution relative
            to the uniform one, 1 for a uniform distribution; "top_tenth": fraction of the visible tokens that are in
            the most probable tenth of the clip's tokens, 0.1 for a uniform distribution.
        """
        visible, target = gather_tokens(pixels, selection.visible), self.target(pixels, selection)
        trivial = trivial_error(target, visible, self.pixel_norm, self.normalize_target, self.reconstruction_loss)
        result = {"trivial": trivial}
        if selection.log_probs is not None:
            top = selection.log_probs.topk(max(1, self.grid.num_tokens // 10), dim=1).indices
            on_top = torch.zeros_like(selection.log_probs).scatter(1, top, 1)
            result["entropy"] = entropy(selection.log_probs).mean() / self.sampler.max_entropy(self.grid)
            result["top_tenth"] = on_top.gather(1, selection.visible).mean()
        return result

    @property
    def learns_to_sample(self) -> bool:
        """Whether the sampler has learnable parameters."""
        return self.sampler.learns


def _check_fit(
    encoder: Encoder, sampler: Sampler, decoder: Decoder, mask_token: Tensor | None, frame_choice: FrameChoice | None
) -> None:
    """Raise a UserError unless the parts of a :class:`Pretrainer` fit together."""
    grid = encoder.grid
    encoder.check_sampler(sampler)
    sampler.check_fits(grid, encoder.patch_embed.embed_dim)
    if decoder.grid != grid:
        raise UserError(f"the decoder's tokens are {decoder.grid}: expected the encoder's, {grid}")
    values = grid.tubelet_size * grid.patch_size**2 * encoder.in_chans
    if decoder.num_outputs != values:
        raise UserError(f"the decoder predicts {decoder.num_outputs} values of a token: expected {values}")
    if mask_token is not None and mask_token.shape != (1, 1, decoder.embed_dim):
        raise UserError(f"the mask token is {tuple(mask_token.shape)}: expected (1, 1, {decoder.embed_dim})")
    if frame_choice is not None and frame_choice.grid != grid:
        raise UserError(f"the tokens of selected frames are {frame_choice.grid}: expected the encoder's, {grid}")


class Projection(nn.Linear):
    """A linear layer from the encoder's tokens to the decoder's width."""

    def forward(self, latent: Tensor, selection: TokenSelection) -> Tensor:  # type: ignore[override]
        """(B, V, D) to (B, V, D')."""
        return super().forward(latent)


def new_mask_token(dim: int) -> nn.Parameter:
    """Return an initialised mask token (1, 1, D')."""
    # Truncated at one std as in the official code, so the std of the values is about half of 0.02.
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02, a=-0.02, b=0.02))
