"""Weights, clips and visible tokens of the golden numbers, computed by formula (see README.md in this folder)."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

GOLDEN = Path(__file__).parent
WORD = np.uint64(0xFFFFFFFF)
MEAN = np.array((0.485, 0.456, 0.406)).reshape(1, 3, 1, 1, 1)
STD = np.array((0.229, 0.224, 0.225)).reshape(1, 3, 1, 1, 1)


def load(name: str) -> Any:
    """Load a golden JSON file."""
    return json.loads((GOLDEN / name).read_text())


def _scramble(x: np.ndarray) -> np.ndarray:
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & WORD
    return x ^ (x >> np.uint64(16))


def words(key: str, count: int, seed: int = 0) -> np.ndarray:
    """Return (count,) 32-bit words derived from ``key``."""
    index = np.arange(1, count + 1, dtype=np.uint64)
    start = _scramble((index * np.uint64(0x9E3779B1) + np.uint64(seed)) & WORD)
    return _scramble(start ^ np.uint64(zlib.crc32(key.encode())))


def values(key: str, count: int, seed: int = 0) -> np.ndarray:
    """Return (count,) float64 in (-1, 1)."""
    return (words(key, count, seed).astype(np.float64) + 0.5) / 2.0**31 - 1.0


def weight(key: str, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return the float32 value of a state-dict entry."""
    x = values(key, math.prod(shape), seed).reshape(shape)
    last = key.rpartition(".")[2]
    if last == "weight":
        x = x * math.sqrt(3.0 / math.prod(shape[1:])) if len(shape) > 1 else 1.0 + 0.1 * x
    elif last.startswith("gamma"):
        x = 0.5 + 0.1 * x
    else:
        x = (0.1 if last.endswith("bias") else 0.5) * x
    return torch.from_numpy(x.astype(np.float32))


def fill(model: torch.nn.Module, seed: int, scales: dict[str, float] | None = None) -> None:
    """Set the weights of ``model`` by the formula, from the names in its state dict."""
    state = {
        key: weight(key, tuple(value.shape), seed) * (scales or {}).get(key, 1.0)
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)


def video(batch: int, frames: int, size: int, seed: int = 0) -> torch.Tensor:
    """Return a normalised video (B, 3, T, H, W) float32."""
    shape = (batch, 3, frames, size, size)
    b, c, t, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    wave = 0.25 * np.sin(0.13 * y + 0.07 * x + 0.31 * t + 0.9 * c + 1.7 * b + 0.5 * seed)
    raw = 0.5 + wave + 0.2 * values("video", math.prod(shape), seed).reshape(shape)
    return torch.from_numpy(((raw - MEAN) / STD).astype(np.float32))


def visible(batch: int, num_tokens: int, count: int, seed: int = 0) -> torch.Tensor:
    """Return ascending indices (B, count) of the visible tokens."""
    order = [np.argsort(words(f"mask/{b}", num_tokens, seed), kind="stable")[:count] for b in range(batch)]
    return torch.from_numpy(np.sort(np.stack(order), axis=1))
