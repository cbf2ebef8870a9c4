"""Noise depends on the sample alone, and looks like noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from adamae import randomness
from adamae.randomness import SampleNoise, epoch_permutation, sample_generator, sample_seed


def test_noise_of_a_clip_is_the_same_alone_and_in_a_batch() -> None:
    together = SampleNoise(torch.tensor([7, 8, 9]))
    alone = SampleNoise(torch.tensor([8]))
    assert torch.equal(together.fold_in(3).uniform(5, 4)[1:2], alone.fold_in(3).uniform(5, 4))
    assert torch.equal(together.keep(0.3, 6, 11)[1:2], alone.keep(0.3, 6, 11))


def hashed(values: np.ndarray) -> np.ndarray:
    """The integer hash in numpy's unsigned arithmetic."""
    values = values ^ values >> np.uint32(16)
    values = values * np.uint32(0x21F0AAAD)
    values = values ^ values >> np.uint32(15)
    values = values * np.uint32(0x735A2D97)
    return values ^ values >> np.uint32(15)


def test_noise_is_a_hash_of_seed_path_and_position(rng: np.random.Generator) -> None:
    golden = 0x9E3779B9
    seeds = rng.integers(2**31 - 1, size=5)
    keys = hashed((seeds.astype(np.uint32) + np.uint32(1)) * np.uint32(golden))
    for number in (3, 0, 7):
        keys = hashed(keys + np.uint32(golden * (number + 1) % 2**32))
    noise = SampleNoise(torch.from_numpy(seeds)).fold_in(3).fold_in(0).fold_in(7)
    for size in (1, 6):
        bits = hashed(keys[:, None] + np.uint32(golden) * np.arange(1, size + 1, dtype=np.uint32))
        expected = ((bits >> np.uint32(9)).astype(np.float64) + 0.5) / 2**23
        assert np.array_equal(noise.uniform(size).numpy(), expected.astype(np.float32))


def test_what_nobody_draws_from_is_never_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = []
    mix = randomness._mix
    monkeypatch.setattr(randomness, "_mix", lambda x: mixed.append(x.shape) or mix(x))
    noise = SampleNoise(torch.arange(4))
    layers = [noise.fold_in(number) for number in range(12)]
    assert len(mixed) == 1
    layers[3].uniform(2)
    layers[3].uniform(2)
    # The layer's own key once, and the values of both draws.
    assert len(mixed) == 1 + 1 + 2


def test_children_and_seeds_differ() -> None:
    noise = SampleNoise(torch.arange(4))
    values = torch.cat([noise.fold_in(number).uniform(8) for number in range(4)])
    assert len(values.flatten().unique()) == values.numel()


def test_uniform_noise_is_uniform_and_uncorrelated() -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0]) % 2**30
    print("seed", seed)
    values = SampleNoise(seed + torch.arange(20_000)).uniform(40)
    assert values.min() > 0 and values.max() < 1
    histogram = torch.histc(values, 50, 0, 1) / values.numel() * 50
    # 800,000 values, 16,000 in a cell: one deviation is 0.8 %.
    assert (histogram - 1).abs().max() < 0.04
    correlation = torch.corrcoef(values.T) - torch.eye(40)
    assert correlation.abs().max() < 6 / 20_000**0.5
    across_clips = torch.corrcoef(values[:40]) - torch.eye(40)
    assert across_clips.abs().max() < 6 / 40**0.5


def test_keep_drops_at_its_rate() -> None:
    kept = SampleNoise(torch.arange(50)).keep(0.1, 100, 63)
    assert kept.shape == (50, 100, 63)
    assert abs(1 - kept.float().mean() - 0.1) < 5 * (0.09 / kept.numel()) ** 0.5
    by_column = 1 - kept.float().mean(dim=(0, 1))
    assert (by_column - 0.1).abs().max() < 6 * (0.09 / 5000) ** 0.5


def test_sample_keys_name_one_stream_each() -> None:
    keys = [(1, 0, 0, 0), (1, 0, 0, 1), (1, 0, 1, 0), (1, 1, 0, 0), (2, 0, 0, 0)]
    assert len({sample_generator(*key).integers(2**62) for key in keys}) == len(keys)
    assert len({sample_seed(*key) for key in keys}) == len(keys)
    assert sample_generator(1, 2, 3).random() == sample_generator(1, 2, 3).random()


def test_permutations_visit_everything_in_another_order_each_epoch() -> None:
    first, second = epoch_permutation(0, 0, 100), epoch_permutation(0, 1, 100)
    assert sorted(first) == sorted(second) == list(range(100))
    assert not np.array_equal(first, second)


def test_a_compiled_step_copies_the_seeds_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    waits: list[bool] = []

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if operation is torch.ops.aten._to_copy.default and "device" in kwargs:
                waits.append(not kwargs.get("non_blocking", False))
            return operation(*args, **(kwargs or {}))

    with Copies():
        SampleNoise(torch.arange(4), torch.device("meta")).fold_in(1).uniform(3)
    assert waits == [False]
