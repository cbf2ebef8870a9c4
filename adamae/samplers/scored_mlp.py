"""The sampler's last MLP and its score layer, fused into one function with two thirds of the FLOPs.

The MLP's output y (N, D) is only used in a product with the score's vector w, after a dropout that keeps the elements
k (N, D) and scales them by c:

    s_n = sum_d w_d c k_nd y_nd,    y = W h + b,    h = gelu(u)  (N, H)

Summed over d first, s_n = z_n . h_n + (c k_n * w) . b with z = (c k * w) W, which is again one matrix product. But z
is also the derivative of s_n with respect to h_n, so the backward pass needs no product for it. The gradients of W and
w both follow from A = (g c k)^T h (D, H), where g_n is the gradient of s_n:

    dW = w * A,    dw = rowsum(W * A) + b * colsum(g c k),    db = w * colsum(g c k)

Without dropout all z_n are the same vector, and no matrix product is needed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from adamae.precision import at_least_float32


def scored_mlp(hidden: Tensor, last: nn.Linear, score: nn.Linear, keep: Tensor | None, drop_rate: float) -> Tensor:
    """Return the score of an MLP's output after dropout, without the score's bias.

    Args:
        hidden: (B, N, H) before the activation, an exact GELU.
        last: The MLP's second layer, H to D.
        score: The score layer, D to 1.
        keep: (B, N, D) bool, the elements that dropout keeps; None: no dropout.
        drop_rate: Dropout rate.

    Returns:
        (B, N).
    """
    scale = 1.0 if keep is None else 1 / (1 - drop_rate)
    result: Tensor = _ScoredMlp.apply(hidden, last.weight, last.bias, score.weight, keep, scale)
    return result


class _ScoredMlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, score: Tensor, keep: Tensor | None, scale: float
    ) -> Tensor:
        dtype = hidden.dtype
        activated = F.gelu(hidden)
        # Cast here and not by autocast: the autocast cache of torch 2.6 would keep copies without a gradient, and
        # return them to the next layer that uses the same weight, as the score does.
        matrix, offset = weight.to(dtype), bias.to(dtype)
        if keep is None:
            vector = score.to(dtype)
            slope, constant = (vector @ matrix).expand_as(hidden), vector @ offset
        else:
            scaled = keep * (score[0] * scale).to(dtype)
            slope, constant = scaled @ matrix, scaled @ offset
        product = slope * activated
        result = product.sum(dim=-1, dtype=at_least_float32(dtype)) + constant
        # The product is no longer needed: its memory takes the derivative with respect to the input of the activation.
        torch.ops.aten.gelu_backward.grad_input(slope, hidden, grad_input=product)
        ctx.save_for_backward(activated, product, weight, bias, score, keep)
        ctx.scale = scale
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        activated, derivative, weight, bias, score, keep = ctx.saved_tensors
        dtype = activated.dtype
        grad_hidden = derivative * grad.unsqueeze(-1).to(dtype)
        flat, grad = activated.flatten(0, -2), (grad * ctx.scale).flatten()
        if keep is None:
            shared = (grad.to(dtype) @ flat).to(weight.dtype)
            outer, column = shared.expand_as(weight), grad.sum().to(weight.dtype).expand_as(bias)
        else:
            passed = keep.flatten(0, -2) * grad.unsqueeze(-1).to(dtype)
            outer, column = (passed.t() @ flat).to(weight.dtype), passed.sum(dim=0).to(weight.dtype)
        row = score[0]
        grad_score = ((weight * outer).sum(dim=1) + bias * column).unsqueeze(0)
        return grad_hidden, row.unsqueeze(1) * outer, row * column, grad_score, None, None
