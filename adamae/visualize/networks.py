"""The autoencoder of a checkpoint, for visualisation."""

from __future__ import annotations

import copy
from typing import Any

from adamae.checkpoints.formats import CheckpointFile
from adamae.checkpoints.loading import load_weights
from adamae.errors import UserError
from adamae.models import Pretrainer
from adamae.models.families import family_named
from adamae.samplers import SAMPLERS, build_sampler, declaration_of, declared
from adamae.samplers.cells import CellSampler
from adamae.samplers.sampler import Sampler


def build_pretrainer(
    file: CheckpointFile, *, num_frames: int | None = None, size: int | None = None
) -> tuple[Pretrainer, list[str]]:
    """Build the autoencoder of a pre-trained checkpoint, with all its weights, in evaluation mode.

    Args:
        file: The checkpoint.
        num_frames: Frames in a clip, if not those of the checkpoint.
        size: Side of a frame in pixels, if not that of the checkpoint.

    Returns:
        The network, and notes for the user.

    Raises:
        UserError: If the checkpoint has no decoder, or its clips do not have three channels.
    """
    a = file.architecture
    if a.decoder is None:
        raise UserError(f"{file.path}: is a {file.method} without a decoder; expected a pre-trained checkpoint")
    if a.channels != 3:
        raise UserError(f"{file.path}: its clips have {a.channels} channels, expected 3")
    asked = {"num_frames": num_frames, "img_size": size}
    options: dict[str, Any] = {**a.options(), **{name: value for name, value in asked.items() if value is not None}}
    notes = []
    ratio = file.args.get("mask_ratio")
    if "mask_ratio" not in options:
        told = isinstance(ratio, float) and 0 < ratio < 1
        usual = declared(options["mask_type"]).sampler_class.usual_ratio(**options)
        options["mask_ratio"] = ratio if told else usual
        notes += [] if told else [f"the checkpoint does not store its mask ratio: using {usual}"]
    if "normalize_target" not in options and isinstance(file.args.get("normlize_target"), bool):
        options["normalize_target"] = file.args["normlize_target"]
    model = family_named(a.family).pretrainer(**options)
    report = load_weights(model, file, complete=True)
    resized = [f"resized to the requested clip size: {', '.join(report.resized)}"] if report.resized else []
    return model.eval().requires_grad_(False), [*notes, *report.notes, *resized]


def own_mask_type(model: Pretrainer) -> str:
    """Return the name of the model's own sampler."""
    return declaration_of(model.sampler).name


def sampler_of(model: Pretrainer, mask_type: str, mask_ratio: float) -> Sampler:
    """Return a sampler for a model: its own learned one with any mask ratio, or one that is not learned.

    Args:
        model: The autoencoder.
        mask_type: A key of ``SAMPLERS``.
        mask_ratio: Fraction of tokens to mask.

    Raises:
        UserError: If the model has no learned sampler, the name is unknown, no token would be visible or none masked,
            or the encoder does not support the sampler.
    """
    if mask_type == own_mask_type(model):
        # A shallow copy shares weights and settings; only the ratio differs.
        sampler = copy.copy(model.sampler)
        sampler.mask_ratio = mask_ratio
        sampler.num_visible(model.grid)
        return sampler
    if declared(mask_type).sampler_class.learns:
        others = (name for name, other in SAMPLERS.items() if not other.sampler_class.learns)
        raise UserError(
            f"mask_type {mask_type}: the checkpoint has no learned sampler, expected one of {', '.join(others)}"
        )
    own = model.sampler
    # Secondary masks are used only if the encoder has learned a token for them.
    options: dict[str, Any] = {"secondary_mask_ratio": 0.0}
    if isinstance(own, CellSampler):
        options = {"secondary_mask_ratio": own.secondary_mask_ratio, "uniform_sampling": own.uniform_sampling}
    sampler = build_sampler(mask_type, mask_ratio, model.grid, model.encoder.patch_embed.embed_dim, **options)
    model.encoder.check_sampler(sampler)
    return sampler
