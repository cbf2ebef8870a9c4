"""The transformer block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adamae.checks import check_rate
from adamae.errors import UserError
from adamae.layers.attention import Attention
from adamae.layers.dropping import drop_path, drop_path_rates, dropout
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.recomputation import recomputed
from adamae.layers.recomputing_linear import gelu_linear, norm_linear
from adamae.randomness import SampleNoise

# The number folded into a block's noise for this dropout, see Block._branch.
_DROPOUT_OF_MLP = 2


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """(..., D) to (..., D); ``norm`` is applied first, as in :meth:`Attention.forward`."""
        return gelu_linear(self.hidden(x, norm), self.fc2)

    def hidden(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Return the input of the GELU, (..., hidden)."""
        return self.fc1(x) if norm is None else norm_linear(x, norm, self.fc1)


class Block(nn.Module):
    """Pre-norm block: x + drop(g1 * attention(norm(x))), then x + drop(g2 * mlp(norm(x))).

    Args:
        dim: Width D of the tokens.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D.
        qkv_bias: Whether queries and values have a bias.
        init_values: Initial value of LayerScale's g1 and g2; 0 or None: no LayerScale.
        drop_rate: Dropout after the attention's projection and after the MLP.
        attn_drop_rate: Dropout on the attention weights.
        drop_path_rate: Probability that a clip skips a branch.
        norm_eps: Epsilon of both LayerNorms.
        key_bias: See :class:`~adamae.layers.attention.Attention`.

    Raises:
        UserError: If a rate is not in [0, 1).

    Attributes:
        recompute: Store only the input for the backward pass and recompute the rest.
    """

    recompute = False

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        init_values: float | None = 0.0,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_eps: float = 1e-6,
        key_bias: bool = False,
    ) -> None:
        super().__init__()
        check_rate("drop_rate", drop_rate)
        check_rate("attn_drop_rate", attn_drop_rate)
        check_rate("drop_path_rate", drop_path_rate)
        self.norm1 = LayerNorm(dim, norm_eps)
        self.attn = Attention(dim, num_heads, qkv_bias, attn_drop_rate, key_bias)
        self.norm2 = LayerNorm(dim, norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        scaled = bool(init_values and init_values > 0)
        self.gamma_1 = nn.Parameter(torch.full((dim,), float(init_values or 0))) if scaled else None
        self.gamma_2 = nn.Parameter(torch.full((dim,), float(init_values or 0))) if scaled else None
        self.drop_rate = drop_rate
        self.drop_path_rate = drop_path_rate

    def forward(self, x: Tensor, noise: SampleNoise, skip: int = 0) -> Tensor:
        """(B, N, D) to (B, N - skip, D).

        Args:
            x: Tokens.
            noise: Noise for dropout and stochastic depth in training.
            skip: Number of leading tokens that are attended to but have no output.
        """
        return recomputed(self.recompute, self._forward, x, noise, skip, draws=self.attn.drop_rate > 0)

    def _forward(self, x: Tensor, noise: SampleNoise, skip: int) -> Tensor:
        x = self.attended(x, noise, skip)
        return x + self._branch(self.mlp(x, self.norm2), self.gamma_2, noise, 1)

    def attended(self, x: Tensor, noise: SampleNoise, skip: int = 0) -> Tensor:
        """Apply the attention branch, the first half of :meth:`forward`."""
        return x[:, skip:] + self._branch(self.attn(x, self.norm1, skip), self.gamma_1, noise, 0)

    def kept(self, x: Tensor, noise: SampleNoise) -> Tensor | None:
        """(B, N, D) bool, the elements that the MLP's dropout keeps; None without dropout."""
        if not (self.training and self.drop_rate > 0):
            return None
        return noise.fold_in(_DROPOUT_OF_MLP).keep(self.drop_rate, *x.shape[1:])

    def _branch(self, x: Tensor, gamma: Tensor | None, noise: SampleNoise, number: int) -> Tensor:
        if self.training and self.drop_rate > 0:
            x = dropout(x, self.drop_rate, noise.fold_in(2 * number))
        if gamma is not None:
            x = gamma * x
        if self.training and self.drop_path_rate > 0:
            x = drop_path(x, self.drop_path_rate, noise.fold_in(2 * number + 1))
        return x


def stack(depth: int, dim: int, num_heads: int, *, drop_path_rate: float = 0.0, **options: object) -> nn.ModuleList:
    """Build ``depth`` blocks whose drop-path rates rise linearly from 0 to ``drop_path_rate``.

    Raises:
        UserError: If ``depth`` is negative, or the rate is not in [0, 1).
    """
    if depth < 0:
        raise UserError(f"depth = {depth}: expected at least 0")
    rates = drop_path_rates(depth, drop_path_rate)
    return nn.ModuleList(Block(dim, num_heads, drop_path_rate=rate, **options) for rate in rates)  # type: ignore[arg-type]


def check_heads(part: str, dim: int, num_heads: int) -> None:
    """Raise a UserError unless ``dim``, the width of ``part``, divides into ``num_heads``."""
    if dim < 1 or num_heads < 1 or dim % num_heads:
        raise UserError(f"{part} width {dim} does not divide into {num_heads} heads")


def recompute_blocks(blocks: nn.ModuleList, active: bool) -> None:
    """Set :attr:`Block.recompute` of a :func:`stack`."""
    for block in blocks:
        assert isinstance(block, Block)
        block.recompute = active


def initialise_xavier(module: nn.Module) -> None:
    """Initialise as in pre-training: Xavier-uniform linear weights, zero biases. Use with ``Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def initialise_normal(module: nn.Module) -> None:
    """Initialise as in fine-tuning and pyramids: truncated normal linear weights of std 0.02, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
