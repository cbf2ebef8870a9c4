"""Multi-view scores: every video once, for any number of processes.

A video's score is the mean over its views of the logits, or of the probabilities, as in the official code. Videos are
identified by their row in the list, so equal file names in two folders are two videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adamae.data.views import VideoViews
from adamae.distributed import World
from adamae.errors import PreemptedError, UserError
from adamae.evaluation.view_loader import groups_of_rows, load_groups
from adamae.plain_text import counted
from adamae.precision import autocast
from adamae.progress import ProgressCallback


@dataclass(frozen=True)
class Unscored:
    """A video without a score.

    Attributes:
        row: Row in the list, from 0.
        path: Path of the video.
        reason: Reason, in one line.
    """

    row: int
    path: str
    reason: str

    @classmethod
    def not_finite(cls, row: int, path: str, what: str) -> Unscored:
        """Of a video for which the network returned infinity or NaN; ``what``: "scores" or "features"."""
        return cls(row, path, f"the {what} are not finite")


@dataclass(frozen=True)
class Damaged:
    """A video that was read despite damage.

    Attributes:
        row: Row in the list, from 0.
        path: Path of the video.
        packets: Number of skipped packets.
    """

    row: int
    path: str
    packets: int


@dataclass(frozen=True)
class Scores:
    """Scores of the videos of a list. Every row of the list is in ``rows`` or in ``unscored``, once.

    Attributes:
        rows: (n,) int64, ascending.
        logits: (n, C) float32, means of logits or of probabilities over the views.
        unscored: Videos that cannot be read or have non-finite scores.
        num_views: Views of each video.
        damaged: Videos with damaged packets, which were skipped; in ascending order of rows.
    """

    rows: np.ndarray
    logits: np.ndarray
    unscored: tuple[Unscored, ...]
    num_views: int
    damaged: tuple[Damaged, ...] = ()


def score_videos(model: nn.Module, dataset: VideoViews, **settings: Any) -> Scores:
    """Call :func:`score_readable` and require at least one readable video.

    Raises:
        UserError: If no video has a score.
    """
    scores = score_readable(model, dataset, **settings)
    if not len(scores.rows):
        first = scores.unscored[0]
        raise UserError(
            f"{dataset.annotations.source}: none of {counted(len(dataset), dataset.annotations.noun)} has a score, "
            f"for example {first.path}: {first.reason}"
        )
    return scores


def score_readable(
    model: nn.Module,
    dataset: VideoViews,
    *,
    world: World | None = None,
    batch_size: int = 16,
    num_workers: int = 0,
    precision: str = "fp32",
    softmax: bool = False,
    progress: ProgressCallback | None = None,
    preempted: Callable[[], bool] | None = None,
) -> Scores:
    """Score every video of a data set once. All ranks call it; all get the complete result.

    The result is bitwise identical for any number of processes and workers with the same number of threads.

    Args:
        model: Maps (B, T, H, W, C) uint8 clips on its device to (B, C) logits. Its training mode is restored.
        dataset: Videos with all their views.
        world: The processes that share the work.
        batch_size: Views per forward pass, which limits the memory.
        num_workers: Decoding processes of each rank.
        precision: A key of :data:`~adamae.precision.AUTOCAST`.
        softmax: Average probabilities over the views instead of logits.
        progress: Called on the main rank with the number of its completed videos and their total.
        preempted: Called after each batch; if it returns True, the rank stops scoring.

    Raises:
        UserError: If the precision is unknown.
        PreemptedError: On every rank, if any is asked to exit.
    """
    world = world or World()
    left_early = False
    rows: list[int] = []
    scores: list[np.ndarray] = []
    unscored: list[Unscored] = []
    damaged: list[Damaged] = []
    groups = groups_of_rows(len(dataset), max(batch_size // dataset.plan.num_views, 1), world)
    seen, share = 0, sum(map(len, groups))
    loaded = load_groups(dataset, groups, num_workers=num_workers, pin_memory=world.device.type == "cuda")
    with evaluating(model), closing(loaded) as videos:
        for group in videos:
            readable = [video for video in group if "views" in video]
            unscored += [Unscored(v["row"], v["path"], v["reason"]) for v in group if "reason" in v]
            damaged += [Damaged(v["row"], v["path"], v["damaged"]) for v in readable if v["damaged"]]
            if readable:
                clips = _joined([video["views"] for video in readable], world.device)
                logits = forward_in_batches(model, clips, batch_size, precision)
                means = (logits.softmax(-1) if softmax else logits).unflatten(0, (len(readable), -1)).mean(dim=1)
                rows += [video["row"] for video in readable]
                scores += list(means.cpu().numpy())
            seen += len(group)
            if progress is not None and world.is_main:
                progress(seen, share)
            left_early = preempted is not None and preempted()
            if left_early:
                break
    if preempted is not None and any(world.gather(left_early)):
        raise PreemptedError
    return _together(world, (rows, scores, unscored, damaged), dataset)


@torch.no_grad()
def forward_in_batches(model: Callable[[Tensor], Tensor], clips: Tensor, batch_size: int, precision: str) -> Tensor:
    """Run clips through a model, at most ``batch_size`` per forward pass.

    Args:
        model: A module, or a method of one, on (B, T, H, W, C) uint8.
        clips: (V, T, H, W, C) uint8 on the host or on the device.
        batch_size: Clips on the device at the same time.
        precision: A key of :data:`~adamae.precision.AUTOCAST`.

    Returns:
        (V, ...) float32 on the model's device.

    Raises:
        UserError: If the precision is unknown.
    """
    device = _device_of(model)
    with autocast(device, precision):
        parts = [model(part.to(device, non_blocking=True)).float() for part in clips.split(batch_size)]
    return torch.cat(parts)


def _joined(views: list[Tensor], device: torch.device) -> Tensor:
    """All views of a group, on the device; those of a single video stay on the host, as they may not fit there.

    Concatenated on the host they would not be pinned, and the copy would be synchronous.
    """
    return views[0] if len(views) == 1 else torch.cat([each.to(device, non_blocking=True) for each in views])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Context manager in which the model is in evaluation mode; its mode is restored on exit."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _device_of(model: Callable[[Tensor], Tensor]) -> torch.device:
    module = getattr(model, "__self__", model)
    assert isinstance(module, nn.Module)
    return next(module.parameters()).device


def _together(
    world: World, own: tuple[list[int], list[np.ndarray], list[Unscored], list[Damaged]], dataset: VideoViews
) -> Scores:
    """Gather the results of all ranks, in the order of the list."""
    parts = world.gather(own)
    all_rows = np.array([row for part in parts for row in part[0]], np.int64)
    order = np.argsort(all_rows)
    left_out = [entry for part in parts for entry in part[2]]
    all_rows = all_rows[order]
    found = [score for part in parts for score in part[1]]
    logits = np.stack(found)[order] if found else np.zeros((0, 0), np.float32)
    finite = np.isfinite(logits).all(axis=1)
    left_out += [
        Unscored.not_finite(int(row), dataset.annotations.path(int(row)), "scores") for row in all_rows[~finite]
    ]
    return Scores(
        rows=all_rows[finite],
        logits=logits[finite],
        unscored=tuple(sorted(left_out, key=lambda entry: entry.row)),
        num_views=dataset.plan.num_views,
        damaged=tuple(sorted((entry for part in parts for entry in part[3]), key=lambda entry: entry.row)),
    )
