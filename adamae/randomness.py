"""Randomness that depends on (seed, epoch, sample) alone.

What a sample becomes must not depend on the worker that loads it, the rank that trains on it, the size of the
batch it travels in, or what was drawn before it. So nothing here keeps state: numpy generators are keyed by the
sample, and the noise that a model needs on its device is a hash of the sample's seed and a position.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor

# Odd multipliers and shifts of a 32-bit mixer with low avalanche bias (found by exhaustive search in the
# literature on integer hashing), written as signed numbers because torch has no unsigned arithmetic.
_MULTIPLIERS = (0x21F0AAAD, 0x735A2D97)
_SHIFTS = (16, 15, 15)
_GOLDEN = 0x9E3779B9 - (1 << 32)


def sample_generator(seed: int, epoch: int, index: int, attempt: int = 0) -> np.random.Generator:
    """The generator for everything that happens to one sample before it reaches the model.

    Args:
        seed: The run's seed.
        epoch: Zero-based epoch.
        index: Row in the list.
        attempt: How many replacements of damaged files came before.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, index, attempt))))


def sample_seed(seed: int, epoch: int, index: int, repeat: int = 0) -> int:
    """The seed (0 .. 2^31 - 1) that travels with one clip to the model.

    Args:
        seed: The run's seed.
        epoch: Zero-based epoch.
        index: Row in the list.
        repeat: Which of several clips of the same decode.
    """
    words = np.array((seed, epoch, index, repeat), dtype=np.int64).tobytes()
    return zlib.crc32(words) & 0x7FFFFFFF


def epoch_permutation(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """The (num_samples,) int64 order in which an epoch visits the list."""
    return _epoch_generator(seed, epoch).permutation(num_samples)


def windowed_permutation(seed: int, epoch: int, shard: np.ndarray, window: int) -> np.ndarray:
    """An order in which an epoch stays among a few shards at a time.

    Shards are shuffled and taken ``window`` at a time; the samples of a window are shuffled as a whole. With a window
    of all shards every order is equally likely.

    Args:
        seed: The run's seed.
        epoch: Zero-based epoch.
        shard: (n,) number of the shard in which each sample lies.
        window: Shards that are visited together.

    Returns:
        (n,) int64 samples in their order.
    """
    generator = _epoch_generator(seed, epoch)
    numbers, place = np.unique(shard, return_inverse=True)
    window_of = generator.permutation(len(numbers))[place] // window
    shuffled = generator.permutation(len(shard))
    return shuffled[np.argsort(window_of[shuffled], kind="stable")]


def _epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))


def _mix(x: Tensor) -> Tensor:
    """Scramble int32 ``x`` in place, one to one. Products wrap; shifts are made logical by masking the sign away."""
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
    """Uniform noise for a batch in which every clip has a seed of its own.

    Values depend on (clip's seed, path of folded-in numbers, position) only: a clip gets the same noise alone, in a
    larger batch or on another device.

    Seeds on the host are hashed there: of a tree of sources whose values are one number for each clip, a GPU would be
    given hundreds of operations that are done before they are launched. Only noise of more than one number for each
    clip is made on the device, and what nobody draws from is never hashed.

    Args:
        seeds: (B,) integers.
        device: Where the noise is wanted; None: where the seeds lie.
    """

    def __init__(self, seeds: Tensor, device: torch.device | None = None) -> None:
        self._device = seeds.device if device is None else device
        if torch.compiler.is_compiling():
            # There all hashes are one kernel of the device.
            seeds = seeds.to(self._device, non_blocking=True)
        self._origin: tuple[SampleNoise, int] | None = None
        self._known: Tensor | None = _mix((seeds.to(torch.int32) + 1).mul_(_GOLDEN))

    @classmethod
    def fresh(cls, batch: int, device: torch.device | str | None = None) -> SampleNoise:
        """Noise seeded from torch's global generator, for calls that bring no seeds."""
        return cls(torch.randint(2**31 - 1, (batch,), device=device))

    def fold_in(self, number: int) -> SampleNoise:
        """An independent source, for the ``number``-th consumer: a layer or a purpose."""
        folded = object.__new__(SampleNoise)
        folded._device = self._device
        folded._origin, folded._known = (self, number), None
        if torch.compiler.is_compiling():
            # Nothing may change when it is used; the compiler leaves out what nobody uses.
            folded._known = folded._keys()
        return folded

    def _keys(self) -> Tensor:
        """(B,) int32."""
        if self._known is not None:
            return self._known
        assert self._origin is not None
        parent, number = self._origin
        keys = _mix(parent._keys() + _wrap(_GOLDEN * (number + 1)))
        if not torch.compiler.is_compiling():
            self._known = keys
        return keys

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) float32 strictly between 0 and 1, on the centres of 2^23 equal cells."""
        values = (_logical_shift(self._bits(*shape), 9).to(torch.float32) + 0.5) * 2.0**-23
        return values.to(self._device, non_blocking=True)

    def keep(self, drop_rate: float, *shape: int) -> Tensor:
        """(B, *shape) bool, False with probability ``drop_rate`` (to the nearest 2^-16)."""
        *rows, size = shape
        # Half a word decides well enough whether to drop, and halves the cost of the largest noise there is.
        halves = self._bits(*rows, (size + 1) // 2).view(torch.int16)[..., :size]
        kept = halves >= round(drop_rate * 2**16) - 2**15
        return kept.to(self._device, non_blocking=True)

    def _bits(self, *shape: int) -> Tensor:
        """(B, *shape) int32, every value equally likely; of one number for each clip where the seeds lie."""
        keys = self._keys()
        if math.prod(shape) > 1:
            keys = keys.to(self._device, non_blocking=True)
        for size in shape:
            # Rows get keys before columns do, so the work is that of the last axis alone.
            steps = torch.arange(1, size + 1, device=keys.device, dtype=torch.int32).mul_(_GOLDEN)
            keys = _mix(keys.unsqueeze(-1) + steps)
        return keys
