"""What an operation costs: counted by hand for one of each kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adamae.benchmark.operations import BACKWARD, OPTIMIZER, Operation, OperationRecorder
from adamae.benchmark.roofline import without_values


def record(step: Callable[[], object]) -> list[Operation]:
    recorder = OperationRecorder("forward")
    with recorder:
        step()
    return recorder.operations


def one(step: Callable[[], object]) -> Operation:
    (operation,) = record(step)
    return operation


def test_a_product_reads_both_factors_and_writes_the_result() -> None:
    left, right = torch.zeros(3, 5), torch.zeros(5, 7)
    counted = one(lambda: left @ right)
    assert (counted.kind, counted.flop) == ("product", 2 * 3 * 5 * 7)
    assert (counted.read, counted.written) == (4 * (15 + 35), 4 * 21)


@pytest.mark.parametrize(
    ("call", "read", "written"),
    [
        (lambda x: x + 1, 24, 24),
        (lambda x: x.add_(x), 24, 24),
        (lambda x: x.zero_(), 0, 24),
        (lambda x: x.half(), 24, 12),
        (lambda x: x + x[:1], 24 + 12, 24),
        # What is expanded lies in memory once.
        (lambda x: x[:1].expand(5, 3).exp(), 12, 60),
        (lambda x: x.sum(dim=0), 24, 12),
        (lambda x: torch.zeros_like(x), 0, 24),
        (lambda x: torch.cat((x, x)), 24, 48),
    ],
)
def test_bytes(call: Callable[[Tensor], Tensor], read: int, written: int) -> None:
    x = torch.zeros(2, 3)
    # A second view of the same memory, as of x and x[:1], counts by itself.
    counted = one(lambda: call(x))
    assert (counted.kind, counted.read, counted.written) == ("other", read, written)


def test_a_gather_reads_what_it_takes() -> None:
    x, rows = torch.zeros(1, 100, 8), torch.zeros(1, 2, 1, dtype=torch.int64)
    counted = one(lambda: x.gather(1, rows.expand(-1, -1, 8)))
    assert (counted.read, counted.written) == (4 * 16 + 8 * 2, 4 * 16)


def test_views_and_allocations_cost_nothing() -> None:
    x = torch.zeros(2, 3)
    assert record(lambda: (x.view(3, 2).t()[1:].unsqueeze(0).detach(), torch.empty_like(x))) == []


def test_attention_by_its_own_formula() -> None:
    query, key, value = (torch.zeros(2, 3, n, 8, requires_grad=True) for n in (5, 7, 7))
    operations = record(lambda: F.scaled_dot_product_attention(query, key, value).sum().backward())
    forward, backward = (operation for operation in operations if operation.kind == "attention")
    scores = 2 * 3 * 5 * 7
    assert (forward.flop, forward.exponentials, forward.part) == (2 * 2 * scores * 8, scores, "forward")
    assert (backward.flop, backward.exponentials, backward.part) == (5 * 2 * scores * 8, scores, BACKWARD)


def test_an_attention_matrix_is_attention_without_a_fused_kernel() -> None:
    weights, values = torch.zeros(2, 3, 5, 5), torch.zeros(2, 3, 5, 8)
    assert one(lambda: weights.softmax(dim=-1)).kind == "attention"
    assert one(lambda: weights.half()).kind == "attention"
    assert one(lambda: values.softmax(dim=-1)).kind == "other"


def test_a_step_falls_into_forward_backward_and_update() -> None:
    layer = torch.nn.Linear(4, 4, bias=False)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)

    def step() -> None:
        layer(torch.zeros(2, 4)).sum().backward()
        optimizer.step()

    parts = {operation.name: operation for operation in record(step)}
    assert parts["mm"].part == BACKWARD
    update = parts["_fused_adamw_"]
    # Weights, gradients and both moments are read; all but the gradients are written. And a step counter.
    assert update.part == OPTIMIZER
    assert (update.read, update.written) == (4 * 4 * 16 + 4, 3 * 4 * 16)


def test_nothing_needs_values() -> None:
    def step() -> None:
        (torch.zeros(2, 3) @ torch.zeros(3, 4)).exp()

    real = record(step)
    with without_values():
        assert record(step) == real
    assert [operation.name for operation in real][-2:] == ["mm", "exp"]
