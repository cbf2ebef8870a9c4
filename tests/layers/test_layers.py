"""Blocks and their parts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from adamae.layers.attention import Attention, attend
from adamae.layers.block import Block, stack
from adamae.layers.chunked_attention import chunked_attention
from adamae.layers.dropping import drop_path, dropout
from adamae.layers.positions import sinusoid_table
from adamae.randomness import SampleNoise

NOISE = SampleNoise(torch.arange(2))


def test_positions_follow_the_formula() -> None:
    table = sinusoid_table(50, 10)[0]
    for i, j in ((0, 0), (7, 4), (49, 9), (13, 1)):
        angle = i / 10000 ** (2 * (j // 2) / 10)
        assert table[i, j] == pytest.approx(math.sin(angle) if j % 2 == 0 else math.cos(angle), abs=1e-7)


def test_attention_is_the_textbook_formula_with_a_zero_key_bias() -> None:
    layer = Attention(12, 3).double()
    torch.nn.init.normal_(layer.q_bias)
    torch.nn.init.normal_(layer.v_bias)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    query, key, value = (x @ layer.qkv.weight.T).chunk(3, dim=-1)
    query, value = query + layer.q_bias, value + layer.v_bias
    heads = []
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        weights = (query[..., part] @ key[..., part].transpose(1, 2) / 2).softmax(-1)
        heads.append(weights @ value[..., part])
    torch.testing.assert_close(layer(x), layer.proj(torch.cat(heads, -1)))


@pytest.mark.parametrize("tokens", [20, 300])
def test_every_way_to_attend_gives_the_same(tokens: int) -> None:
    query, key, value = torch.randn(3, 2, 2, tokens, 8)
    exact = attend(query, key, value)
    half = attend(query.bfloat16(), key.bfloat16(), value.bfloat16()).float()
    torch.testing.assert_close(half, exact, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.bfloat16, 2e-2)], ids=str)
def test_chunks_of_queries_give_output_and_gradients_of_the_whole(dtype: torch.dtype, tolerance: float) -> None:
    # Three chunks, the last one shorter; laid out as behind the layer that makes all three.
    query, key, value = (2 * torch.randn(2, 1000, 3, 2, 8)).permute(2, 0, 3, 1, 4).to(dtype).unbind()
    query = query[:, :, 101:]
    grad = torch.randn(query.shape).to(dtype)

    def results(attention: Callable[..., torch.Tensor], wanted: torch.dtype) -> list[torch.Tensor]:
        leaves = [each.detach().to(wanted).requires_grad_() for each in (query, key, value)]
        out = attention(*leaves)
        return [out, *torch.autograd.grad(out, leaves, grad.to(wanted))]

    for got, expected in zip(results(chunked_attention, dtype), results(attend, torch.float64), strict=True):
        assert (got - expected).norm() < tolerance * expected.norm()


def test_a_block_adds_two_scaled_branches() -> None:
    block = Block(8, 2, init_values=0.5).eval()
    x = torch.randn(2, 4, 8)
    middle = x + block.gamma_1 * block.attn(block.norm1(x))
    torch.testing.assert_close(block(x, NOISE), middle + block.gamma_2 * block.mlp(block.norm2(middle)))


def test_skipped_tokens_are_attended_to_and_go_no_further() -> None:
    block = Block(8, 2).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(block(x, NOISE, 2), block(x, NOISE)[:, 2:])


@pytest.mark.parametrize("init_values", [0, 0.0, None])
def test_no_layer_scale_without_a_start_value(init_values: float | None) -> None:
    assert not [name for name, _ in Block(8, 2, init_values=init_values).named_parameters() if "gamma" in name]


def test_drop_path_rates_rise_linearly() -> None:
    rates = [block.drop_path_rate for block in stack(5, 8, 2, drop_path_rate=0.4)]  # type: ignore[union-attr]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert [block.drop_path_rate for block in stack(1, 8, 2, drop_path_rate=0.4)] == [0]  # type: ignore[union-attr]


def test_dropping_keeps_the_mean_and_whole_clips() -> None:
    noise = SampleNoise(torch.arange(4000))
    x = torch.ones(4000, 3, 2)
    dropped = drop_path(x, 0.25, noise)
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))
    assert abs(dropped.mean() - 1) < 5 * (0.25 / 0.75 / 4000) ** 0.5
    assert abs(dropout(x, 0.25, noise).mean() - 1) < 5 * (0.25 / 0.75 / 24000) ** 0.5


def test_nothing_is_dropped_outside_training() -> None:
    block = Block(8, 2, drop_rate=0.5, drop_path_rate=0.5).eval()
    x = torch.randn(2, 4, 8)
    assert torch.equal(block(x, SampleNoise(torch.arange(2))), block(x, SampleNoise(torch.arange(2) + 9)))
