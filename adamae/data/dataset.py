"""Videos as training clips. What a clip becomes depends on (seed, epoch, row) alone."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from adamae.data.annotations import Annotations
from adamae.data.augmentation import MultiScaleCrop, RandomResizedCrop, ResizeMode, Transform
from adamae.data.cutting import read_crops
from adamae.data.decoding import DecodeError, VideoReader
from adamae.data.frame_indices import pretrain_dense, train_segments
from adamae.data.opening import VideoOpener
from adamae.data.watch import QuarantineError, Watch
from adamae.errors import UserError
from adamae.files import read_npz
from adamae.randomness import sample_generator, sample_seed

# After this many unreadable videos in a row the list is at fault, not a video.
_MOST_ATTEMPTS = 16
# One sample: see ClipDataset.__getitem__.
Sample = dict[str, Any]


class ChooseFrames(Protocol):
    """Draws which frames of a video make a clip."""

    def __call__(self, num_frames: int, *, rng: np.random.Generator) -> np.ndarray:
        """(T,) frame numbers within a video of ``num_frames`` frames."""


class ClipDataset(Dataset[Sample]):
    """A map from (epoch, row) to clips; a subclass says how clips are made from one video.

    Args:
        annotations: The videos.
        choose_frames: Which frames make a clip.
        seed: The run's seed.
        num_sample: Clips from each video that is opened, as in repeated augmentation.
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Seconds that one video may take; 0 for any.
    """

    def __init__(
        self,
        annotations: Annotations,
        *,
        choose_frames: ChooseFrames,
        seed: int = 0,
        num_sample: int = 1,
        decoder: str = "pyav",
        video_timeout: float = 60.0,
    ) -> None:
        self.annotations = annotations
        self.choose_frames = choose_frames
        self.seed = seed
        self.num_sample = num_sample
        self.watch = Watch(len(annotations), video_timeout)
        self._open_row = VideoOpener(annotations, decoder)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The clips of one row in one epoch; R is ``num_sample``.

        A video that cannot be read, or is in quarantine, is replaced by another row, drawn from the sample's own
        random numbers.

        Args:
            key: (epoch, row).

        Returns:
            ``clip`` (R, T, H, W, 3) uint8, ``index`` (R,) the row that was read, ``seed`` (R,), ``label`` (R,)
            int64, ``moving`` (R, T, H, W) bool where it is known, and ``bad``, one dict for each replaced video.

        Raises:
            UserError: Sixteen videos in a row cannot be read.
        """
        epoch, index = key
        bad: list[dict[str, Any]] = []
        for attempt in range(_MOST_ATTEMPTS):
            rng = sample_generator(self.seed, epoch, index, attempt)
            row = int(rng.integers(len(self))) if attempt else index
            try:
                with self.watch.over(row, self.annotations.path(row)):
                    clips, moving = self._clips(row, rng)
            except DecodeError as error:
                kind = {"quarantined": True} if isinstance(error, QuarantineError) else {}
                bad.append({"path": error.path, "reason": error.reason, "index": row, **kind})
                continue
            return self._sample(epoch, index, row, clips, moving) | {"bad": bad}
        raise UserError(
            f"{self.annotations.source}: {len(bad)} {self.annotations.noun}s in a row cannot be read, "
            f"the last is {bad[-1]['path']}: {bad[-1]['reason']}"
        )

    def open(self, row: int) -> VideoReader:
        """The reader of a row's video.

        Raises:
            DecodeError: It cannot be read.
        """
        return self._open_row(row)

    @abstractmethod
    def _clips(self, row: int, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The R clips of a row (T, H, W, 3) uint8, and their motion masks (T, H, W) bool where those are known."""

    def _sample(self, epoch: int, index: int, row: int, clips: list[np.ndarray], moving: list[np.ndarray]) -> Sample:
        count = len(clips)
        seeds = [sample_seed(self.seed, epoch, index, repeat) for repeat in range(count)]
        sample = {
            "clip": _stack(clips),
            "index": torch.full((count,), row),
            "seed": torch.tensor(seeds),
            "label": torch.full((count,), int(self.annotations.labels[row])),
        }
        return sample | {"moving": _stack(moving)} if moving else sample


class PretrainDataset(ClipDataset):
    """Clips that are cropped while they are read; see :class:`ClipDataset`.

    Args:
        annotations: The videos.
        choose_frames: Which frames make a clip.
        transform: What happens to their pixels.
        seed: The run's seed.
        num_sample: Clips from each video that is opened.
        moving: Load the motion masks, from ``<stem>.moving.npz`` beside each video.
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Seconds that one video may take; 0 for any.
    """

    def __init__(
        self,
        annotations: Annotations,
        *,
        choose_frames: ChooseFrames,
        transform: Transform,
        seed: int = 0,
        num_sample: int = 1,
        moving: bool = False,
        decoder: str = "pyav",
        video_timeout: float = 60.0,
    ) -> None:
        super().__init__(
            annotations,
            choose_frames=choose_frames,
            seed=seed,
            num_sample=num_sample,
            decoder=decoder,
            video_timeout=video_timeout,
        )
        self.transform = transform
        self.moving = moving

    def _clips(self, row: int, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
        with self.open(row) as reader:
            chosen = [self.choose_frames(reader.num_frames, rng=rng) for _ in range(self.num_sample)]
            plans, parts, size = read_crops(reader, chosen, self.transform, rng)
        clips = [plan.finish(part) for plan, part in zip(plans, parts, strict=True)]
        masks = self._moving(row, chosen, size) if self.moving else []
        return clips, [plan.cut_mask(mask) for plan, mask in zip(plans, masks, strict=bool(masks))]

    def _moving(self, row: int, chosen: list[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
        """What moves in each clip's frames (T, H, W) bool."""
        path, indices = self.annotations.path(row), np.concatenate(chosen)
        masks = read_moving(path, indices)
        if masks.shape != (len(indices), *size):
            raise UserError(f"{moving_path(path)}: shape {masks.shape}, expected {(len(indices), *size)}")
        return np.split(masks, len(chosen))


def pretrain_dataset(
    annotations: Annotations,
    *,
    num_frames: int,
    sampling_rate: int,
    size: int,
    frame_sampling: str = "dense",
    flip: bool = False,
    crop: str = "multi_scale",
    crop_scale: tuple[float, float] = (0.2, 1.0),
    crop_interpolation: ResizeMode = "bilinear",
    seed: int = 0,
    num_sample: int = 1,
    moving: bool | None = None,
    decoder: str = "pyav",
    video_timeout: float = 60.0,
) -> PretrainDataset:
    """Clips for pre-training.

    Args:
        annotations: The videos.
        num_frames: Frames in a clip.
        sampling_rate: Every how-manieth frame is taken ("dense" only).
        size: Height and width of a clip in pixels.
        frame_sampling: "dense" or "segment".
        flip: Mirror half of the clips.
        crop: "multi_scale" or "random_resized".
        crop_scale: Least and largest share of the frame in the crop ("random_resized" only).
        crop_interpolation: Of resizing the crop.
        seed: The run's seed.
        num_sample: Clips from each video that is opened.
        moving: Whether to load motion masks; by default where the first video has one.
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Seconds that one video may take; 0 for any.

    Raises:
        UserError: An unknown ``frame_sampling``, ``crop`` or decoder, or ``crop_scale`` is no range of shares.
    """
    crops: dict[str, Transform] = {
        "multi_scale": MultiScaleCrop(size, size, flip=flip, mode=crop_interpolation),
        "random_resized": RandomResizedCrop(size, crop_scale, flip=flip, mode=crop_interpolation),
    }
    if crop not in crops:
        raise UserError(f"crop is {crop!r}, expected one of {', '.join(crops)}")
    return PretrainDataset(
        annotations,
        choose_frames=frame_chooser(frame_sampling, pretrain_dense, length=num_frames, stride=sampling_rate),
        transform=crops[crop],
        seed=seed,
        num_sample=num_sample,
        moving=has_moving(annotations.path(0)) if moving is None else moving,
        decoder=decoder,
        video_timeout=video_timeout,
    )


def frame_chooser(name: str, dense: Callable[..., np.ndarray], *, length: int, stride: int) -> ChooseFrames:
    """How training draws a clip's frames from a video.

    Args:
        name: "dense" or "segment".
        dense: What "dense" stands for; pre-training and fine-tuning differ in it.
        length: Frames in a clip.
        stride: Every how-manieth frame is taken ("dense" only).

    Raises:
        UserError: An unknown name.
    """
    choices: dict[str, ChooseFrames] = {
        "dense": partial(dense, length=length, stride=stride),
        "segment": partial(train_segments, length=length),
    }
    if name not in choices:
        raise UserError(f"frame sampling is {name!r}, expected one of {', '.join(choices)}")
    return choices[name]


def moving_path(video: str) -> Path:
    """The file of the motion masks of ``video``."""
    return Path(video).with_suffix(".moving.npz")


def has_moving(video: str) -> bool:
    """Whether there are motion masks of ``video``; not where only the video could say that nothing can be read."""
    return os.path.isfile(moving_path(video))  # noqa: PTH113 (pathlib raises errors)


def read_moving(video: str, indices: np.ndarray) -> np.ndarray:
    """What moves in some frames of a video.

    The file holds ``moving``, bits packed along the last axis, and ``shape``, its (T, H, W) before packing.

    Args:
        video: The video's path.
        indices: (T,) frame numbers.

    Returns:
        (T, H, W) bool.

    Raises:
        UserError: There is no such file, or it does not fit the video.
    """
    place = moving_path(video)
    try:
        file = read_npz(place)
        packed, width = file["moving"], int(file["shape"][-1])
        return np.unpackbits(packed[indices], axis=-1, count=width).astype(bool)
    except FileNotFoundError:
        raise UserError(f"{place}: no such file, expected the motion masks of {video}") from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{place}: not the motion masks of {video} ({error})") from None


def _stack(arrays: list[np.ndarray]) -> torch.Tensor:
    """Equal arrays as one (R, ...) tensor, not copied where there is but one."""
    return torch.from_numpy(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))
