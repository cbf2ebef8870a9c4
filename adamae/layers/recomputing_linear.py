"""Linear layers behind a LayerNorm or a GELU that keep what goes into the pair and not what lies between.

What lies between costs one cheap pass to make again, and as much memory as the rest of a block together: of the 16
token-widths that a block of the plain code keeps for the backward pass, six are outputs of norms and activations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from adamae.layers.layer_norm import sums_in_half


def norm_linear(x: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear(norm(x), weight, bias)``: (..., D) to (..., E), of which ``x`` alone is kept for the backward pass."""
    if torch.compiler.is_compiling():
        # The compiler decides by itself what to make again.
        return F.linear(norm(x), weight, bias)
    return _NormLinear.apply(x, norm.weight, norm.bias, norm.eps, weight, bias)


def gelu_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear(F.gelu(x), weight, bias)``: (..., D) to (..., E), of which ``x`` alone is kept."""
    if torch.compiler.is_compiling():
        return F.linear(F.gelu(x), weight, bias)
    return _GeluLinear.apply(x, weight, bias)


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, eps: float, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        normed, mean, deviation = torch.native_layer_norm(x, x.shape[-1:], scale, shift, eps)
        # Under autocast the norm may compute in another type than that of its input.
        ctx.norm_type = normed.dtype
        ctx.save_for_backward(x, mean, deviation, scale, shift, weight)
        ctx.eps = eps
        with _no_autocast_cache():
            return F.linear(normed, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, deviation, scale, shift, weight = ctx.saved_tensors
        wanted, shape = ctx.needs_input_grad, x.shape[-1:]
        x = x.to(ctx.norm_type)
        grad_weight = grad_x = grad_scale = grad_shift = None
        own_sums = sums_in_half(x)
        if own_sums and any(wanted[index] for index in (1, 2, 4)):
            normed = torch.native_layer_norm(x, shape, None, None, ctx.eps)[0]
            grad_scale, grad_shift, grad_weight = _sums_over_rows(grad, normed.to(grad.dtype), scale, shift, weight)
            del normed
        elif wanted[4]:
            normed = torch.native_layer_norm(x, shape, scale, shift, ctx.eps)[0]
            grad_weight = _weight_gradient(grad, normed.to(grad.dtype), weight)
            del normed
        left = [wanted[0], wanted[1] and not own_sums, wanted[2] and not own_sums]
        if any(left):
            grad_normed = (grad @ weight.to(grad.dtype)).to(ctx.norm_type)
            grad_x, *sums = torch.ops.aten.native_layer_norm_backward(
                grad_normed, x, shape, mean, deviation, scale, shift, left
            )
            if not own_sums:
                grad_scale, grad_shift = sums
        return grad_x, grad_scale, grad_shift, None, grad_weight, _bias_gradient(grad, wanted[5], weight)


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        with _no_autocast_cache():
            return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        grad_weight = grad_x = None
        if wanted[1]:
            grad_weight = _weight_gradient(grad, F.gelu(x).to(grad.dtype), weight)
        if wanted[0]:
            grad_x = (grad @ weight.to(grad.dtype)).to(x.dtype)
            # In place: each element depends on itself alone.
            torch.ops.aten.gelu_backward.grad_input(grad_x, x, grad_input=grad_x)
        return grad_x, grad_weight, _bias_gradient(grad, wanted[2], weight)


@contextmanager
def _no_autocast_cache() -> Iterator[None]:
    """Cast weights for this computation alone.

    On torch 2.6 autocast keeps copies that are made inside of an autograd function, where they have no gradient, and
    a plain layer that reads the same weight afterwards would get such a copy.
    """
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def _weight_gradient(grad: Tensor, read: Tensor, weight: Tensor) -> Tensor:
    return (grad.flatten(0, -2).t() @ read.flatten(0, -2)).to(weight.dtype)


def _sums_over_rows(
    grad: Tensor, normed: Tensor, scale: Tensor, shift: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``scale``, ``shift`` and ``weight`` of ``F.linear(normed * scale + shift, weight)``."""
    product = _weight_gradient(grad, normed, weight)
    total = grad.flatten(0, -2).sum(dim=0).to(weight.dtype)
    return (product * weight).sum(dim=0), total @ weight, product * scale + torch.outer(total, shift)


def _bias_gradient(grad: Tensor, wanted: bool, weight: Tensor) -> Tensor | None:
    return grad.flatten(0, -2).sum(dim=0).to(weight.dtype) if wanted else None
