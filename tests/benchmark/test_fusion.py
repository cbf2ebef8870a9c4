"""The model of fusion, on graphs whose kernels are plain to see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adamae.benchmark.fusion import fusing_backend
from adamae.benchmark.operations import BACKWARD, Operation
from adamae.benchmark.roofline import without_values

# Torch 2.6 compiles nothing whose inputs have no values; adamae says so in one line.
pytestmark = pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 cannot predict it")


def compiled(function: Callable[..., Tensor], *shapes: tuple[int, ...], backward: bool = False) -> list[Operation]:
    kernels: list[Operation] = []
    with without_values():
        inputs = [torch.zeros(shape, requires_grad=backward) for shape in shapes]
        out = torch.compile(function, backend=fusing_backend(kernels, "forward", {}))(*inputs)
        if backward:
            out.sum().backward()
    return kernels


def test_a_chain_is_one_kernel() -> None:
    (kernel,) = compiled(lambda x, y: (F.gelu(x) + y).exp() * x, (64, 32), (64, 32))
    assert (kernel.launches, kernel.read, kernel.written) == (1, 2 * 4 * 64 * 32, 4 * 64 * 32)


def test_a_norm_is_one_kernel_with_what_reads_it() -> None:
    (kernel,) = compiled(lambda x: F.layer_norm(x, (32,)).relu(), (64, 32))
    assert (kernel.launches, kernel.read, kernel.written) == (1, 4 * 64 * 32, 4 * 64 * 32)


def test_products_stand_alone_and_part_what_lies_around_them() -> None:
    kernels = compiled(lambda x, w: (x.exp() @ w).exp(), (64, 32), (32, 16))
    assert sorted(kernel.kind for kernel in kernels) == ["other", "other", "product"]


def test_what_waits_for_a_product_is_not_fused_across_it() -> None:
    # The last sum reads both the first exponential and a product that needs it.
    def function(x: Tensor, w: Tensor) -> Tensor:
        e = x.exp()
        return e + e @ w

    kernels = compiled(function, (32, 32), (32, 32))
    assert sorted(kernel.name for kernel in kernels) == ["add", "exp", "mm"]


def test_sums_over_rows_and_over_columns_are_different_kernels() -> None:
    kernels = compiled(lambda x: x.exp().sum(dim=0).sum() + x.exp().sum(dim=1).sum(), (64, 32))
    assert len([kernel for kernel in kernels if "sum" in kernel.name]) >= 2


def test_the_backward_pass_has_its_own_graph() -> None:
    kernels = compiled(lambda x, w: F.gelu(x @ w), (64, 32), (32, 16), backward=True)
    assert {kernel.part for kernel in kernels} == {"forward", BACKWARD}
    assert sum(kernel.flop for kernel in kernels if kernel.part == BACKWARD) == 2 * 2 * 64 * 32 * 16
