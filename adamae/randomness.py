"""Random numbers that depend only on (seed, epoch, sample).

The random numbers of a sample must not depend on the worker that loads it, the rank that trains on it, the batch size
or earlier draws. So nothing here has state: numpy generators are keyed by the sample, and the noise for a model on its
device is a hash of the sample's seed and a position.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor

# Odd multipliers and shifts of a 32-bit mixer with low avalanche bias (found by exhaustive search in the
# literature on integer hashing), used with signed arithmetic because torch has no unsigned one.
_MULTIPLIERS = (0x21F0AAAD, 0x735A2D97)
_SHIFTS = (16, 15, 15)
_GOLDEN = 0x9E3779B9 - (1 << 32)


def sample_generator(seed: int, epoch: int, index: int, attempt: int = 0) -> np.random.Generator:
    """Return the generator for the loading and augmentation of one sample.

    Args:
        seed: The run's seed.
        epoch: Zero-based epoch.
        index: Row in the list.
        attempt: Number of earlier replacements of damaged files.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, index, attempt))))


def sample_seed(seed: int, epoch: int, index: int, repeat: int = 0) -> int:
    """Return the seed (0 .. 2^31 - 1) that the model gets with one clip.

    Args:
        seed: The run's seed.
        epoch: Zero-based epoch.
        index: Row in the list.
        repeat: Index among several clips of the same decoded video.
    """
    words = np.array((seed, epoch, index, repeat), dtype=np.int64).tobytes()
    return zlib.crc32(words) & 0x7FFFFFFF


def epoch_permutation(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """Return the (num_samples,) int64 order of the list's rows in an epoch."""
    return _epoch_generator(seed, epoch).permutation(num_samples)


def windowed_permutation(seed: int, epoch: int, shard: np.ndarray, window: int) -> np.ndarray:
    """Return an order for an epoch that reads only a few shards at a time.

    Shards are shuffled and grouped into windows of ``window`` shards; the samples of a window are shuffled together.
    With a window of all shards every order is equally likely.

    Args:
        seed: The run's seed.
        epoch: Zero-based epoch.
        shard: (n,) index of the shard that contains each sample.
        window: Number of shards that are read together.

    Returns:
        (n,) int64 indices of the samples in their order.
    """
    generator = _epoch_generator(seed, epoch)
    numbers, place = np.unique(shard, return_inverse=True)
    window_of = generator.permutation(len(numbers))[place] // window
    shuffled = generator.permutation(len(shard))
    return shuffled[np.argsort(window_of[shuffled], kind="stable")]


def _epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))


def _mix(x: Tensor) -> Tensor:
    """Hash int32 ``x`` in place, bijectively. Products wrap; masking the sign bits makes shifts logical."""
    first, second, third = _SHIFTS
    x.bitwise_xor_(_logical_shift(x, first)).mul_(_MULTIPLIERS[0])
    x.bitwise_xor_(_logical_shift(x, second)).mul_(_MULTIPLIERS[1])
    return x.bitwise_xor_(_logical_shift(x, third))


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits).bitwise_and_((1 << (32 - bits)) - 1)


def _wrap(value: int) -> int:
    """``value`` modulo 2^32 as a signed 32-bit number."""
    return (value + 2**31) % 2**32 - 2**31


class SampleNoise:
    """Uniform noise for a batch in which every clip has its own seed.

    Values depend only on (clip's seed, path of folded-in numbers, position): a clip gets the same noise alone, in a
    larger batch or on another device.

    Seeds on the host are hashed on the host. The hashes are one number per clip, and on a GPU the hundreds of tiny
    operations would take longer to launch than to run. Only noise of more than one number per clip is computed on the
    device. Hashes are computed on first use.

    Args:
        seeds: (B,) integers.
        device: Device of the noise; None: that of the seeds.
    """

    def __init__(self, seeds: Tensor, device: torch.device | None = None) -> None:
        self._device = seeds.device if device is None else device
        if torch.compiler.is_compiling():
            # When compiled, all hashes are one kernel on the device.
            seeds = seeds.to(self._device, non_blocking=True)
        self._origin: tuple[SampleNoise, int] | None = None
        self._known: Tensor | None = _mix((seeds.to(torch.int32) + 1).mul_(_GOLDEN))

    @classmethod
    def fresh(cls, batch: int, device: torch.device | str | None = None) -> SampleNoise:
        """Return noise seeded from torch's global generator, for calls without seeds."""
        return cls(torch.randint(2**31 - 1, (batch,), device=device))

    def fold_in(self, number: int) -> SampleNoise:
        """Return an independent noise source for the ``number``-th consumer, such as a layer."""
        folded = object.__new__(SampleNoise)
        folded._device = self._device
        folded._origin, folded._known = (self, number), None
        if torch.compiler.is_compiling():
            # Compiled code must not modify the object on use, so hash now; the compiler removes unused hashes.
            folded._known = folded._keys()
        return folded

    def _keys(self) -> Tensor:
        """(B,) int32 hash keys, cached."""
        if self._known is not None:
            return self._known
        assert self._origin is not None
        parent, number = self._origin
        keys = _mix(parent._keys() + _wrap(_GOLDEN * (number + 1)))
        if not torch.compiler.is_compiling():
            self._known = keys
        return keys

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) float32 strictly between 0 and 1, at the centres of 2^23 equal cells."""
        values = (_logical_shift(self._bits(*shape), 9).to(torch.float32) + 0.5) * 2.0**-23
        return values.to(self._device, non_blocking=True)

    def keep(self, drop_rate: float, *shape: int) -> Tensor:
        """(B, *shape) bool, False with probability ``drop_rate`` (to the nearest 2^-16)."""
        *rows, size = shape
        # 16 bits are precise enough for dropout, and halve the cost of the largest noise.
        halves = self._bits(*rows, (size + 1) // 2).view(torch.int16)[..., :size]
        kept = halves >= round(drop_rate * 2**16) - 2**15
        return kept.to(self._device, non_blocking=True)

    def _bits(self, *shape: int) -> Tensor:
        """(B, *shape) int32 uniform over all values; on the seeds' device if it is one number per clip."""
        keys = self._keys()
        if math.prod(shape) > 1:
            keys = keys.to(self._device, non_blocking=True)
        for size in shape:
            # Hash rows first and then their columns, so the cost is that of the last axis only.
            steps = torch.arange(1, size + 1, device=keys.device, dtype=torch.int32).mul_(_GOLDEN)
            keys = _mix(keys.unsqueeze(-1) + steps)
        return keys
