"""Attention by plain matrix products over chunks of queries, for bf16 on a CPU.

There the fused kernel is hardly faster in bf16 than in float32, while plain bf16 products are twice as fast as float32
ones. The attention weights of a chunk fit into the cache. They are recomputed in the backward pass, so less is stored
than by the fused kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamae.precision import at_least_float32

# Queries per chunk: with some thousand keys its attention weights fit into the L2 cache.
_QUERIES = 400


def chunked_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v; shapes as in :func:`~adamae.layers.attention.attend`."""
    result: Tensor = _ChunkedAttention.apply(query, key, value)
    return result


class _ChunkedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        out = torch.empty_like(query)
        for q, k, v, into in _heads(query * query.shape[-1] ** -0.5, key, value, out):
            for some, place in zip(_chunks(q), _chunks(into), strict=True):
                place.copy_((some @ k.t()).softmax(dim=-1) @ v)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        scale = query.shape[-1] ** -0.5
        grads = [torch.empty_like(each) for each in (query, key, value)]
        for q, k, v, g, into_q, into_k, into_v in _heads(query * scale, key, value, grad, *grads):
            exact = at_least_float32(k.dtype)
            sum_k, sum_v = (torch.zeros(k.shape, dtype=exact, device=k.device) for _ in range(2))
            for some, g_some, place in zip(_chunks(q), _chunks(g), _chunks(into_q), strict=True):
                weights = (some @ k.t()).softmax(dim=-1)
                sum_v += weights.t() @ g_some
                g_logits = torch._softmax_backward_data(g_some @ v.t(), weights, -1, weights.dtype)
                sum_k += g_logits.t() @ some
                place.copy_(g_logits @ k).mul_(scale)
            into_k.copy_(sum_k)
            into_v.copy_(sum_v)
        return grads[0], grads[1], grads[2]


def _heads(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield (tokens, head_dim) views of all tensors (B, heads, tokens, head_dim) for each head of each clip."""
    for clip, head in product(range(tensors[0].shape[0]), range(tensors[0].shape[1])):
        yield tuple(each[clip, head] for each in tensors)


def _chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """Split rows into chunks of equal size, except the last."""
    return rows.chunk(math.ceil(rows.shape[0] / _QUERIES))
