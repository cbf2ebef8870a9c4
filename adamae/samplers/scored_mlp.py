"""The sampler's last MLP and the score that reads it, as one function with two thirds of the arithmetic.

Nothing of the MLP's output y (N, D) is used but its product with the score's vector w, behind a dropout that keeps
the elements k (N, D) and scales them by c:

    s_n = sum_d w_d c k_nd y_nd,    y = W h + b,    h = gelu(u)  (N, H)

Summed over d before h it is s_n = z_n . h_n + (c k_n * w) . b with z = (c k * w) W, again one matrix product. But z
is also the derivative of s_n by h_n, so the backward pass needs no product for that, and those of W and w are both
read from A = (g c k)^T h (D, H), where g_n is the gradient of s_n:

    dW = w * A,    dw = rowsum(W * A) + b * colsum(g c k),    db = w * colsum(g c k)

Without dropout all z_n are one vector, and there is no matrix product at all.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def scored_mlp(hidden: Tensor, last: nn.Linear, score: nn.Linear, keep: Tensor | None, drop_rate: float) -> Tensor:
    """What an MLP contributes to a score behind its dropout, without the score's bias.

    Args:
        hidden: (B, N, H) before the activation, an exact GELU.
        last: The MLP's second layer, H to D.
        score: From D to 1.
        keep: (B, N, D) bool, what the dropout lets through; None: there is none.
        drop_rate: Its rate.

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
        # Cast here and not by autocast: on torch 2.6 its cache would keep copies without a gradient of what is read
        # here, and hand them to the next layer that reads the same weight, as the score does.
        matrix, offset = weight.to(dtype), bias.to(dtype)
        if keep is None:
            vector = score.to(dtype)
            slope, constant = (vector @ matrix).expand_as(hidden), vector @ offset
        else:
            scaled = keep * (score[0] * scale).to(dtype)
            slope, constant = scaled @ matrix, scaled @ offset
        product = slope * activated
        result = product.sum(dim=-1, dtype=torch.promote_types(dtype, torch.float32)) + constant
        # From here on the product is scratch: the derivative by what came before the activation takes its place.
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
