"""Selections: complements, gathering and counts."""

from __future__ import annotations

import pytest
import torch

from adamae.selection import complement, count_visible, gather_tokens


def test_a_complement_is_sorted_and_together_with_the_rest_everything() -> None:
    ids = torch.rand(5, 50).topk(13, dim=1).indices
    others = complement(ids, 50)
    assert torch.equal(torch.cat((ids, others), dim=1).sort(dim=1).values, torch.arange(50).expand(5, -1))
    assert torch.equal(others, others.sort(dim=1).values)


def test_complement_of_a_complement() -> None:
    ids = torch.rand(3, 20).topk(6, dim=1).indices
    assert torch.equal(complement(complement(ids, 20), 20), ids.sort(dim=1).values)


@pytest.mark.parametrize("row", [(), (3,), (5, 2)])
def test_gather_takes_whole_rows_of_any_shape(row: tuple[int, ...]) -> None:
    x, ids = torch.randn(2, 7, *row), torch.tensor([[0, 6, 1], [3, 4, 3]])
    assert torch.equal(gather_tokens(x, ids), x[torch.arange(2)[:, None], ids])


@pytest.mark.parametrize(
    ("tokens", "ratio", "visible"),
    [(1568, 0.95, 78), (1568, 0.9, 156), (1568, 0.8, 313), (100, 0.8, 19), (1000, 0.9, 99)],
)
def test_counts_truncate_as_published(tokens: int, ratio: float, visible: int) -> None:
    assert count_visible(tokens, ratio) == visible
