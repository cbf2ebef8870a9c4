"""Mixup and cutmix of clips, with timm's formulas; a cutmix box covers all frames.

The parameters are drawn on the host, from the seeds of the clips, and are part of the batch. Pixels are mixed on the
device, without synchronisation. Clip i of B is mixed with clip B - 1 - i.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from adamae.data.batch import Batch
from adamae.errors import UserError

# Key in the batch: (B, 6) float32, see Mixing.
MIX = "mix"


@dataclass(frozen=True)
class Mixing:
    """Draws the mixing parameters of a batch (arXiv 1710.09412, 1905.04899).

    Attributes:
        mixup: Both parameters of mixup's beta distribution; 0 for no mixup.
        cutmix: Both parameters of cutmix's beta distribution; 0 for no cutmix.
        cutmix_minmax: Minimum and maximum side of cutmix's box as a fraction of the frame's, sampled uniformly; (0, 0):
            the box's area follows from cutmix's beta distribution.
        probability: Probability of mixing at all.
        switch_probability: Probability of cutmix instead of mixup, if both are enabled.
        mode: One draw per batch, per pair of clips, or per clip ("elem").

    Raises:
        UserError: If ``cutmix_minmax`` is not a range of fractions.
    """

    mixup: float = 0.8
    cutmix: float = 1.0
    cutmix_minmax: tuple[float, float] = (0.0, 0.0)
    probability: float = 1.0
    switch_probability: float = 0.5
    mode: Literal["batch", "pair", "elem"] = "batch"

    def __post_init__(self) -> None:
        least, largest = self.cutmix_minmax
        if (least, largest) != (0.0, 0.0) and not 0 < least < largest <= 1:
            raise UserError(
                f"--cutmix_minmax {least:g} {largest:g}: expected two fractions in ascending order, "
                f"above 0 and at most 1"
            )

    @property
    def active(self) -> bool:
        """Whether anything is ever mixed."""
        return self.probability > 0 and (self.mixup > 0 or self._cuts)

    @property
    def _cuts(self) -> bool:
        return self.cutmix > 0 or self.cutmix_minmax[1] > 0

    def over(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the same batches with their mixing parameters."""
        for batch in batches:
            height, width = batch["clip"].shape[2:4]
            yield batch | {MIX: self.draw(batch["seed"], height, width)}

    def draw(self, seeds: Tensor, height: int, width: int) -> Tensor:
        """Draw the mixing parameters of a batch, which depend only on the clips in it.

        Args:
            seeds: (B,) seeds of the clips, on the host.
            height: Height of a frame in pixels.
            width: Width of a frame in pixels.

        Returns:
            (B, 6) float32: weight of the clip's own label, weight of its own pixels outside the box, and the box that
            is taken from the other clip: top, bottom, left, right.
        """
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seeds.tolist())))
        batch = len(seeds)
        count = {"batch": 1, "pair": (batch + 1) // 2, "elem": batch}[self.mode]
        rows = [self._draw_one(rng, height, width) for _ in range(count)]
        if self.mode == "batch":
            rows *= batch
        elif self.mode == "pair":
            rows += rows[: batch // 2][::-1]
        return torch.tensor(rows, dtype=torch.float32)

    def _draw_one(self, rng: np.random.Generator, height: int, width: int) -> tuple[float, ...]:
        if rng.random() >= self.probability:
            return (1.0, 1.0, 0, 0, 0, 0)
        if self._cuts and (self.mixup == 0 or rng.random() < self.switch_probability):
            top, bottom, left, right = self._draw_box(rng, height, width)
            # Boxes are clipped at the frame's edge, so the label weight is computed from the remaining area.
            own = 1 - (bottom - top) * (right - left) / (height * width)
            return (own, 1.0, top, bottom, left, right)
        own = rng.beta(self.mixup, self.mixup)
        return (own, own, 0, 0, 0, 0)

    def _draw_box(self, rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
        least, largest = self.cutmix_minmax
        if largest > 0:
            sides = [round(side * rng.uniform(least, largest)) for side in (height, width)]
            starts = [int(rng.integers(side - cut + 1)) for side, cut in zip((height, width), sides, strict=True)]
            return starts[0], starts[0] + sides[0], starts[1], starts[1] + sides[1]
        ratio = np.sqrt(1 - rng.beta(self.cutmix, self.cutmix))
        edges: list[int] = []
        for side in (height, width):
            cut, centre = int(side * ratio), int(rng.integers(side))
            edges += [max(centre - cut // 2, 0), min(centre + (cut + 1) // 2, side)]
        top, bottom, left, right = edges
        return top, bottom, left, right


def mix_clips(clips: Tensor, mix: Tensor) -> Tensor:
    """Mix pixels.

    Args:
        clips: (B, T, H, W, C) uint8.
        mix: (B, 6) from :meth:`Mixing.draw`, on the same device.

    Returns:
        (B, T, H, W, C) uint8; blended values are rounded. A clip without mixing is unchanged.
    """
    _, own, top, bottom, left, right = (column.view(-1, 1) for column in mix.unbind(1))
    rows = torch.arange(clips.shape[2], device=clips.device)
    columns = torch.arange(clips.shape[3], device=clips.device)
    in_rows, in_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    inside = (in_rows.unsqueeze(2) & in_columns.unsqueeze(1))[:, None, :, :, None]
    others = clips.flip(0)
    blended = torch.lerp(others.float(), clips.float(), own.view(-1, 1, 1, 1, 1)).round_().to(torch.uint8)
    return torch.where(inside, others, blended)


def mixed_cross_entropy(logits: Tensor, labels: Tensor, mix: Tensor | None, smoothing: float = 0.0) -> Tensor:
    """Cross entropy with the mixed and smoothed target distribution, averaged over the batch.

    Args:
        logits: (B, C); the loss is computed in float32.
        labels: (B,) int64.
        mix: (B, 6) from :meth:`Mixing.draw`; None without mixing.
        smoothing: Fraction of the target that is spread over all classes.

    Returns:
        A 0-dim tensor.
    """
    logits = logits.float()
    loss = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    if mix is not None:
        other = F.cross_entropy(logits, labels.flip(0), reduction="none", label_smoothing=smoothing)
        # The loss is linear in the target.
        loss = torch.lerp(other, loss, mix[:, 0])
    return loss.mean()


def leading_labels(labels: Tensor, mix: Tensor | None) -> Tensor:
    """Return the label (B,) with the larger weight of each clip."""
    return labels if mix is None else torch.where(mix[:, 0] >= 0.5, labels, labels.flip(0))
