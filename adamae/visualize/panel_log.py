"""Panels in TensorBoard while a model trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adamae.models import Pretrainer
from adamae.visualize.footage import Cut, Footage
from adamae.visualize.looks import Look, Variant, look_at
from adamae.visualize.networks import own_mask_type
from adamae.visualize.rows import Block, blocks_of, notes_of, shared_scales
from adamae.visualize.sheet import contact_sheets

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_COLUMNS = 8


class PanelLog:
    """Shows a few fixed clips every so often; a :class:`~adamae.training.loop.Callback` of a run.

    The clips and the draws stay the same, so whatever changes between two pictures is what the model has learned. The
    run's own numbers do not depend on it.

    Args:
        model: What is trained.
        clips: (B, T, H, W, 3) uint8.
        moving: (B, T, H, W) bool where it is known what moves.
        every: Steps from one set of panels to the next; the first step has one as well, 0 for none at all.
        writer: Gives TensorBoard's writer; None where nothing is to be written.
    """

    def __init__(
        self,
        model: Pretrainer,
        clips: Tensor | None,
        moving: Tensor | None,
        *,
        every: int,
        writer: Callable[[], SummaryWriter | None],
    ) -> None:
        self._model = model
        self._footage = None if clips is None else as_footage(clips, moving)
        self._every = every
        self._writer = writer

    def after_step(self, step: int) -> None:
        """Draw, if it is time."""
        if not self._every or self._footage is None or (step != 1 and step % self._every):
            return
        writer = self._writer()
        if writer is not None:
            self._write(writer, self._footage, step)

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """Nothing for the log."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing is remembered."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing was remembered."""

    def _write(self, writer: SummaryWriter, footage: Footage, step: int) -> None:
        model, training = self._model, self._model.training
        model.eval()
        try:
            variant = Variant(own_mask_type(model), model.sampler.mask_ratio)
            look = look_at(model, footage, variant)
        finally:
            model.train(training)
        for number, picture in enumerate(clip_sheets(footage, look)):
            writer.add_image(f"panels/clip_{number}", picture, step, dataformats="HWC")
        for name, value in look.statistics.items():
            if name not in ("visible", "tokens") and math.isfinite(value):
                writer.add_scalar(f"panels/{name}", value, step)
        if model.learns_to_sample:
            writer.add_histogram("panels/probability", look.panels.probability, step)
        writer.add_histogram("panels/error", look.panels.error[look.panels.error.isfinite()], step)


def as_footage(clips: Tensor, moving: Tensor | None) -> Footage:
    """(B, T, H, W, 3) clips one after the other, each a stretch of its own."""
    count, length = clips.shape[:2]
    number = np.arange(count * length)
    return Footage(
        path="clips",
        frames=clips.flatten(0, 1).cpu(),
        moving=None if moving is None else moving.flatten(0, 1).cpu(),
        times=np.empty(0),
        first=0,
        total=count * length,
        cut=Cut(number.reshape(count, length), np.arange(count), number // length, number % length),
    )


def clip_sheets(footage: Footage, look: Look) -> list[np.ndarray]:
    """Contact sheets (H, W, 3), one for each clip of a usual size, all of them in the same colours."""
    scales = shared_scales([look])
    length = footage.cut.numbers.shape[1]
    sheets = []
    for begin in range(0, len(footage.frames), length):
        some = slice(begin, begin + length)
        blocks = [
            Block(block.title, tuple(replace(row, frames=row.frames[some]) for row in block.rows))
            for block in blocks_of(footage, [look], scales)
        ]
        part = replace(footage, frames=footage.frames[some])
        sheets += contact_sheets(part, blocks, scales.shown, _COLUMNS, notes_of([look]))
    return sheets


def fixed_clips(samples: list[dict[str, Any]]) -> tuple[Tensor, Tensor | None]:
    """The clips of a data set's samples, and what moves in them where all of them know."""
    clips = torch.cat([sample["clip"][:1] for sample in samples])
    known = all("moving" in sample for sample in samples)
    return clips, torch.cat([sample["moving"][:1] for sample in samples]) if known else None
