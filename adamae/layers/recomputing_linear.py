"""Linear layers behind a LayerNorm or a GELU that keep what goes into the pair and not what lies between.

What lies between costs one cheap pass to make again, and as much memory as the rest of a block together: of the 16
token-widths that a block of the plain code keeps for the backward pass, six are outputs of norms and activations.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from adamae.layers.half_precision import cast_together, half_on_cpu, half_on_gpu, without_autocast


def norm_linear(x: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear(norm(x), weight, bias)``: (..., D) to (..., E), of which ``x`` alone is kept for the backward pass."""
    if torch.compiler.is_compiling():
        # The compiler decides by itself what to make again. The norm's own weights are folded into the product's: their
        # gradients are then read off the product's, which is made anyway, and not added up over all rows.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        normed = F.layer_norm(wide, norm.normalized_shape, None, None, norm.eps).to(x.dtype)
        folded = (weight * norm.bias).sum(dim=1)
        return F.linear(normed, weight * norm.weight, folded if bias is None else bias + folded)
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
        with without_autocast(x) as dtype:
            affine = x.dtype if half_on_gpu(x) else scale.dtype
            cast, offset, scale, shift = cast_together((weight, dtype), (bias, dtype), (scale, affine), (shift, affine))
            normed, mean, deviation = torch.native_layer_norm(x, x.shape[-1:], scale, shift, eps)
            ctx.save_for_backward(x, mean, deviation, scale, shift, _kept(weight, cast, x))
            ctx.eps, ctx.weight_type = eps, weight.dtype
            return F.linear(normed.to(dtype), cast, offset)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, deviation, scale, shift, weight = ctx.saved_tensors
        wanted, shape = ctx.needs_input_grad, x.shape[-1:]
        grad_weight = grad_x = grad_scale = grad_shift = None
        own_sums = half_on_cpu(x)
        with without_autocast(x):
            if own_sums and any(wanted[index] for index in (1, 2, 4)):
                normed = torch.native_layer_norm(x, shape, None, None, ctx.eps)[0]
                grad_scale, grad_shift, grad_weight = _sums_over_rows(grad, normed.to(grad.dtype), scale, shift, weight)
                del normed
            elif wanted[4]:
                normed = torch.native_layer_norm(x, shape, scale, shift, ctx.eps)[0]
                grad_weight = _weight_gradient(grad, normed.to(grad.dtype))
                del normed
            left = [wanted[0], wanted[1] and not own_sums, wanted[2] and not own_sums]
            if any(left):
                grad_normed = (grad @ weight.to(grad.dtype)).to(x.dtype)
                grad_x, *sums = torch.ops.aten.native_layer_norm_backward(
                    grad_normed, x, shape, mean, deviation, scale, shift, left
                )
                if not own_sums:
                    grad_scale, grad_shift = sums
            found = (grad_scale, grad_shift, grad_weight, _bias_gradient(grad, wanted[5]))
            grad_scale, grad_shift, grad_weight, grad_bias = cast_together(*((one, ctx.weight_type) for one in found))
        return grad_x, grad_scale, grad_shift, None, grad_weight, grad_bias


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        with without_autocast(x) as dtype:
            cast, offset = cast_together((weight, dtype), (bias, dtype))
            ctx.save_for_backward(x, _kept(weight, cast, x))
            ctx.weight_type = weight.dtype
            return F.linear(F.gelu(x).to(dtype), cast, offset)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        grad_weight = grad_x = None
        with without_autocast(x):
            if wanted[1]:
                grad_weight = _weight_gradient(grad, F.gelu(x).to(grad.dtype))
            if wanted[0]:
                grad_x = (grad @ weight.to(grad.dtype)).to(x.dtype)
                # In place: each element depends on itself alone.
                torch.ops.aten.gelu_backward.grad_input(grad_x, x, grad_input=grad_x)
            found = (grad_weight, _bias_gradient(grad, wanted[2]))
            grad_weight, grad_bias = cast_together(*((one, ctx.weight_type) for one in found))
        return grad_x, grad_weight, grad_bias


def _kept(weight: Tensor, cast: Tensor, x: Tensor) -> Tensor:
    """What of a weight is kept for the backward pass.

    On a GPU the copy in half precision: to make it again takes three times the bytes that a product reads of it. On a
    CPU, which adds up in its own way, the weight itself.
    """
    return weight if half_on_cpu(x) else cast


def _weight_gradient(grad: Tensor, read: Tensor) -> Tensor:
    return grad.flatten(0, -2).t() @ read.flatten(0, -2)


def _sums_over_rows(
    grad: Tensor, normed: Tensor, scale: Tensor, shift: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``scale``, ``shift`` and ``weight`` of ``F.linear(normed * scale + shift, weight)``."""
    product = _weight_gradient(grad, normed).to(weight.dtype)
    total = grad.flatten(0, -2).sum(dim=0).to(weight.dtype)
    return (product * weight).sum(dim=0), total @ weight, product * scale + torch.outer(total, shift)


def _bias_gradient(grad: Tensor, wanted: bool) -> Tensor | None:
    return grad.flatten(0, -2).sum(dim=0) if wanted else None
