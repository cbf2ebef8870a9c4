"""What moves in real clips: the camera's pan is not motion, an object on a still or panning background is."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from adamae.data.h264_encoder import encode_h264
from adamae.data.motion_masks import read_motion_masks


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("real_clips")


def scene(rng: np.random.Generator, pan: int) -> np.ndarray:
    """Four frames of a textured wall behind a bright square that moves to the right: (4, 40, 48, 3)."""
    coarse = rng.integers(0, 200, (10, 12, 3), dtype=np.uint8)
    wall = np.kron(coarse, np.ones((4, 4, 1), np.uint8))
    frames = []
    for time in range(4):
        frame = np.roll(wall, pan * time, axis=1)
        frame[10:20, 8 + 6 * time : 18 + 6 * time] = 255
        frames.append(frame)
    return np.stack(frames)


@pytest.mark.parametrize("pan", [0, 3])
def test_only_the_object_moves(script: ModuleType, rng: np.random.Generator, pan: int) -> None:
    frames = scene(rng, pan)
    moving = script.moving_regions(frames)
    assert moving.shape == (4, 40, 48)
    assert np.array_equal(moving[0], moving[1])
    # Where it arrived; above and below nothing but the neighbourhood's width.
    assert moving[1, 11:19, 22:24].all()
    rows = moving[1:].any(axis=(0, 2))
    assert not rows[:8].any() and not rows[22:].any()


def test_a_still_wall_with_noise_does_not_move(script: ModuleType, rng: np.random.Generator) -> None:
    wall = scene(rng, 0)[:1].repeat(3, axis=0)
    noisy = np.clip(wall + rng.normal(0, 4, wall.shape), 0, 255).astype(np.uint8)
    assert script.moving_regions(noisy).mean() < 0.001


def test_masks_are_read_as_those_of_synthetic_videos(
    script: ModuleType, rng: np.random.Generator, tmp_path: Path
) -> None:
    (tmp_path / "class").mkdir()
    video = tmp_path / "class" / "0.mp4"
    video.write_bytes(encode_h264(scene(rng, 0), fps=10, gop=4, crf=1))
    share = script.write_masks(tmp_path)
    moving = read_motion_masks(str(video), np.array([1, 3]))
    assert moving.shape == (2, 40, 48)
    assert 0 < moving.mean() < 0.2
    assert share == pytest.approx(read_motion_masks(str(video), np.arange(4)).mean())
