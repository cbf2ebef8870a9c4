"""Reconstruction of a video by a model: sampled tokens, predictions and errors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from adamae.models import Pretrainer
from adamae.randomness import sample_seed
from adamae.samplers import Declaration, declaration_of
from adamae.samplers.hit_rate import count_hits
from adamae.samplers.sampler import Sampler
from adamae.selection import TokenSelection
from adamae.visualize.panels import Panels, draw_panels
from adamae.visualize.samplers import sampler_of
from adamae.visualize.video_clips import VideoClips


@dataclass(frozen=True)
class Variant:
    """A masking strategy.

    Attributes:
        mask_type: A key of ``adamae.samplers.SAMPLERS``.
        mask_ratio: Requested mask ratio; frame and tube masks may use the nearest possible one.
        seed: Random seed of the sampled mask, combined with the window.
    """

    mask_type: str
    mask_ratio: float
    seed: int = 0


@dataclass(frozen=True)
class Reconstruction:
    """Reconstruction of a video with one masking strategy.

    Attributes:
        variant: The masking strategy.
        sampler: Declaration of the sampler.
        panels: Panels of all C clips.
        error_if_hidden: (C, N) error of the visible tokens in a second sample that masks them, in the first clip of
            each window; NaN elsewhere.
        statistics: Numbers about all clips together, see :func:`reconstruct`.
    """

    variant: Variant
    sampler: Declaration
    panels: Panels
    error_if_hidden: Tensor
    statistics: dict[str, float]

    @property
    def mask_ratio(self) -> float:
        """Actual fraction of masked tokens, which may differ from the requested one."""
        return 1 - float(self.panels.visible[0].float().mean())

    @property
    def beats_trivial(self) -> bool:
        """Whether the error is below that of the trivial predictor."""
        return self.statistics["target_error"] < self.statistics["trivial_error"]


@torch.no_grad()
def reconstruct(
    model: Pretrainer,
    video: VideoClips,
    variant: Variant,
    *,
    own_statistics: bool = False,
    batch_size: int = 8,
) -> Reconstruction:
    """Run all clips of a video through a model.

    Args:
        model: In evaluation mode.
        video: The video.
        variant: The masking strategy.
        own_statistics: Denormalise predictions with the statistics of visible neighbours instead of the target.
        batch_size: Clips per forward pass.

    Returns:
        Panels on the CPU, and the statistics "visible" (tokens of a clip), "tokens" (N), "target_error",
        "trivial_error" (of the trivial predictor on the same tokens), "visible_error" (of the visible tokens in a
        second sample that masks them, in the first clip of each window); for a learned sampler "entropy" (1: uniform)
        and "top_tenth" (0.1: uniform); with a motion mask "hit_rate" (1: uniform sampling) and "on_moving" (fraction
        of the visible tokens).

    Raises:
        UserError: If the model does not support the masking strategy.
    """
    sampler = sampler_of(model, variant.mask_type, variant.mask_ratio)
    device = model.mask_token.device
    learned = sampler.learns
    pixel_norm = copy.deepcopy(model.pixel_norm).cpu() if model.target_statistics == "token" else None
    parts, sums = [], _Sums()
    for begin in range(0, len(video.cut.frames), batch_size):
        some = slice(begin, begin + batch_size)
        clips = video.clips(some).to(device)
        seeds = _seeds(video.cut.window[some], variant.seed).to(device)
        with _sampling_with(model, sampler):
            out = model(clips, seeds=seeds, diagnose=True)
        chosen = out.selection
        preference = sampler.preference(model.tokens_for(sampler, model.pixels(clips)), chosen.log_probs, model.grid)
        selection = TokenSelection(chosen.visible, chosen.target, preference, secondary=chosen.secondary)
        cpu = [value.cpu() for value in (clips, out.prediction, out.token_error)]
        parts.append(
            draw_panels(
                cpu[0],
                cpu[1],
                _on_cpu(selection),
                cpu[2],
                model.grid,
                normalised=model.normalize_target,
                own_statistics=own_statistics,
                pixel_norm=pixel_norm,
            )
        )
        sums.add("trivial_error", out.losses["trivial"] * len(clips), len(clips))
        for name in ("entropy", "top_tenth") if learned else ():
            sums.add(name, out.losses[name] * len(clips), len(clips))
        motion_mask = video.motion_mask_clips(some)
        if motion_mask is not None:
            hits, expected = count_hits(_on_cpu(selection), motion_mask, model.grid)
            sums.add("hit_rate", hits.sum(), float(expected.sum()))
            sums.add("on_moving", hits.sum(), selection.visible.numel())
    panels = _joined(parts)
    unseen = _errors_if_masked(model, sampler, video, variant.seed, panels.visible, batch_size)
    statistics = {
        "visible": float(panels.visible[0].sum()),
        "tokens": float(model.grid.num_tokens),
        "target_error": float(panels.error.nanmean()),
        "visible_error": float(unseen.nanmean()),
        **sums.means(),
    }
    return Reconstruction(variant, declaration_of(sampler), panels, unseen, statistics)


def _errors_if_masked(
    model: Pretrainer, sampler: Sampler, video: VideoClips, seed: int, visible: Tensor, batch_size: int
) -> Tensor:
    """(C, N) errors of visible tokens in another sample, where they are masked; NaN elsewhere.

    One clip per window is enough: the others show the same content a frame later.
    """
    errors = torch.full(visible.shape, torch.nan)
    _, first = np.unique(video.cut.window, return_index=True)
    for begin in range(0, len(first), batch_size):
        some = first[begin : begin + batch_size]
        clips = video.frames[video.cut.frames[some]].to(model.mask_token.device)
        seeds = _seeds(video.cut.window[some], seed, repeat=1).to(clips.device)
        with _sampling_with(model, sampler):
            out = model(clips, seeds=seeds)
        found = torch.full((len(some), visible.shape[1]), torch.nan)
        errors[some] = found.scatter(1, out.selection.target.cpu(), out.token_error.float().cpu())
    return errors.masked_fill(~visible, torch.nan)


@contextmanager
def _sampling_with(model: Pretrainer, sampler: Sampler) -> Iterator[None]:
    """Within this context the model's forward pass samples visible and target tokens with ``sampler``."""
    own = model.sampler
    # The same sampler is not set again, since a compiled model would be compiled anew.
    if type(sampler) is type(own) and sampler.mask_ratio == own.mask_ratio:
        yield
        return
    model.sampler = sampler
    try:
        yield
    finally:
        model.sampler = own


