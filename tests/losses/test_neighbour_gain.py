"""The reward by neighbours, spelled out token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adamae.grid import TokenGrid
from adamae.losses.neighbour_gain import neighbour_gain_loss, neighbour_mean
from adamae.selection import TokenSelection, complement

GRID = TokenGrid(3, 4, 5, 2, 8)


def selections(rng: np.random.Generator, visible: int) -> TokenSelection:
    chosen = np.stack([np.sort(rng.permutation(GRID.num_tokens)[:visible]) for _ in range(2)])
    ids = torch.from_numpy(chosen)
    logits = torch.from_numpy(rng.normal(size=(2, GRID.num_tokens))).requires_grad_()
    return TokenSelection(ids, complement(ids, GRID.num_tokens), logits.log_softmax(1))


def place(token: int) -> np.ndarray:
    return np.array((token // (GRID.h * GRID.w), token // GRID.w % GRID.h, token % GRID.w))


# With many visible tokens some have no target beside them.
@pytest.mark.parametrize("visible", [6, 57])
def test_the_mean_over_the_targets_next_to_a_visible_token(rng: np.random.Generator, visible: int) -> None:
    selection = selections(rng, visible)
    values = torch.from_numpy(rng.normal(size=tuple(selection.target.shape)))
    found = neighbour_mean(selection, values, GRID)
    for clip in range(2):
        targets = selection.target[clip].tolist()
        for number, token in enumerate(selection.visible[clip].tolist()):
            near = [float(values[clip, k]) for k, i in enumerate(targets) if np.abs(place(i) - place(token)).max() == 1]
            assert float(found[clip, number]) == pytest.approx(np.mean(near) if near else 0, abs=1e-9)


def test_the_loss_raises_what_gained_more_than_the_clip_s_mean(rng: np.random.Generator) -> None:
    selection = selections(rng, 6)
    gain = torch.from_numpy(rng.normal(size=tuple(selection.target.shape))).requires_grad_()
    assert selection.log_probs is not None
    selection.log_probs.retain_grad()
    neighbour_gain_loss(selection, gain, GRID).backward()
    reward = neighbour_mean(selection, gain.detach(), GRID)
    expected = torch.zeros(2, GRID.num_tokens, dtype=torch.float64)
    expected.scatter_(1, selection.visible, -(reward - reward.mean(1, keepdim=True)) / 12)
    torch.testing.assert_close(selection.log_probs.grad, expected)
    assert gain.grad is None
