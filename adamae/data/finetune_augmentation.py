"""Augmentation of fine-tuning clips, in the order of the official code.

RandAugment, random resized crop, horizontal flip and random erasing each draw one set of parameters for all frames of a
clip. Clips stay uint8; mixup and cutmix are applied later, to the batch.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from adamae.checks import check_choice, check_count
from adamae.data.augmentation import RandomResizedCrop, ResizeMode, crop, draw_box, mirror, resize
from adamae.errors import UserError
from adamae.imagenet import IMAGENET_MEAN, IMAGENET_STD

# ImageNet's statistics in uint8 range: the official code erases with noise that is standard normal after normalisation.
_MEAN = 255 * np.array(IMAGENET_MEAN, np.float32)
_STD = 255 * np.array(IMAGENET_STD, np.float32)

Interpolation = Literal["bicubic", "bilinear", "random"]


class RandAugment:
    """timm's RandAugment, with the same operations at the same strengths for all frames of a clip.

    Args:
        policy: Policy string of timm. ``rand-m7-n4-mstd0.5-inc1`` is four operations of magnitude 7 with a standard
            deviation of 0.5, whose severity increases with magnitude.
        size: Side of the final clip in pixels, which scales absolute translations.
        interpolation: Interpolation of the geometric operations; "random" draws bicubic or bilinear.

    Raises:
        UserError: If timm does not understand the policy.
    """

    def __init__(self, policy: str, size: int, interpolation: Interpolation = "bicubic") -> None:
        from adamae import torchvision_import  # noqa: F401  (timm imports torchvision, which may need repair)

        # isort: split
        from timm.data.auto_augment import rand_augment_transform
        from timm.data.transforms import str_to_pil_interp

        self._given = policy, size, interpolation
        settings = {"translate_const": int(0.45 * size)}
        if interpolation != "random":
            settings["interpolation"] = str_to_pil_interp(interpolation)
        try:
            self._augment = rand_augment_transform(policy, settings)
        except (AssertionError, ValueError, KeyError, IndexError) as error:
            raise UserError(
                f"--aa {policy}: expected none or a RandAugment of timm such as rand-m7-n4-mstd0.5-inc1"
            ) from error

    def __reduce__(self) -> tuple[type[RandAugment], tuple[str, int, Interpolation]]:
        # Unpickling timm's transform would import timm in a spawned worker before torchvision is repaired there.
        return RandAugment, self._given

    def __call__(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment a clip (T, H, W, 3) uint8; the result has the same shape."""
        from torchvision.transforms.functional import to_pil_image

        number = int(rng.integers(2**31))
        with _global_generators_kept():
            frames = []
            for frame in clip:
                # timm draws from the global generators; the same seed gives every frame the same operations.
                random.seed(number)
                np.random.seed(number)
                frames.append(np.asarray(self._augment(to_pil_image(frame))))
        return np.stack(frames)


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@dataclass(frozen=True)
class RandomErasing:
    """Random erasing (arXiv 1708.04896) with the same boxes in all frames.

    Args:
        probability: Probability that a clip is erased.
        mode: Fill of a box: noise ("pixel"), a random colour for each frame ("rand"), or the mean ("const").
        count: Number of boxes, among which ``area`` is divided.
        area: Minimum and maximum fraction of the frame area.
        ratio: Minimum and maximum height / width of a box.
    """

    probability: float = 0.25
    mode: Literal["pixel", "rand", "const"] = "pixel"
    count: int = 1
    area: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)

    def __call__(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a clip (T, H, W, 3) uint8 with erased boxes; the input is not modified."""
        if rng.random() >= self.probability:
            return clip
        clip = clip.copy()
        share = self.area[0] / self.count, self.area[1] / self.count
        for _ in range(self.count):
            box = draw_box(clip.shape[1], clip.shape[2], share, self.ratio, rng)
            if box is not None:
                part = crop(clip, box)
                part[:] = self._fill(part.shape, rng)
        return clip

    def _fill(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        if self.mode == "const":
            return np.rint(_MEAN).astype(np.uint8)
        drawn = shape if self.mode == "pixel" else (shape[0], 1, 1, 3)
        return np.rint(np.clip(rng.standard_normal(drawn, np.float32) * _STD + _MEAN, 0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class FinetuneAugmentation:
    """Fine-tuning augmentation of the official code.

    Args:
        size: Height and width of the result in pixels.
        randaugment: RandAugment; None to disable it.
        erasing: Random erasing; None to disable it.
        scale: Minimum and maximum fraction of the frame area in the random resized crop.
        ratio: Minimum and maximum aspect ratio (width / height) of the crop.
        mode: Interpolation mode for resizing the crop. Bilinear resizing of clips of several frames is without
            antialiasing, as in the official code; single frames and "bicubic" have it, as is usual for images.
        flip: Probability of a horizontal flip.

    Raises:
        UserError: If ``scale`` is not an ascending range within (0, 1], ``size`` is below 1 or ``mode`` is unknown.
    """

    size: int
    randaugment: RandAugment | None = None
    erasing: RandomErasing | None = None
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    mode: ResizeMode = "bilinear"
    flip: float = 0.5

    def __post_init__(self) -> None:
        check_count("size", self.size)
        check_choice("mode", self.mode, get_args(ResizeMode))
        # Checks the scale.
        self._crop()

    def _crop(self) -> RandomResizedCrop:
        return RandomResizedCrop(self.size, self.scale, self.ratio, mode=self.mode)

    def __call__(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment frames (T, H, W, 3) uint8 to a clip (T, size, size, 3) uint8."""
        if self.randaugment is not None:
            clip = self.randaugment(clip, rng)
        height, width = clip.shape[1:3]
        box = self._crop().choose(height, width, rng)
        antialias = self.mode == "bicubic" or len(clip) == 1
        clip = resize(crop(clip, box), self.size, self.size, self.mode, antialias=antialias)
        # Drawn even if flip is 0, so that all other random numbers are the same for classes that are never flipped.
        if rng.random() < self.flip:
            clip = mirror(clip)
        return clip if self.erasing is None else self.erasing(clip, rng)

    def without_flip(self) -> FinetuneAugmentation:
        """Return a copy without flips, for classes whose meaning a flip changes."""
        return replace(self, flip=0.0)
