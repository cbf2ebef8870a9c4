"""TensorBoard panels during training."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adamae.models import Pretrainer
from adamae.visualize.reconstruction import Reconstruction, Variant, reconstruct
from adamae.visualize.rows import Block, DrawFrame, blocks_of, notes_of, shared_scales
from adamae.visualize.samplers import own_mask_type
from adamae.visualize.sheet import contact_sheets
from adamae.visualize.video_clips import ClipIndices, VideoClips

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_COLUMNS = 8


class PanelLog:
    """Logs panels of a few fixed clips at intervals; a :class:`~adamae.training.loop.Callback` of a run.

    The clips and the random draws are fixed, so any change between two panels is due to the training. The panels do not
    affect the run's results.

    Args:
        model: The model to train.
        clips: (B, T, H, W, 3) uint8.
        motion_mask: (B, T, H, W) bool ground truth, or None.
        every: Steps between panels; they are also drawn after the first step. 0 disables them.
        writer: Returns TensorBoard's writer, or None if nothing is to be written.
    """

    def __init__(
        self,
        model: Pretrainer,
        clips: Tensor | None,
        motion_mask: Tensor | None,
        *,
        every: int,
        writer: Callable[[], SummaryWriter | None],
    ) -> None:
        self._model = model
        self._clips = None if clips is None else as_video_clips(clips, motion_mask)
        self._every = every
        self._writer = writer

    def after_step(self, step: int) -> None:
        """Draw the panels if they are due."""
        if not self._every or self._clips is None or (step != 1 and step % self._every):
            return
        writer = self._writer()
        if writer is not None:
            self._write(writer, self._clips, step)
            # matplotlib's figures contain reference cycles: some MB of pixels per page would stay for a thousand steps.
            gc.collect()

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """Return nothing for the log."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Do nothing, because there is no state."""

    def _write(self, writer: SummaryWriter, video: VideoClips, step: int) -> None:
        model, training = self._model, self._model.training
        model.eval()
        try:
            variant = Variant(own_mask_type(model), model.sampler.mask_ratio)
            result = reconstruct(model, video, variant)
        finally:
            model.train(training)
        for number, picture in enumerate(clip_sheets(video, result)):
            writer.add_image(f"panels/clip_{number}", picture, step, dataformats="HWC")
        for name, value in result.statistics.items():
            if name not in ("visible", "tokens") and math.isfinite(value):
                writer.add_scalar(f"panels/{name}", value, step)
        histograms = {"error": result.panels.error}
        if model.learns_to_sample:
            histograms["probability"] = result.panels.probability
        for name, values in histograms.items():
            finite = values[values.isfinite()]
            # TensorBoard refuses an empty histogram. The run itself decides what outputs that are not finite mean.
            if finite.numel():
                writer.add_histogram(f"panels/{name}", finite, step)


def as_video_clips(clips: Tensor, motion_mask: Tensor | None) -> VideoClips:
    """Concatenate (B, T, H, W, 3) clips to a video in which each clip is a window."""
    count, length = clips.shape[:2]
    number = np.arange(count * length)
    return VideoClips(
        path="clips",
        frames=clips.flatten(0, 1).cpu(),
        motion_mask=None if motion_mask is None else motion_mask.flatten(0, 1).cpu(),
        times=np.empty(0),
        first=0,
        total=count * length,
        cut=ClipIndices(number.reshape(count, length), np.arange(count), number // length, number % length),
    )


def clip_sheets(video: VideoClips, result: Reconstruction) -> list[np.ndarray]:
    """Contact sheets (H, W, 3), one per clip unless it needs several pages, with common colour scales."""
    scales = shared_scales([result])
    length = video.cut.frames.shape[1]
    sheets = []
    for begin in range(0, len(video.frames), length):
        blocks = [
            Block(block.title, tuple(replace(row, image=_from(begin, row.image)) for row in block.rows))
            for block in blocks_of(video, [result], scales)
        ]
        part = replace(video, frames=video.frames[begin : begin + length])
        sheets += contact_sheets(part, blocks, scales.shown, _COLUMNS, notes_of([result]))
    return sheets


def _from(begin: int, image: DrawFrame) -> DrawFrame:
    return lambda frame: image(begin + frame)


def fixed_clips(samples: list[dict[str, Any]]) -> tuple[Tensor, Tensor | None]:
    """The clips of samples, and their motion masks if all samples have one."""
    clips = torch.cat([sample["clip"][:1] for sample in samples])
    known = all("motion_mask" in sample for sample in samples)
    return clips, torch.cat([sample["motion_mask"][:1] for sample in samples]) if known else None
