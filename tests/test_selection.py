"""Selections: complements, gathering and counts."""

from __future__ import annotations

import pytest
import torch

from adamae.selection import TokenSelection, complement, count_visible, gather_tokens


def test_visible_and_target_are_sorted_and_together_everything() -> None:
    noise = torch.rand(5, 50)
    visible = noise.topk(13, dim=1).indices
    selection = TokenSelection.from_visible(visible, 50)
    assert torch.equal(torch.cat((selection.visible, selection.target), dim=1).sort(dim=1).values[0], torch.arange(50))
    for ids in (selection.visible, selection.target):
        assert torch.equal(ids, ids.sort(dim=1).values)
    assert torch.equal(selection.visible, visible.sort(dim=1).values)


def test_complement_of_a_complement() -> None:
    ids = torch.rand(3, 20).topk(6, dim=1).indices
    assert torch.equal(complement(complement(ids, 20), 20), ids.sort(dim=1).values)


def test_gather_takes_whole_rows() -> None:
    x = torch.randn(2, 7, 3)
    ids = torch.tensor([[0, 6], [3, 4]])
    assert torch.equal(gather_tokens(x, ids), torch.stack((x[0, [0, 6]], x[1, [3, 4]])))


@pytest.mark.parametrize(
    ("tokens", "ratio", "visible"),
    [(1568, 0.95, 78), (1568, 0.9, 156), (1568, 0.8, 313), (100, 0.8, 19), (1000, 0.9, 99)],
)
def test_counts_truncate_as_published(tokens: int, ratio: float, visible: int) -> None:
    assert count_visible(tokens, ratio) == visible
