"""Modules to export: networks of checkpoints as functions of tensors, without losses and random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adamae.checkpoints.formats import CheckpointFile
from adamae.checkpoints.networks import FrozenEncoder, build_classifier, build_encoder, build_pretrainer
from adamae.checks import check_choice
from adamae.layers.pixels import PixelNormalisation
from adamae.models import Classifier, Pretrainer
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection, gather_tokens


@dataclass(frozen=True)
class Graph:
    """A network to export.

    Attributes:
        part: "encoder", "classifier" or "pretrainer".
        module: Module that maps the inputs to the outputs, in order.
        outputs: Names of the outputs.
        example: Function from a number of clips to random inputs by name, with the clips along the first axis.
        notes: Notes on how the network was built.
    """

    part: str
    module: nn.Module
    outputs: tuple[str, ...]
    example: Callable[[int], dict[str, Tensor]]
    notes: tuple[str, ...]


def build_graph(file: CheckpointFile, part: str | None = None) -> Graph:
    """Build a checkpoint's network for export.

    Args:
        file: The checkpoint.
        part: A key of :data:`PARTS`; None for the classifier of a fine-tuned checkpoint, or the encoder of any other.

    Raises:
        UserError: If the part is unknown, or the checkpoint does not have it.
    """
    if part is None:
        part = "classifier" if file.architecture.classes else "encoder"
    check_choice("part", part, tuple(PARTS))
    return PARTS[part](file)


class ClassifierGraph(nn.Module):
    """Classifier from ``video`` (B, T, H, W, C) uint8 to ``logits`` (B, classes)."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: Tensor) -> Tensor:
        """Score clips."""
        model = self.model
        encoded = model.encode(_standardised(video, model.pixel_norm), model.noise(video))
        logits: Tensor = model.head(model.pool(encoded))
        return logits


class EncoderGraph(nn.Module):
    """Encoder from ``video`` (B, T, H, W, C) uint8 to ``features`` (B, D) and ``tokens`` (B, N, D).

    They equal the output of ``adamae extract`` for a window, and with ``--level tubelet``.
    """

    def __init__(self, encoder: FrozenEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips."""
        model = self.encoder.model
        encoded = model.encode(_standardised(video, model.pixel_norm), _no_noise(video))
        return self.encoder.pool(encoded), self.encoder.pool(encoded.unsqueeze(-2))


class PretrainerGraph(nn.Module):
    """Masked autoencoder with given visible tokens.

    Inputs are ``video`` (B, T, H, W, C) uint8 and ``visible`` (B, V) int64 token indices. Outputs are ``prediction``
    (B, M, P) and ``target`` (B, M) int64, the ascending indices of the predicted tokens. A network with secondary masks
    has a third input, ``secondary`` (B, S) int64: the visible tokens that are replaced by its mask token.
    """

    def __init__(self, model: Pretrainer) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: Tensor, visible: Tensor, secondary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict the pixels of target tokens."""
        model, noise = self.model, _no_noise(video)
        clips = _standardised(video, model.pixel_norm)
        pixels, _ = model.frame_choice.shorten(model.pixels(clips), model.encoder.patch_embed.exact, noise, False)
        visible = visible.sort(dim=1).values
        tokens = model.tokens_for(model.sampler, pixels)
        target = model.sampler.targets(tokens, visible, model.grid)
        selection = TokenSelection(visible, target, secondary=secondary)
        seen = model.embed(gather_tokens(pixels, visible))
        latent = model.encoder_to_decoder(model.encoder(seen, noise, selection), selection)
        return model.decoder(latent, model.mask_token, selection, noise), target


def _standardised(video: Tensor, pixel_norm: PixelNormalisation) -> Tensor:
    """Normalise (B, T, H, W, C) uint8 to (B, C, T, H, W) float, with operators that every exporter supports."""
    scale = 1 / (255 * pixel_norm.std)
    return (video.to(scale.dtype) * scale - pixel_norm.mean / pixel_norm.std).movedim(-1, 1)


def _no_noise(video: Tensor) -> SampleNoise:
    """Return noise for the networks' signatures; in evaluation nothing is drawn from it."""
    return SampleNoise(video.flatten(1)[:, 0])


def _classifier(file: CheckpointFile) -> Graph:
    model, notes = build_classifier(file)
    return Graph(
        "classifier", ClassifierGraph(model), ("logits",), lambda batch: _clips(batch, model.clip_shape), (*notes,)
    )


def _encoder(file: CheckpointFile) -> Graph:
    encoder, notes = build_encoder(file)
    shape = encoder.model.clip_shape
    return Graph(
        "encoder", EncoderGraph(encoder), ("features", "tokens"), lambda batch: _clips(batch, shape), (*notes,)
    )


def _pretrainer(file: CheckpointFile) -> Graph:
    model, notes = build_pretrainer(file)

    def example(batch: int) -> dict[str, Tensor]:
        inputs = _clips(batch, model.clip_shape)
        pixels, _ = model.frame_choice.shorten(
            model.pixels(inputs["video"]), model.encoder.patch_embed.exact, SampleNoise.fresh(batch), False
        )
        selection = model.select_tokens(pixels, SampleNoise.fresh(batch), None)[1]
        inputs["visible"] = selection.visible
        return inputs if selection.secondary is None else {**inputs, "secondary": selection.secondary}

    return Graph("pretrainer", PretrainerGraph(model), ("prediction", "target"), example, (*notes,))


def _clips(batch: int, shape: tuple[int, int, int, int]) -> dict[str, Tensor]:
    return {"video": torch.randint(256, (batch, *shape), dtype=torch.uint8)}


PARTS: dict[str, Callable[[CheckpointFile], Graph]] = {
    "encoder": _encoder,
    "classifier": _classifier,
    "pretrainer": _pretrainer,
}