def _seeds(stretches: np.ndarray, seed: int, repeat: int = 0) -> Tensor:
    # Clips of one window share their noise, so that a film of them does not flicker.
    return torch.tensor([sample_seed(seed, 0, int(stretch), repeat) for stretch in stretches])


def _on_cpu(selection: TokenSelection) -> TokenSelection:
    log_probs = None if selection.log_probs is None else selection.log_probs.cpu()
    secondary = None if selection.secondary is None else selection.secondary.cpu()
    return TokenSelection(selection.visible.cpu(), selection.target.cpu(), log_probs, secondary=secondary)


def _joined(parts: Sequence[Panels]) -> Panels:
    tensors = {
        entry.name: torch.cat([getattr(part, entry.name) for part in parts])
        for entry in fields(Panels)
        if isinstance(getattr(parts[0], entry.name), Tensor)
    }
    first = parts[0]
    return Panels(grid=first.grid, statistics=first.statistics, prefers=first.prefers, **tensors)


class _Sums:
    """Weighted means accumulated over batches."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, name: str, value: Tensor, weight: float) -> None:
        both = self._sums.setdefault(name, [0.0, 0.0])
        both[0] += float(value)
        both[1] += weight

    def means(self) -> dict[str, float]:
        """Means of all values with a positive weight."""
        return {name: value / weight for name, (value, weight) in self._sums.items() if weight}
