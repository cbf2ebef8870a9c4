"""Footage seen through a model: which tokens it draws, what it predicts, where it errs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from adamae.models import Pretrainer
from adamae.randomness import SampleNoise, sample_seed
from adamae.samplers import Declaration, declaration_of
from adamae.samplers.hit_rate import count_hits
from adamae.samplers.sampler import Sampler
from adamae.selection import TokenSelection
from adamae.visualize.footage import Footage
from adamae.visualize.networks import sampler_of
from adamae.visualize.panels import Panels, draw_panels

# (selection, moving (B, T, H, W), grid) -> (B,) visible tokens on what moves, and (B,) how many a blind draw would have


@dataclass(frozen=True)
class Variant:
    """One way to hide tokens.

    Attributes:
        mask_type: A key of ``adamae.samplers.SAMPLERS``.
        mask_ratio: Share of hidden tokens that is asked for; whole frames and tubes may mask another one.
        seed: What the draw follows from, with the window.
    """

    mask_type: str
    mask_ratio: float
    seed: int = 0


@dataclass(frozen=True)
class Look:
    """Footage seen in one way.

    Attributes:
        variant: Which.
        sampler: What drew the tokens.
        panels: Of all C clips.
        error_if_hidden: (C, N) error of the visible tokens in a second draw that hides them; NaN elsewhere.
        statistics: Numbers about all clips together, see :func:`look_at`.
    """

    variant: Variant
    sampler: Declaration
    panels: Panels
    error_if_hidden: Tensor
    statistics: dict[str, float]

    @property
    def mask_ratio(self) -> float:
        """Fraction of a clip's tokens that is masked: what came of the ratio that was asked for."""
        return 1 - float(self.panels.visible[0].float().mean())

    @property
    def beats_trivial(self) -> bool:
        """Whether the network predicts better than the prediction that needs none."""
        return self.statistics["target_error"] < self.statistics["trivial_error"]


@torch.no_grad()
def look_at(
    model: Pretrainer,
    footage: Footage,
    variant: Variant,
    *,
    own_statistics: bool = False,
    batch_size: int = 8,
) -> Look:
    """Run all clips of a video through a model.

    Args:
        model: In evaluation mode.
        footage: The video.
        variant: How tokens are hidden.
        own_statistics: Show predictions with the statistics of visible neighbours, not of the target.
        batch_size: Clips at once.

    Returns:
        Panels on the CPU, and the statistics "visible" (tokens of a clip), "tokens" (N), "target_error",
        "trivial_error" (of the prediction that needs no network, on the same tokens), "visible_error" (of the visible
        tokens in a second draw that hides them); for a learned sampler "entropy" (1 is even) and "top_tenth" (0.1 is
        even); where it is known what moves "hit_rate" (1 is blind) and "on_moving" (share of the visible tokens).

    Raises:
        UserError: If the model cannot draw so.
    """
    sampler = sampler_of(model, variant.mask_type, variant.mask_ratio)
    device = model.mask_token.device
    learned = sampler.learns
    parts, sums = [], _Sums()
    for begin in range(0, len(footage.cut.numbers), batch_size):
        some = slice(begin, begin + batch_size)
        clips = footage.clips(some).to(device)
        seeds = _seeds(footage.cut.stretch[some], variant.seed).to(device)
        out = model(clips, visible=_draw(model, sampler, clips, seeds), seeds=seeds, diagnose=True)
        # What the model's sampler thinks is no property of a draw that does not ask it.
        log_probs = out.selection.log_probs if learned else None
        preference = sampler.preference(model.tokens_for(sampler, model.pixels(clips)), log_probs, model.grid)
        selection = TokenSelection(out.selection.visible, out.selection.target, preference)
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
            )
        )
        sums.add("trivial_error", out.losses["trivial"] * len(clips), len(clips))
        for name in ("entropy", "top_tenth") if learned else ():
            sums.add(name, out.losses[name] * len(clips), len(clips))
        moving = footage.moving_clips(some)
        if moving is not None:
            hits, expected = count_hits(_on_cpu(selection), moving, model.grid)
            sums.add("hit_rate", hits.sum(), float(expected.sum()))
            sums.add("on_moving", hits.sum(), selection.visible.numel())
    panels = _joined(parts)
    unseen = _errors_if_hidden(model, sampler, footage, variant.seed, panels.visible, batch_size)
    statistics = {
        "visible": float(panels.visible[0].sum()),
        "tokens": float(model.grid.num_tokens),
        "target_error": float(panels.error.nanmean()),
        "visible_error": float(unseen.nanmean()),
        **sums.means(),
    }
    return Look(variant, declaration_of(sampler), panels, unseen, statistics)


def _errors_if_hidden(
    model: Pretrainer, sampler: Sampler, footage: Footage, seed: int, visible: Tensor, batch_size: int
) -> Tensor:
    """(C, N) errors of visible tokens in another draw, where that hides them; NaN elsewhere.

    One clip of each stretch is enough: the others show the same a frame later.
    """
    errors = torch.full(visible.shape, torch.nan)
    _, first = np.unique(footage.cut.stretch, return_index=True)
    for begin in range(0, len(first), batch_size):
        some = first[begin : begin + batch_size]
        clips = footage.frames[footage.cut.numbers[some]].to(model.mask_token.device)
        seeds = _seeds(footage.cut.stretch[some], seed, repeat=1).to(clips.device)
        out = model(clips, visible=_draw(model, sampler, clips, seeds), seeds=seeds)
        found = torch.full((len(some), visible.shape[1]), torch.nan)
        errors[some] = found.scatter(1, out.selection.target.cpu(), out.token_error.float().cpu())
    return errors.masked_fill(~visible, torch.nan)


def _draw(model: Pretrainer, sampler: Sampler, clips: Tensor, seeds: Tensor) -> Tensor | None:
    """(B, V) what the model's forward pass would draw with these seeds, if this were its sampler; None if it is."""
    if type(sampler) is type(model.sampler) and sampler.mask_ratio == model.sampler.mask_ratio:
        return None
    pixels = model.pixels(clips)
    tokens = model.tokens_for(sampler, pixels)
    selection: TokenSelection = sampler(tokens, pixels, model.grid, SampleNoise(seeds).fold_in(0))
    return selection.visible


def _seeds(stretches: np.ndarray, seed: int, repeat: int = 0) -> Tensor:
    # Clips of one stretch share their noise, so that a film of them does not flicker.
    return torch.tensor([sample_seed(seed, 0, int(stretch), repeat) for stretch in stretches])


def _on_cpu(selection: TokenSelection) -> TokenSelection:
    log_probs = None if selection.log_probs is None else selection.log_probs.cpu()
    return TokenSelection(selection.visible.cpu(), selection.target.cpu(), log_probs)


def _joined(parts: Sequence[Panels]) -> Panels:
    tensors = {
        entry.name: torch.cat([getattr(part, entry.name) for part in parts])
        for entry in fields(Panels)
        if isinstance(getattr(parts[0], entry.name), Tensor)
    }
    first = parts[0]
    return Panels(grid=first.grid, statistics=first.statistics, prefers=first.prefers, **tensors)


class _Sums:
    """Means whose parts come batch by batch."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, name: str, value: Tensor, weight: float) -> None:
        both = self._sums.setdefault(name, [0.0, 0.0])
        both[0] += float(value)
        both[1] += weight

    def means(self) -> dict[str, float]:
        """What has any weight."""
        return {name: value / weight for name, (value, weight) in self._sums.items() if weight}
