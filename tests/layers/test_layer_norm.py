"""LayerNorm in half precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adamae.benchmark.operations import OperationRecorder
from adamae.layers import devices
from adamae.layers.layer_norm import LayerNorm

HALF = [torch.bfloat16, torch.float16]


def drawn(rows: int) -> tuple[LayerNorm, Tensor]:
    norm = LayerNorm(16)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    return norm, torch.randn(rows, 16)


def gradients(norm: LayerNorm, x: Tensor) -> list[Tensor]:
    """Of weight and bias, where every output has the gradient one."""
    out = norm(x)
    return list(torch.autograd.grad(out, list(norm.parameters()), torch.ones_like(out)))


@pytest.mark.parametrize("half", HALF)
def test_gradients_over_many_rows_are_exact_on_a_cpu(half: torch.dtype) -> None:
    norm, x = drawn(20_000)
    exact, rounded = gradients(norm, x.to(half).float()), gradients(norm, x.to(half))
    for one, other in zip(exact, rounded, strict=True):
        assert (one - other).norm() < 1e-2 * one.norm()


@pytest.mark.parametrize("half", HALF)
def test_weights_in_half_precision_have_exact_gradients_as_well(half: torch.dtype) -> None:
    norm, x = drawn(20_000)
    norm, x = norm.to(half), x.to(half)
    assert norm(x).dtype == half
    rounded, exact = gradients(norm, x), gradients(norm.float(), x.float())
    for one, other in zip(exact, rounded, strict=True):
        assert other.dtype == half
        assert (one - other).norm() < 1e-2 * one.norm()


@pytest.mark.parametrize("half", HALF)
def test_a_gpu_computes_in_half_precision_whatever_autocast_says(
    half: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm, x = drawn(8)
    expected = norm(x.to(half).float())
    monkeypatch.setattr(devices, "_CPU", "")
    with torch.autocast("cpu", half), OperationRecorder("forward") as seen:
        out = norm(x.to(half))
    assert out.dtype == half
    torch.testing.assert_close(out.float(), expected, rtol=2e-2, atol=2e-2)
    # The input of this test, weight and bias; and the norm.
    sizes = [(one.name, one.written) for one in seen.operations if one.name != "native_layer_norm"]
    assert sizes == [("_to_copy", 8 * 16 * 2), ("_to_copy", 16 * 2), ("_to_copy", 16 * 2)]
    assert norm(x).dtype == torch.float32
