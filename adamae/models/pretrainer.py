"""The masked autoencoder that is pre-trained: sampler, encoder, decoder and their losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.block import recompute_blocks
from adamae.layers.pixels import PixelNormalisation, cut_pixels, frames_in
from adamae.layers.recomputation import CheckpointActivations, recomputed
from adamae.losses.reconstruction import Metric, reconstruction_target, token_error, trivial_error
from adamae.losses.sampling import Reduction, entropy, sampling_loss
from adamae.models.decoder import Decoder
from adamae.models.decoder_budget import checked_budget, draw_part
from adamae.models.encoder import Encoder
from adamae.models.naming import adopt_reference_names
from adamae.randomness import SampleNoise
from adamae.samplers import AdaptiveSampler, build_sampler
from adamae.samplers.frame_choice import FrameChoice
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
    """AdaMAE (learnable masks), VideoMAE and its relatives (random, tube or frame masks), EVEREST (motion masks).

    State-dict keys and shapes are those of the published checkpoints.

    Args:
        img_size: Frame size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side.
        tubelet_size: Frames in a token.
        num_frames: Frames in a clip.
        in_chans: Colour channels.
        encoder_embed_dim: Width of the encoder.
        encoder_depth: Blocks of the encoder.
        encoder_num_heads: Heads of the encoder.
        decoder_embed_dim: Width of the decoder.
        decoder_depth: Blocks of the decoder; 4 is the paper's best.
        decoder_num_heads: Heads of the decoder.
        decoder_budget: Share of the hidden tokens that the decoder reconstructs at each step of training, a new random
            part each time; see :mod:`adamae.models.decoder_budget`.
        mlp_ratio: Hidden width of the MLPs of encoder and decoder over their width.
        qkv_bias: Whether queries and values have a bias (the sampler's never do).
        init_values: Start value of LayerScale, 0 for none.
        drop_path_rate: Stochastic depth of encoder and decoder.
        mask_type: "learnable", "random", "tube", "frame" or "motion".
        mask_ratio: Share of hidden tokens.
        keep_ratio: With "motion", share of the tokens that are visible or targets; the others are dropped.
        sampler_network: "mha" or "mlp".
        sampler_depth: Blocks of the sampler.
        sampler_dim: Width of the sampler; None is the encoder's.
        sampler_drop_rate: Dropout inside the sampler.
        sampler_mlp_ratio: Hidden width of its MLPs over its width; 4 in the published code, whatever ``mlp_ratio`` is.
        sampler_temperature: Divides the logits for drawing (not in the paper).
        normalize_target: Normalise each target token by its own mean and deviation.
        reconstruction_loss: "mse" or "l1".
        sampling_weight: Weight of the sampling loss.
        sampling_reduction: "mean" (published code) or "sum" (paper) over the target tokens.
        sampling_advantage: Reward by the error over the clip's mean (not in the paper).
        sampling_entropy_weight: Reward for entropy (not in the paper).
        candidate_frames: Take clips of so many frames and look at those ``num_frames`` on which most happens; None
            looks at all. Clips of ``num_frames`` are taken as they are.
        frame_keep_ratio: Share of the candidates' tokens that is counted for that.
        frame_choice: "draw" by the counts, take the "top", or "auto": the one in training, the other in evaluation.
        detach_sampler_input: Keep the sampling loss out of the tokenizer (paper; the published code lets it in).
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.

    Raises:
        UserError: If sizes do not divide, or the ratio leaves nothing to see or to predict.
    """

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        tubelet_size: int = 2,
        num_frames: int = 16,
        in_chans: int = 3,
        encoder_embed_dim: int = 768,
        encoder_depth: int = 12,
        encoder_num_heads: int = 12,
        decoder_embed_dim: int = 384,
        decoder_depth: int = 4,
        decoder_num_heads: int = 6,
        decoder_budget: float = 1.0,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        init_values: float | None = 0.0,
        drop_path_rate: float = 0.0,
        mask_type: str = "learnable",
        mask_ratio: float = 0.95,
        keep_ratio: float = 0.3,
        sampler_network: str = "mha",
        sampler_depth: int = 1,
        sampler_dim: int | None = None,
        sampler_drop_rate: float = 0.1,
        sampler_mlp_ratio: float = 4.0,
        sampler_temperature: float = 1.0,
        normalize_target: bool = True,
        reconstruction_loss: Metric = "mse",
        sampling_weight: float = 1e-4,
        sampling_reduction: Reduction = "mean",
        sampling_advantage: bool = False,
        sampling_entropy_weight: float = 0.0,
        detach_sampler_input: bool = True,
        imagenet_default_mean_and_std: bool = True,
        candidate_frames: int | None = None,
        frame_keep_ratio: float = 0.3,
        frame_choice: str = "auto",
    ) -> None:
        super().__init__()
        check_heads("encoder", encoder_embed_dim, encoder_num_heads)
        check_heads("decoder", decoder_embed_dim, decoder_num_heads)
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.grid = TokenGrid.of(num_frames, height, width, tubelet_size, patch_size)
        self.frame_choice = FrameChoice(self.grid, candidate_frames, frame_keep_ratio, frame_choice)
        self.pixel_values = PixelNormalisation(in_chans, imagenet_default_mean_and_std)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder_embed_dim))
        # Clipped at one deviation, as published: the values' own deviation is then about half of it.
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)
        blocks: dict[str, Any] = {
            "mlp_ratio": mlp_ratio,
            "qkv_bias": qkv_bias,
            "init_values": init_values,
            "drop_path_rate": drop_path_rate,
        }
        self.encoder = Encoder(
            self.grid,
            in_chans=in_chans,
            embed_dim=encoder_embed_dim,
            depth=encoder_depth,
            num_heads=encoder_num_heads,
            **blocks,
        )
        self.sampler = build_sampler(
            mask_type,
            mask_ratio,
            self.grid,
            encoder_embed_dim,
            keep_ratio=keep_ratio,
            network=sampler_network,
            depth=sampler_depth,
            dim=sampler_dim,
            drop_rate=sampler_drop_rate,
            mlp_ratio=sampler_mlp_ratio,
            temperature=sampler_temperature,
            detach=detach_sampler_input,
        )
        self.decoder = Decoder(
            self.grid,
            in_chans * tubelet_size * patch_size**2,
            embed_dim=decoder_embed_dim,
            depth=decoder_depth,
            num_heads=decoder_num_heads,
            **blocks,
        )
        self.encoder_to_decoder = nn.Linear(encoder_embed_dim, decoder_embed_dim, bias=False)
        self.decoder_budget = checked_budget(decoder_budget)
        self.normalize_target = normalize_target
        self.reconstruction_loss: Metric = reconstruction_loss
        self.sampling_weight = sampling_weight
        self.sampling_options: dict[str, Any] = {
            "reduction": sampling_reduction,
            "advantage": sampling_advantage,
            "entropy_weight": sampling_entropy_weight,
        }
        self.checkpoint_activations("none")
        adopt_reference_names(self)

    def forward(
        self, video: Tensor, visible: Tensor | None = None, seeds: Tensor | None = None, diagnose: bool = False
    ) -> PretrainOutput:
        """One pass from clips to losses.

        Args:
            video: Raw clips (B, T, H, W, C) uint8, or standardised ones (B, C, T, H, W) float.
            visible: (B, V) indices of the visible tokens, to prescribe what the sampler would draw.
            seeds: (B,) integers; with the same seed a clip is treated the same in every batch. None draws them
                from torch's generator.
            diagnose: Add to the losses what a person watches: "trivial", and of a learned sampler "entropy" and
                "top_tenth" (see :meth:`diagnosis`).
        """
        noise = SampleNoise.fresh(len(video), video.device) if seeds is None else SampleNoise(seeds)
        exact = self.encoder.patch_embed.exact
        pixels, frames = self.frame_choice.shorten(self.pixels(video), exact, noise.child(3), self.training)
        seen, selection = self.look(pixels, noise.child(0), visible)
        if self.training and self.decoder_budget < 1:
            selection = draw_part(selection, self.decoder_budget, noise.child(4))
        latent = self.encoder.encode_seen(seen, noise.child(1), selection.visible)
        decoded = self.decoder.decode(self.encoder_to_decoder(latent), self.mask_token, selection, noise.child(2))
        # The bytes of the batch are there anyway, so where little is to be kept they are kept and not their pixels.
        source = video if self._recompute and frames is None else pixels
        prediction, error = recomputed(self._recompute, self.reconstruct, decoded, source, selection)
        losses = {"loss": error.mean(), "reconstruction": error.mean().detach()}
        if selection.log_probs is not None:
            sampling = sampling_loss(selection, error, **self.sampling_options)
            losses["loss"] = losses["loss"] + self.sampling_weight * sampling
            losses["sampling"] = sampling.detach()
        if diagnose:
            losses |= self.diagnosis(pixels, selection)
        return PretrainOutput(prediction, selection, error, losses, frames)

    def pixels(self, video: Tensor) -> Tensor:
        """Clips as in :meth:`forward` to standardised tokens' pixels (B, N, P), cut once for all uses."""
        return cut_pixels(video, self.frame_choice.grid_of(frames_in(video)), self.pixel_values)

    def look(self, pixels: Tensor, noise: SampleNoise, visible: Tensor | None) -> tuple[Tensor, TokenSelection]:
        """Choose.

        Unless the sampler teaches the tokenizer, the tokens that it chooses from carry no gradient, and those of the
        visible pixels are made a second time: the backward pass is then that of V tokens instead of N.

        Args:
            pixels: (B, N, P) of all tokens.
            noise: What the sampler draws from.
            visible: (B, V) a choice already made.

        Returns:
            (B, V, D) the visible tokens without positions, and where they and the targets lie.
        """
        tokenizer = self.encoder.patch_embed
        tokenize = tokenizer.exact if self.sampler.exact_tokens else tokenizer
        taught = self.sampler.teaches_tokenizer
        tokens = tokenize(pixels) if taught else tokenize(pixels).detach()
        selection = self.sampler(tokens, pixels, self.grid, noise, visible)
        at = selection.visible
        return gather_tokens(tokens, at) if taught else tokenize(gather_tokens(pixels, at)), selection

    def target(self, pixels: Tensor, selection: TokenSelection) -> Tensor:
        """(B, M, P) what the decoder should predict."""
        return reconstruction_target(gather_tokens(pixels, selection.target), self.pixel_values, self.normalize_target)

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

    def checkpoint_activations(self, parts: CheckpointActivations) -> None:
        """Choose what is computed again in the backward pass instead of being kept; losses and gradients stay.

        Args:
            parts: "decoder" is all that looks at all tokens: the sampler, each block of the decoder, and the
                reconstruction loss; "all" adds each block of the encoder.
        """
        self._recompute = parts != "none"
        if isinstance(self.sampler, AdaptiveSampler):
            self.sampler.recompute = self._recompute
        recompute_blocks(self.decoder.blocks, self._recompute)
        recompute_blocks(self.encoder.blocks, parts == "all")

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
            result["entropy"] = entropy(selection.log_probs).mean() / math.log(self.grid.num_tokens)
            result["top_tenth"] = on_top.gather(1, selection.visible).mean()
        return result

    @property
    def learns_to_sample(self) -> bool:
        """Whether the sampler has anything to learn."""
        return isinstance(self.sampler, AdaptiveSampler)


def check_heads(part: str, dim: int, num_heads: int) -> None:
    """Raise a UserError unless ``dim`` divides into ``num_heads``."""
    if num_heads < 1 or dim % num_heads:
        raise UserError(f"{part} width {dim} does not divide into {num_heads} heads")
