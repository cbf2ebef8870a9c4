"""The adaptive sampler: a small network that learns which tokens to keep visible."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from adamae.checks import check_choice, check_rate
from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.block import Block, Mlp, initialise_xavier
from adamae.layers.plain_modules import is_plain
from adamae.layers.recomputation import recomputed
from adamae.precision import at_least_float32
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler, checked_count, draw_gumbel
from adamae.samplers.scored_mlp import scored_mlp
from adamae.selection import count_visible

Network = Literal["mha", "mlp"]
SAMPLER_HEADS = 8
# In the official code only the sampler uses PyTorch's default LayerNorm epsilon.
SAMPLER_NORM_EPS = 1e-5


class AdaptiveSampler(Sampler):
    """P = softmax(Linear(network(tokens + position))), and V tokens drawn from it without replacement.

    Args:
        mask_ratio: Fraction of tokens to mask.
        num_tokens: N, the number of learned position embeddings.
        embed_dim: Width of the tokens.
        network: "mha" is a transformer block (the paper's choice), "mlp" a token-wise MLP.
        depth: Blocks of the network.
        dim: Width of the network; None: that of the tokens. Another width adds a projection.
        drop_rate: Dropout after the attention's projection and after the MLP; 0.1 in the official code.
        mlp_ratio: Hidden width of a block's MLP over its width.
        detach: Stop the gradient of the sampling loss before the tokenizer, as in the paper but not in its code.

    Raises:
        UserError: If the network is unknown, a number is out of range, or the width is less than the number of heads.
    """

    learns = True
    published_names = (
        ("position", "pos_embed_probs"),
        ("network.", "get_token_probs."),
        ("reduce.", "reduce_token_probs."),
    )

    def __init__(
        self,
        mask_ratio: float,
        num_tokens: int,
        embed_dim: int,
        *,
        network: Network = "mha",
        depth: int = 1,
        dim: int | None = None,
        drop_rate: float = 0.1,
        mlp_ratio: float = 4.0,
        detach: bool = True,
    ) -> None:
        super().__init__(mask_ratio)
        check_choice("sampler_network", network, get_args(Network))
        check_rate("sampler_drop_rate", drop_rate)
        dim = dim or embed_dim
        if network == "mha" and dim < SAMPLER_HEADS:
            raise UserError(f"sampler_dim {dim}: expected at least {SAMPLER_HEADS}, one for each attention head")
        if depth < 0:
            raise UserError(f"sampler_depth = {depth}: expected at least 0")
        self.teaches_tokenizer = not detach
        self.position = nn.Parameter(torch.zeros(1, num_tokens, embed_dim))
        self.reduce = nn.Linear(embed_dim, dim) if dim != embed_dim else nn.Identity()
        if network == "mha":
            layers: list[nn.Module] = [
                Block(
                    dim,
                    SAMPLER_HEADS,
                    mlp_ratio=mlp_ratio,
                    qkv_bias=False,
                    drop_rate=drop_rate,
                    norm_eps=SAMPLER_NORM_EPS,
                )
                for _ in range(depth)
            ]
        else:
            layers = [nn.Sequential(nn.Linear(dim, dim), nn.GELU()) for _ in range(depth)]
        self.network = nn.ModuleList([*layers, nn.Linear(dim, 1)])
        self.apply(initialise_xavier)

    @classmethod
    def build(  # type: ignore[override]
        cls,
        mask_ratio: float,
        grid: TokenGrid,
        embed_dim: int,
        *,
        sampler_network: Network = "mha",
        sampler_depth: int = 1,
        sampler_dim: int | None = None,
        sampler_drop_rate: float = 0.1,
        sampler_mlp_ratio: float = 4.0,
        detach_sampler_input: bool = True,
    ) -> AdaptiveSampler:
        """Build the sampler from a model's keywords; see the class for their meaning."""
        return cls(
            mask_ratio,
            grid.num_tokens,
            embed_dim,
            network=sampler_network,
            depth=sampler_depth,
            dim=sampler_dim,
            drop_rate=sampler_drop_rate,
            mlp_ratio=sampler_mlp_ratio,
            detach=detach_sampler_input,
        )

    def check_fits(self, grid: TokenGrid, embed_dim: int) -> None:
        """See :meth:`~adamae.samplers.sampler.Sampler.check_fits`."""
        super().check_fits(grid, embed_dim)
        self.check_shape(grid, embed_dim)

    def check_shape(self, grid: TokenGrid, embed_dim: int) -> None:
        """Raise a UserError unless it takes tokens (B, N, D) of ``grid`` of width ``embed_dim``."""
        own = tuple(self.position.shape[1:])
        if own != (grid.num_tokens, embed_dim):
            raise UserError(
                f"the sampler takes {own[0]} tokens of width {own[1]}: expected the encoder's, {grid.num_tokens} of "
                f"width {embed_dim}"
            )

    def num_visible(self, grid: TokenGrid) -> int:
        """V = int(N * (1 - ratio)): 78 of 1568 at a ratio of 0.95."""
        total = grid.num_tokens
        return checked_count(count_visible(total, self.mask_ratio), total, "tokens", self.mask_ratio)

    def log_probs(self, tokens: Tensor, noise: SampleNoise) -> Tensor:
        """(B, N) log-probabilities, at least float32."""
        return self.logits(tokens, noise).log_softmax(dim=1)

    def logits(self, tokens: Tensor, noise: SampleNoise) -> Tensor:
        """(B, N) logits of the network, at least float32."""
        logits = recomputed(self.recompute, self._logits, tokens, noise)
        return logits.to(at_least_float32(logits.dtype))

    def _logits(self, tokens: Tensor, noise: SampleNoise) -> Tensor:
        # Add positions in the tokens' dtype, as the encoder does: half of the memory traffic in half precision.
        x = self.reduce((tokens if self.teaches_tokenizer else tokens.detach()) + self.position.to(tokens.dtype))
        *layers, score = self.network
        for number, layer in enumerate(layers):
            if self.training and layer is layers[-1] and _fusible(layer, score):
                return _scored(layer, score, x, noise.fold_in(number))
            x = layer(x, noise.fold_in(number)) if isinstance(layer, Block) else layer(x)
        return score(x).squeeze(-1)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices drawn one after another without replacement.

        The V largest of log p + Gumbel noise have exactly that distribution, in one pass.
        """
        assert log_probs is not None
        keys = log_probs.detach() + draw_gumbel(noise, grid.num_tokens)
        return keys.topk(self.num_visible(grid), dim=1, sorted=False).indices


def _fusible(block: nn.Module, score: nn.Module) -> bool:
    """Whether :func:`_scored` does what calls of all modules would do."""
    return (
        isinstance(block, Block)
        and is_plain(block, Block)
        and is_plain(block.mlp, Mlp)
        and is_plain(block.mlp.fc2, nn.Linear)
        and is_plain(score, nn.Linear)
    )


def _scored(block: nn.Module, score: nn.Module, x: Tensor, noise: SampleNoise) -> Tensor:
    """(B, N) ``score(block(x, noise))`` without computing the block's output."""
    assert isinstance(block, Block) and isinstance(score, nn.Linear)
    x = block.attended(x, noise)
    hidden = block.mlp.hidden(x, block.norm2)
    contribution = scored_mlp(hidden, block.mlp.fc2, score, block.kept(x, noise), block.drop_rate)
    logits: Tensor = score(x).squeeze(-1) + contribution
    return logits
