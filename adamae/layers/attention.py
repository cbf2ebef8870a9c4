"""Multi-head self-attention, and the choice of its kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamae.layers.chunked_attention import chunked_attention
from adamae.layers.half_precision import half_on_cpu
from adamae.layers.recomputing_linear import biased_linear, norm_linear

# In half precision on a CPU, plain matrix products are faster than the fused kernel's backward up to this many keys.
_FEW_KEYS_ON_CPU = 256


def attend(query: Tensor, key: Tensor, value: Tensor, drop_rate: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v.

    Args:
        query: (B, heads, Q, head_dim).
        key: (B, heads, K, head_dim).
        value: (B, heads, K, head_dim).
        drop_rate: Dropout on the attention weights, drawn from torch's generator.

    Returns:
        (B, heads, Q, head_dim).
    """
    if half_on_cpu(query) and key.shape[2] <= _FEW_KEYS_ON_CPU:
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        return F.dropout(weights.softmax(dim=-1), drop_rate) @ value
    if half_on_cpu(query) and query.dtype == torch.bfloat16 and not drop_rate and not torch.compiler.is_compiling():
        return chunked_attention(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, dropout_p=drop_rate)


class Attention(nn.Module):
    """Self-attention in the layout of the published checkpoints.

    One matrix holds queries, keys and values; queries and values may have a bias, keys only with ``key_bias``.

    Args:
        dim: Width D of the tokens.
        num_heads: Number of heads of width ``dim // num_heads``; a remainder is dropped, as in the official code.
        qkv_bias: Whether queries and values have a bias.
        drop_rate: Dropout on the attention weights.
        key_bias: Whether queries, keys and values share one bias parameter, as in timm's blocks; ``qkv_bias`` then has
            no effect.
    """

    def __init__(
        self, dim: int, num_heads: int, qkv_bias: bool = True, drop_rate: float = 0.0, key_bias: bool = False
    ) -> None:
        super().__init__()
        qkv_bias = qkv_bias and not key_bias
        self.num_heads = num_heads
        inner = dim // num_heads * num_heads
        self.qkv = nn.Linear(dim, 3 * inner, bias=key_bias)
        self.q_bias = nn.Parameter(torch.zeros(inner)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(inner)) if qkv_bias else None
        self.proj = nn.Linear(inner, dim)
        self.drop_rate = drop_rate

    def forward(self, x: Tensor, norm: nn.Module | None = None, skip: int = 0) -> Tensor:
        """Attend from every token but the first ``skip`` to every token.

        Args:
            x: (B, N, D).
            norm: Applied to ``x`` first. Its output is recomputed in the backward pass instead of stored.
            skip: Number of leading tokens without a query.

        Returns:
            (B, N - skip, D).
        """
        bias: Tensor | None = None
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = biased_linear(x, self.qkv, bias) if norm is None else norm_linear(x, norm, self.qkv, bias)
        # Chunk along the last axis: the gradients of the three are then concatenated in one copy.
        query, key, value = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=2))
        out = attend(query[:, :, skip:], key, value, self.drop_rate if self.training else 0.0)
        return self.proj(out.transpose(1, 2).flatten(2))
