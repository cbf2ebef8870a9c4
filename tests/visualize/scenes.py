"""VideoClips and models small enough for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from einops import repeat

from adamae.grid import TokenGrid
from adamae.models import Pretrainer, vit_pretrainer
from adamae.visualize.video_clips import VideoClips, split_into_clips


def tiny_model(**options: Any) -> Pretrainer:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"img_size": 16, "patch_size": 8, "num_frames": 4, "mask_ratio": 0.5}
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_embed_dim": 16, f"{part}_depth": 1, f"{part}_num_heads": 2}
    return vit_pretrainer(**{**sizes, **options}).eval()


def on_pixels(values: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """(B, N) one value per token to (B, T, H, W), constant over the token's pixels."""
    sizes = {"t": grid.t, "h": grid.h, "f": grid.tubelet_size, "p": grid.patch_size, "q": grid.patch_size}
    return repeat(values, "b (t h w) -> b (t f) (h p) (w q)", **sizes)


def video_clips(frames: int = 10, size: int = 16, moving: bool = True) -> VideoClips:
    rng = np.random.default_rng(0)
    # Squares of 4 x 4 pixels, which compression does not change.
    squares = rng.integers(0, 256, (frames, size // 4, size // 4, 3), dtype=np.uint8)
    pixels = torch.from_numpy(squares.repeat(4, axis=1).repeat(4, axis=2))
    mask = torch.zeros(frames, size, size, dtype=torch.bool)
    mask[:, : size // 2, : size // 2] = True
    starts = np.union1d(np.arange(0, frames - 3, 4), [frames - 4])
    cut = split_into_clips(starts, frames, 4, 1)
    return VideoClips("scene.mp4", pixels, mask if moving else None, np.arange(frames + 1) / 10, 0, frames, cut)
