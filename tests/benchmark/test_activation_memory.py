"""What is kept for the backward pass is counted, and stays where it is promised to be."""

from __future__ import annotations

import torch

from adamae.benchmark.activation_memory import count_kept_bytes


def test_kept_bytes_are_those_of_the_storages() -> None:
    weight = torch.randn(4, 3, requires_grad=True)
    x = torch.randn(5, 4)
    # The product keeps x for the weight's gradient, exp its result; the sum keeps nothing.
    assert count_kept_bytes(lambda: (x @ weight).exp().sum(), [weight]) == 4 * (5 * 4 + 5 * 3)
    assert count_kept_bytes(lambda: (x @ weight).exp().sum(), [weight, x]) == 4 * 5 * 3


def test_a_view_keeps_all_of_its_storage_once() -> None:
    weight = torch.randn(4, requires_grad=True)
    whole = torch.randn(10, 4)
    assert count_kept_bytes(lambda: (whole[:2] * weight).sum() + (whole[1:] * weight).sum(), [weight]) == 4 * 40
