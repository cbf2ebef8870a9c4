"""The multi-scale crop against its definition, the random resized crop and the resize against other libraries."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from adamae import torchvision_import  # noqa: F401  (torchvision may need repair)
from adamae.data.augmentation import (
    Box,
    MultiScaleCrop,
    RandomResizedCrop,
    ResizeMode,
    Transform,
    crop,
    resize,
    resize_mask,
)
from adamae.errors import UserError

# isort: split
from torchvision.transforms import RandomResizedCrop as TorchvisionCrop


def cropped(
    transform: Transform, clip: np.ndarray, moving: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    plan = transform.plan(*clip.shape[1:3], rng)
    return plan.finish(crop(clip, plan.box)), plan.cut_mask(moving)


def test_boxes_have_the_stated_sizes_and_places(rng: np.random.Generator) -> None:
    height, width = 256, 340
    transform = MultiScaleCrop(224, 224)
    boxes = [transform.choose(height, width, rng) for _ in range(6000)]
    scaled = [256, 224, 192, 168]
    sizes = Counter((box.height, box.width) for box in boxes)
    assert set(sizes) == {(a, b) for i, a in enumerate(scaled) for j, b in enumerate(scaled) if abs(i - j) <= 1}
    assert min(sizes.values()) > 400  # ten pairs, 600 of each expected
    places = Counter((box.top, box.left) for box in boxes if (box.height, box.width) == (168, 168))
    down, right = (256 - 168) // 4, (340 - 168) // 4
    steps = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (0, 2), (2, 0), (4, 2), (2, 4), (1, 1), (1, 3), (3, 1), (3, 3)]
    assert set(places) == {(y * down, x * right) for y, x in steps}


def test_sizes_near_the_target_become_the_target(rng: np.random.Generator) -> None:
    sizes = {MultiScaleCrop(226, 222).choose(256, 340, rng).height for _ in range(200)}
    assert sizes == {256, 226, 192, 168}
    # Never beyond the frame, even if the target is a little larger than it.
    boxes = [MultiScaleCrop(50, 50).choose(48, 64, rng) for _ in range(200)]
    assert all(box.top + box.height <= 48 and box.left + box.width <= 64 for box in boxes)


def test_any_frame_size_gives_the_target_size(rng: np.random.Generator) -> None:
    for height, width in ((1, 1), (3, 200), (17, 5), (64, 48)):
        clip = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        moving = rng.integers(0, 2, (2, height, width)).astype(bool)
        got, mask = cropped(MultiScaleCrop(32, 40), clip, moving, rng)
        assert got.shape == (2, 32, 40, 3)
        assert got.dtype == np.uint8
        assert mask.shape == (2, 32, 40)
        assert mask.dtype == bool


@pytest.mark.parametrize(("mode", "most"), [("bilinear", 1), ("bicubic", 2)])
def test_resize_is_pillows_but_for_rounding(rng: np.random.Generator, mode: ResizeMode, most: int) -> None:
    """Both round to bytes after rows and after columns; where the first differ by 1, bicubic weights can make it 2."""
    for size in ((60, 80), (30, 20), (48, 48)):
        clip = rng.integers(0, 256, (2, 45, 70, 3), dtype=np.uint8)
        got = resize(clip, *size, mode)
        for frame, original in zip(got, clip, strict=True):
            expected = np.asarray(Image.fromarray(original).resize(size[::-1], Image.Resampling[mode.upper()]))
            difference = np.abs(frame.astype(int) - expected)
            assert difference.max() <= most
            assert (difference > 0).mean() < 0.02


@pytest.mark.parametrize(("height", "width"), [(375, 500), (60, 400)])
def test_random_resized_crops_are_those_of_torchvision(rng: np.random.Generator, height: int, width: int) -> None:
    """The same shares of boxes by area, ratio and place, also where few boxes fit and the middle is taken."""
    torch.manual_seed(int(rng.integers(2**31)))
    ours = RandomResizedCrop(256, (0.2, 1.0))
    boxes = [ours.choose(height, width, rng) for _ in range(4000)]
    image = torch.empty(3, height, width)
    theirs = [TorchvisionCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]

    def facts(found: np.ndarray) -> list[np.ndarray]:
        top, left, tall, wide = found.T
        free = [(top + 1) / (height - tall + 1), (left + 1) / (width - wide + 1)]
        return [tall * wide / (height * width), wide / tall, *free]

    got, expected = (
        facts(np.array(found)) for found in ([(box.top, box.left, box.height, box.width) for box in boxes], theirs)
    )
    for one, other in zip(got, expected, strict=True):
        # Two-sample Kolmogorov-Smirnov distance; 0.05 has a probability below 1e-4 for equal distributions.
        places = np.concatenate([one, other])
        shares = [np.searchsorted(np.sort(each), places, side="right") / len(each) for each in (one, other)]
        assert np.abs(shares[0] - shares[1]).max() < 0.06


def test_the_recipe_of_images(rng: np.random.Generator) -> None:
    """RandomResizedCrop(0.2, 1), bicubic, flip: each clip is its box, resized by Pillow, half of them mirrored."""
    transform = RandomResizedCrop(64, (0.2, 1.0), flip=True, mode="bicubic")
    # Without the extremes, at which what is between the passes is clipped.
    knots = Image.fromarray(rng.integers(40, 216, (30, 40, 3), dtype=np.uint8))
    clip = np.asarray(knots.resize((120, 90), Image.Resampling.BILINEAR))[None]
    mirrored = 0
    for _ in range(60):
        plan = transform.plan(90, 120, rng)
        got = plan.finish(crop(clip, plan.box))[0].astype(int)
        part = crop(clip, plan.box)[0].astype(np.float32)
        # In floating point: each library rounds between its two passes, and in another order.
        channels = [
            Image.fromarray(channel).resize((64, 64), Image.Resampling.BICUBIC) for channel in part.transpose(2, 0, 1)
        ]
        expected = np.clip(np.round(np.stack(channels, axis=-1)), 0, 255)
        assert np.abs(got - (expected[:, ::-1] if plan.mirrored else expected)).max() <= 1
        mirrored += plan.mirrored
    assert 10 < mirrored < 50
    with pytest.raises(UserError, match=r"--crop_scale 0\.5 0\.2: expected two fractions in ascending order"):
        RandomResizedCrop(64, (0.5, 0.2))


def test_mask_and_clip_are_cut_alike(rng: np.random.Generator) -> None:
    """A clip that shows its own mask still shows it after every crop, but for soft edges."""
    blobs = np.kron(rng.integers(0, 2, (1, 6, 8)), np.ones((3, 16, 16))).astype(bool)
    clip = np.repeat(blobs[..., None] * np.uint8(255), 3, axis=-1)
    for _ in range(20):
        for transform in (MultiScaleCrop(56, 56, flip=True), RandomResizedCrop(56, (0.5, 1.0), flip=True)):
            got, mask = cropped(transform, clip, blobs, rng)
            assert ((got[..., 0] > 127) == mask).mean() > 0.95


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    mask = np.array([[[True, False, False, True]]])
    assert resize_mask(mask, 1, 2).tolist() == [[[False, True]]]
    assert resize_mask(mask, 2, 8)[0, 1].tolist() == [True, True, False, False, False, False, True, True]


def test_all_frames_share_the_crop_and_flips_are_off_unless_asked_for() -> None:
    frame = np.arange(48 * 64 * 3, dtype=np.uint64).astype(np.uint8).reshape(48, 64, 3)
    clip = np.stack([frame] * 4)
    mirrored = 0
    for seed in range(40):
        plain, _ = cropped(MultiScaleCrop(40, 40), clip, clip[..., 0] > 0, np.random.default_rng(seed))
        assert (plain == plain[:1]).all()
        box = MultiScaleCrop(40, 40).choose(48, 64, np.random.default_rng(seed))
        assert np.array_equal(plain, resize(crop(clip, box), 40, 40))
        flipped, _ = cropped(MultiScaleCrop(40, 40, flip=True), clip, clip[..., 0] > 0, np.random.default_rng(seed))
        assert np.array_equal(flipped, plain) or np.array_equal(flipped, plain[:, :, ::-1])
        mirrored += not np.array_equal(flipped, plain)
    assert 8 < mirrored < 32


def test_crop_is_a_view() -> None:
    clip = np.zeros((2, 8, 9, 3), np.uint8)
    assert crop(clip, Box(1, 2, 3, 4)).shape == (2, 3, 4, 3)
    assert crop(clip, Box(1, 2, 3, 4)).base is clip
