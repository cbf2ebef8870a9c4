"""LayerNorm or GELU followed by a linear layer; only the input of the pair is stored for the backward pass.

The intermediate result is cheap to recompute but takes much memory: of the 16 token-widths that a block of plain code
stores for the backward pass, six are outputs of norms and activations.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from adamae.layers.half_precision import cast_together, half_on_cpu, half_on_gpu, without_autocast
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.plain_modules import is_plain
from adamae.precision import at_least_float32


def norm_linear(x: Tensor, norm: nn.Module, linear: nn.Module, bias: Tensor | None = None) -> Tensor:
    """``linear(norm(x)) + bias``; only ``x`` is stored for the backward pass.

    If the modules are not plain, as with LoRA or hooks, they are called and their output is stored.

    Args:
        x: (..., D).
        norm: A LayerNorm with weight and bias, or what stands in its place.
        linear: A linear layer, or what stands in its place.
        bias: (E,) bias of a layer that has none.

    Returns:
        (..., E).
    """
    if not (is_plain(norm, nn.LayerNorm, LayerNorm) and is_plain(linear, nn.Linear)):
        return biased_linear(norm(x), linear, bias)
    assert isinstance(norm, nn.LayerNorm) and isinstance(linear, nn.Linear)
    weight, bias = linear.weight, linear.bias if bias is None else bias
    if torch.compiler.is_compiling():
        # torch.compile decides itself what to recompute. The norm's weights are folded into those of the product, so
        # their gradients follow from the product's, which are computed anyway, without another sum over all rows.
        wide = x.to(at_least_float32(x.dtype))
        normed = F.layer_norm(wide, norm.normalized_shape, None, None, norm.eps).to(x.dtype)
        folded = (weight * norm.bias).sum(dim=1)
        return F.linear(normed, weight * norm.weight, folded if bias is None else bias + folded)
    return _NormLinear.apply(x, norm.weight, norm.bias, norm.eps, weight, bias)


def gelu_linear(x: Tensor, linear: nn.Module) -> Tensor:
    """``linear(F.gelu(x))``: (..., D) to (..., E); as in :func:`norm_linear`, only ``x`` is stored."""
    if torch.compiler.is_compiling() or not is_plain(linear, nn.Linear):
        out: Tensor = linear(F.gelu(x))
        return out
    return _GeluLinear.apply(x, linear.weight, linear.bias)


def biased_linear(x: Tensor, linear: nn.Module, bias: Tensor | None) -> Tensor:
    """``linear(x) + bias``: (..., D) to (..., E), where a layer with a ``bias`` (E,) here has none of its own."""
    if bias is not None and is_plain(linear, nn.Linear):
        assert isinstance(linear, nn.Linear)
        return F.linear(x, linear.weight, bias)
    out: Tensor = linear(x)
    return out if bias is None else out + bias.to(out.dtype)


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, eps: float, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        with without_autocast(x) as dtype:
            affine = x.dtype if half_on_gpu(x) else scale.dtype
            cast, offset, scale, shift = cast_together((weight, dtype), (bias, dtype), (scale, affine), (shift, affine))
            normed, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], scale, shift, eps)
            ctx.save_for_backward(x, mean, rstd, scale, shift, cast)
            ctx.eps, ctx.weight_type = eps, weight.dtype
            return F.linear(normed.to(dtype), cast, offset)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, scale, shift, weight = ctx.saved_tensors
        wanted, shape = ctx.needs_input_grad, x.shape[-1:]
        grad_weight = grad_x = grad_scale = grad_shift = None
        with without_autocast(x):
            if wanted[4]:
                normed = torch.native_layer_norm(x, shape, scale, shift, ctx.eps)[0]
                grad_weight = _weight_gradient(grad, normed.to(grad.dtype))
                del normed
            if any(wanted[:3]):
                rows = [(grad @ weight).to(x.dtype), x, mean, rstd, scale, shift]
                if half_on_cpu(x):
                    # On a CPU, torch would sum over all rows in half precision.
                    rows = [each.float() for each in rows]
                grad_x, grad_scale, grad_shift = torch.ops.aten.native_layer_norm_backward(
                    *rows[:2], shape, *rows[2:], wanted[:3]
                )
                grad_x = grad_x.to(x.dtype) if wanted[0] else None
            found = (grad_scale, grad_shift, grad_weight, _bias_gradient(grad, wanted[5]))
            grad_scale, grad_shift, grad_weight, grad_bias = cast_together(*((one, ctx.weight_type) for one in found))
        return grad_x, grad_scale, grad_shift, None, grad_weight, grad_bias


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        with without_autocast(x) as dtype:
            cast, offset = cast_together((weight, dtype), (bias, dtype))
            ctx.save_for_backward(x, cast)
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
                grad_x = (grad @ weight).to(x.dtype)
                # In place: each element depends on itself alone.
                torch.ops.aten.gelu_backward.grad_input(grad_x, x, grad_input=grad_x)
            found = (grad_weight, _bias_gradient(grad, wanted[2]))
            grad_weight, grad_bias = cast_together(*((one, ctx.weight_type) for one in found))
        return grad_x, grad_weight, grad_bias


def _weight_gradient(grad: Tensor, read: Tensor) -> Tensor:
    return grad.flatten(0, -2).t() @ read.flatten(0, -2)


def _bias_gradient(grad: Tensor, wanted: bool) -> Tensor | None:
    return grad.flatten(0, -2).sum(dim=0) if wanted else None
