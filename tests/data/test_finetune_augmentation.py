"""Augmentation of fine-tuning clips: one set of random numbers for all frames, in bytes, and the published numbers."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adamae.data.augmentation import draw_box
from adamae.data.finetune_augmentation import FinetuneAugmentation, RandAugment, RandomErasing
from adamae.errors import UserError

POLICY = "rand-m7-n4-mstd0.5-inc1"


def still(rng: np.random.Generator, frames: int = 5) -> np.ndarray:
    """A clip whose frames are all the same picture."""
    picture = rng.integers(256, size=(40, 52, 3), dtype=np.uint8)
    return np.repeat(picture[None], frames, axis=0)


def drawn(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
def test_every_frame_gets_the_same_operations(rng: np.random.Generator, interpolation: Any) -> None:
    augment = RandAugment(POLICY, 32, interpolation)
    clip = still(rng)
    changed = 0
    for seed in range(30):
        result = augment(clip, drawn(seed))
        assert result.shape == clip.shape
        assert result.dtype == np.uint8
        assert (result == result[:1]).all()
        changed += int((result != clip).any())
    assert changed > 20


def test_randaugment_is_timm_s(rng: np.random.Generator) -> None:
    from adamae import torchvision_import  # noqa: F401

    # isort: split
    from timm.data.auto_augment import rand_augment_transform

    clip = still(rng, 1)
    theirs = rand_augment_transform(POLICY, {"translate_const": 14, "interpolation": Image.Resampling.BICUBIC})
    for seed in range(10):
        number = int(drawn(seed).integers(2**31))
        random.seed(number)
        np.random.seed(number)
        expected = np.asarray(theirs(Image.fromarray(clip[0])))
        np.testing.assert_array_equal(RandAugment(POLICY, 32)(clip, drawn(seed))[0], expected)


def test_randaugment_leaves_the_global_generators_alone(rng: np.random.Generator) -> None:
    augment, clip = RandAugment(POLICY, 32), still(rng, 2)
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    first = augment(clip, drawn(3))
    assert (random.random(), np.random.random()) == expected
    np.testing.assert_array_equal(augment(clip, drawn(3)), first)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
def test_randaugment_travels_to_a_spawned_worker(rng: np.random.Generator, interpolation: Any) -> None:
    """Without timm, which imports torchvision: where its operators do not load, that needs the repair first."""
    augment, clip = RandAugment(POLICY, 32, interpolation), still(rng, 1)
    pickled = pickle.dumps(augment)
    assert b"timm" not in pickled
    again = pickle.loads(pickled)
    for seed in range(5):
        np.testing.assert_array_equal(again(clip, drawn(seed)), augment(clip, drawn(seed)))


@pytest.mark.parametrize("policy", ["m7-n4", "rand-x3", "augmix-m3", "none of them"])
def test_a_policy_that_timm_does_not_know(policy: str) -> None:
    with pytest.raises(UserError, match=r"--aa .*: expected none or a RandAugment of timm such as rand-m7"):
        RandAugment(policy, 32)


def test_boxes_of_the_crop_are_uniform_in_area_and_in_log_ratio(rng: np.random.Generator) -> None:
    boxes = [draw_box(400, 400, (0.08, 0.5), (3 / 4, 4 / 3), rng) for _ in range(3000)]
    found = [box for box in boxes if box is not None]
    assert len(found) > 2990
    area = np.array([box.height * box.width for box in found]) / 400**2
    ratio = np.log([box.height / box.width for box in found])
    assert area.min() > 0.078
    assert area.max() < 0.505
    assert np.quantile(area, [0.25, 0.5, 0.75]) == pytest.approx([0.185, 0.29, 0.395], abs=0.02)
    assert np.abs(ratio).max() < np.log(4 / 3) + 0.02
    assert np.quantile(ratio, [0.25, 0.5, 0.75]) == pytest.approx([-0.144, 0, 0.144], abs=0.03)
    assert all(box.top + box.height <= 400 and box.left + box.width <= 400 for box in found)
    assert {box.top for box in found} > set(range(0, 100, 20))


def test_a_frame_that_no_box_fits_is_cut_in_the_middle() -> None:
    clip = np.zeros((2, 10, 100, 3), np.uint8)
    clip[:, :, 43:56] = 200
    result = FinetuneAugmentation(8, scale=(1.0, 1.0), flip=0.0)(clip, drawn(0))
    assert result.shape == (2, 8, 8, 3)
    assert (result == 200).all()


def test_clips_are_resized_without_antialiasing_as_in_the_official_code(rng: np.random.Generator) -> None:
    """Bilinear at a fifth of the size falls on every fifth pixel; images and bicubic are as Pillow resizes them."""
    clip = rng.integers(256, size=(3, 60, 60, 3), dtype=np.uint8)
    whole = FinetuneAugmentation(12, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    np.testing.assert_array_equal(whole(clip, rng), clip[:, 2::5, 2::5])
    resamplings = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    for frames, mode in ((clip[:1], "bilinear"), (clip[:1], "bicubic"), (clip, "bicubic")):
        expected = [np.asarray(Image.fromarray(frame).resize((12, 12), resamplings[mode])) for frame in frames]
        got = replace(whole, mode=mode)(frames, rng)  # type: ignore[arg-type]
        assert np.abs(got.astype(int) - np.stack(expected)).max() <= (2 if mode == "bicubic" else 1)


@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
def test_erased_boxes_are_the_same_in_all_frames(rng: np.random.Generator, mode: Any) -> None:
    clip = np.full((6, 60, 80, 3), 7, np.uint8)
    erased = 0
    for _ in range(60):
        result = RandomErasing(1.0, mode)(clip, rng)
        assert (clip == 7).all()
        touched = (result != 7).any(axis=(0, 3))
        rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
        if not len(rows):
            continue
        erased += 1
        box = result[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (result != 7).any(axis=3).sum() >= 0.95 * box.shape[0] * box.shape[1] * box.shape[2]
        assert 0.015 < box.shape[1] * box.shape[2] / (60 * 80) < 0.35
        if mode == "const":
            assert (box == (124, 116, 104)).all()
        elif mode == "rand":
            assert (box == box[:, :1, :1]).all()
        elif box.size > 6000:
            # Standard noise in ImageNet's units: mean 0.485, deviation 0.229 of the unit range, less what is clipped.
            assert box[..., 0].mean() == pytest.approx(124, abs=12)
            assert 45 < box[..., 0].std() < 62
    assert erased >= 58


@pytest.mark.parametrize("count", [1, 3])
def test_the_boxes_together_are_as_large_as_one(rng: np.random.Generator, count: int) -> None:
    """From a fiftieth to a third of the frame, all alike; less what boxes have in common, or do not fit."""
    clip = np.full((1, 120, 120, 3), 7, np.uint8)
    erase = RandomErasing(1.0, "const", count=count)
    areas = np.array([(erase(clip, rng) != 7).any(axis=3).mean() for _ in range(800)])
    assert areas.max() < 1 / 3 + 0.02
    assert areas.mean() == pytest.approx((1 / 50 + 1 / 3) / 2, abs=0.025)
    assert areas.std() == pytest.approx((1 / 3 - 1 / 50) / (12 * count) ** 0.5, rel=0.25)


def test_the_published_numbers() -> None:
    """Of VideoMAE's data sets for fine-tuning, and of timm's RandomErasing as they call it."""
    augment, erase = FinetuneAugmentation(224), RandomErasing()
    assert (augment.scale, augment.flip) == ((0.08, 1.0), 0.5)
    assert augment.ratio == pytest.approx((0.75, 1.3333), abs=1e-4)
    assert (erase.probability, erase.mode, erase.count) == (0.25, "pixel", 1)
    assert erase.area == pytest.approx((0.02, 1 / 3))
    assert erase.ratio == pytest.approx((0.3, 1 / 0.3))


def test_the_published_order(rng: np.random.Generator) -> None:
    """RandAugment of the whole frames, then the crop, the mirror, and last the erasing."""
    clip, augmented = still(rng), np.zeros((5, 40, 52, 3), np.uint8)
    augmented[:, :, :26] = 200
    seen: list[np.ndarray] = []

    def randaugment(given: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append(given)
        return augmented

    def erasing(given: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append(given)
        return given + 1

    whole = {"scale": (1.0, 1.0), "ratio": (1.3, 1.3), "flip": 1.0}
    parts: dict[str, Any] = {"randaugment": randaugment, "erasing": erasing, **whole}
    result = FinetuneAugmentation(16, **parts)(clip, rng)
    assert len(seen) == 2
    assert np.array_equal(seen[0], clip)
    assert seen[1].shape == (5, 16, 16, 3)
    # Mirrored: what was bright at the left is at the right.
    assert (seen[1][:, :, :7] == 0).all()
    assert (seen[1][:, :, 9:] == 200).all()
    assert np.array_equal(result, seen[1] + 1)


def test_erasing_as_often_as_asked(rng: np.random.Generator) -> None:
    clip = np.full((1, 40, 40, 3), 7, np.uint8)
    erase = RandomErasing(0.25, "const", count=3)
    changed = sum(bool((erase(clip, rng) != 7).any()) for _ in range(2000))
    assert changed / 2000 == pytest.approx(0.25, abs=0.04)
    assert sum(bool((RandomErasing(0.0)(clip, rng) != 7).any()) for _ in range(50)) == 0


def test_half_of_the_clips_are_mirrored_and_nothing_else_changes_with_it(rng: np.random.Generator) -> None:
    clip = np.zeros((2, 32, 32, 3), np.uint8)
    clip[:, :, 16:] = 255
    augment = FinetuneAugmentation(32, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    mirrored = 0
    for seed in range(400):
        result = augment(clip, drawn(seed))
        plain = augment.without_flip()(clip, drawn(seed))
        np.testing.assert_array_equal(plain, clip)
        same = np.array_equal(result, plain)
        assert same or np.array_equal(result, plain[:, :, ::-1])
        mirrored += not same
    assert mirrored / 400 == pytest.approx(0.5, abs=0.1)


def test_never_mirrored_differs_only_in_the_mirror(rng: np.random.Generator) -> None:
    clip = rng.integers(256, size=(3, 40, 52, 3), dtype=np.uint8)
    augment = FinetuneAugmentation(24, RandAugment(POLICY, 24))
    for seed in range(20):
        result = augment(clip, drawn(seed))
        plain = augment.without_flip()(clip, drawn(seed))
        assert np.array_equal(result, plain) or np.array_equal(result, plain[:, :, ::-1])


def test_the_whole_augmentation_keeps_still_clips_still(rng: np.random.Generator) -> None:
    clip = still(rng)
    augment = FinetuneAugmentation(24, RandAugment(POLICY, 24), RandomErasing(1.0, "const"))
    for seed in range(20):
        result = augment(clip, drawn(seed))
        assert result.shape == (5, 24, 24, 3)
        assert result.dtype == np.uint8
        assert (result == result[:1]).all()
