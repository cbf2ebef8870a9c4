"""The MLP and the score that reads it give the same as one function as they do one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adamae.randomness import SampleNoise
from adamae.samplers.adaptive import AdaptiveSampler
from adamae.samplers.scored_mlp import scored_mlp


@pytest.mark.parametrize("drop_rate", [0.0, 0.3])
@pytest.mark.parametrize("half", [False, True])
def test_scores_and_gradients_are_those_of_the_two_layers(drop_rate: float, half: bool) -> None:
    dtype = torch.float32 if half else torch.float64
    last, score = nn.Linear(20, 6).to(dtype), nn.Linear(6, 1, bias=False).to(dtype)
    hidden = torch.randn(2, 5, 20, dtype=dtype, requires_grad=True)
    keep = torch.rand(2, 5, 6) >= drop_rate if drop_rate else None

    def plain() -> Tensor:
        y = last(nn.functional.gelu(hidden))
        return score(y if keep is None else y * keep / (1 - drop_rate)).squeeze(-1)

    def as_one() -> Tensor:
        given = hidden.bfloat16() if half else hidden
        return scored_mlp(given, last, score, keep, drop_rate)

    # All of one sign, so that no sum is small for its terms, which in half precision would be noise.
    towards = torch.rand(2, 5, dtype=dtype)
    leaves = [hidden, last.weight, last.bias, score.weight]
    found = []
    for way in (as_one, plain):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = way().float() if half else way()
        found.append([out, *torch.autograd.grad((out * towards).sum(), leaves)])
    for got, expected in zip(*found, strict=True):
        # bf16 has eight bits: against the largest value of each tensor.
        scale = expected.detach().abs().max()
        torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=3e-2 if half else 1e-12)


@pytest.mark.parametrize("depth", [1, 2])
def test_training_and_evaluation_agree_where_nothing_is_dropped(depth: int) -> None:
    sampler = AdaptiveSampler(0.5, 10, 16, depth=depth, drop_rate=0.0).double()
    noise, tokens = SampleNoise(torch.arange(2)), torch.randn(2, 10, 16, dtype=torch.float64)
    torch.testing.assert_close(sampler.train().log_probs(tokens, noise), sampler.eval().log_probs(tokens, noise))


def test_the_dropout_is_that_of_the_block() -> None:
    sampler = AdaptiveSampler(0.5, 10, 16, drop_rate=0.4).double().train()
    noise, tokens = SampleNoise(torch.arange(2)), torch.randn(2, 10, 16, dtype=torch.float64)
    block, score = sampler.network
    torch.testing.assert_close(
        sampler.log_probs(tokens, noise), score(block(tokens, noise.fold_in(0))).squeeze(-1).log_softmax(dim=1)
    )


@pytest.mark.parametrize("name", ["network.0", "network.0.mlp", "network.0.mlp.fc2", "network.1"])
def test_hooked_modules_are_called_in_training_and_give_the_same(name: str) -> None:
    sampler = AdaptiveSampler(0.5, 10, 16, drop_rate=0.4).double().train()
    noise, tokens = SampleNoise(torch.arange(2)), torch.randn(2, 10, 16, dtype=torch.float64)
    fused, calls = sampler.log_probs(tokens, noise), []
    sampler.get_submodule(name).register_forward_hook(lambda *_: calls.append(name))
    torch.testing.assert_close(sampler.log_probs(tokens, noise), fused)
    assert calls == [name]
