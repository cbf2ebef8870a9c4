"""Datasets of training clips. A clip depends only on (seed, epoch, row)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, get_args

import numpy as np
import torch
from torch.utils.data import Dataset

from adamae.checks import check_choice, check_count
from adamae.data.annotations import Annotations
from adamae.data.augmentation import MultiScaleCrop, RandomResizedCrop, ResizeMode, Transform
from adamae.data.cutting import read_crops
from adamae.data.decoding import DecodeError, VideoReader
from adamae.data.frame_indices import pretrain_dense, train_segments
from adamae.data.motion_masks import has_motion_masks, motion_mask_path, read_motion_masks
from adamae.data.opening import VideoOpener
from adamae.data.watch import QuarantineError, Watch
from adamae.errors import UserError
from adamae.randomness import sample_generator, sample_seed

# Number of consecutive unreadable videos after which the list is considered at fault.
_MOST_ATTEMPTS = 16
# One sample: see ClipDataset.__getitem__.
Sample = dict[str, Any]


class ChooseFrames(Protocol):
    """Samples the frames of a clip from a video."""

    def __call__(self, num_frames: int, *, rng: np.random.Generator) -> np.ndarray:
        """Return (T,) frame indices into a video of ``num_frames`` frames."""


class ClipDataset(Dataset[Sample]):
    """Map-style dataset from (epoch, row) to clips. Subclasses implement how clips are made from a video.

    :func:`adamae.data.loader.build_loader` makes batches; a plain ``DataLoader`` asks for rows without an epoch.

    Args:
        annotations: The videos.
        choose_frames: Samples the frames of a clip.
        seed: The run's seed.
        num_sample: Number of clips per opened video (repeated augmentation).
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Time limit per video in seconds; 0 for no limit.

    Raises:
        UserError: ``num_sample`` is below 1, or ``decoder`` is unknown.
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
        check_count("num_sample", num_sample)
        self.annotations = annotations
        self.choose_frames = choose_frames
        self.seed = seed
        self.num_sample = num_sample
        self.watch = Watch(len(annotations), video_timeout)
        self._open_row = VideoOpener(annotations, decoder)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Load the clips of one row in one epoch; R is ``num_sample``.

        An unreadable or quarantined video is replaced by another row, drawn with the sample's own generator.

        Args:
            key: (epoch, row).

        Returns:
            ``clip`` (R, T, H, W, 3) uint8, ``index`` (R,) the row that was read, ``seed`` (R,), ``label`` (R,)
            int64, ``motion_mask`` (R, T, H, W) bool if motion masks are loaded, and ``bad``, one dict per replaced
            video.

        Raises:
            UserError: Sixteen consecutive videos cannot be read, or the key is a row without an epoch.
        """
        try:
            epoch, index = key
        except TypeError:
            raise UserError(f"dataset[{key!r}]: expected a key (epoch, row), as build_loader gives them") from None
        bad: list[dict[str, Any]] = []
        for attempt in range(_MOST_ATTEMPTS):
            rng = sample_generator(self.seed, epoch, index, attempt)
            row = int(rng.integers(len(self))) if attempt else index
            try:
                with self.watch.over(row, self.annotations.path(row)):
                    clips, masks = self._clips(row, rng)
            except DecodeError as error:
                kind = {"quarantined": True} if isinstance(error, QuarantineError) else {}
                bad.append({"path": error.path, "reason": error.reason, "index": row, **kind})
                continue
            return self._sample(epoch, index, row, clips, masks) | {"bad": bad}
        raise UserError(
            f"{self.annotations.source}: {len(bad)} {self.annotations.noun}s in a row cannot be read, "
            f"the last is {bad[-1]['path']}: {bad[-1]['reason']}"
        )

    def open(self, row: int) -> VideoReader:
        """Open the video of a row.

        Raises:
            DecodeError: The video cannot be read.
        """
        return self._open_row(row)

    @abstractmethod
    def _clips(self, row: int, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the R clips of a row (T, H, W, 3) uint8, and their motion masks (T, H, W) bool, if loaded."""

    def _sample(self, epoch: int, index: int, row: int, clips: list[np.ndarray], masks: list[np.ndarray]) -> Sample:
        count = len(clips)
        seeds = [sample_seed(self.seed, epoch, index, repeat) for repeat in range(count)]
        sample = {
            "clip": _stack(clips),
            "index": torch.full((count,), row),
            "seed": torch.tensor(seeds),
            "label": torch.full((count,), int(self.annotations.labels[row])),
        }
        return sample | {"motion_mask": _stack(masks)} if masks else sample


class PretrainDataset(ClipDataset):
    """Pre-training clips, cropped frame by frame while decoding; see :class:`ClipDataset`.

    Args:
        annotations: The videos.
        choose_frames: Samples the frames of a clip.
        transform: Draws the crop, size and flip of a clip.
        seed: The run's seed.
        num_sample: Number of clips per opened video.
        motion_masks: Load the motion masks, from ``<stem>.moving.npz`` beside each video.
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Time limit per video in seconds; 0 for no limit.
    """

    def __init__(
        self,
        annotations: Annotations,
        *,
        choose_frames: ChooseFrames,
        transform: Transform,
        seed: int = 0,
        num_sample: int = 1,
        motion_masks: bool = False,
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
        self.motion_masks = motion_masks

    def _clips(self, row: int, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
        with self.open(row) as reader:
            chosen = [self.choose_frames(reader.num_frames, rng=rng) for _ in range(self.num_sample)]
            plans, parts, size = read_crops(reader, chosen, self.transform, rng)
        clips = [plan.finish(part) for plan, part in zip(plans, parts, strict=True)]
        masks = self._read_motion_masks(row, chosen, size) if self.motion_masks else []
        return clips, [plan.cut_mask(mask) for plan, mask in zip(plans, masks, strict=bool(masks))]

    def _read_motion_masks(self, row: int, chosen: list[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
        """Load the motion masks (T, H, W) bool of each clip."""
        path, indices = self.annotations.path(row), np.concatenate(chosen)
        masks = read_motion_masks(path, indices)
        if masks.shape != (len(indices), *size):
            raise UserError(f"{motion_mask_path(path)}: shape {masks.shape}, expected {(len(indices), *size)}")
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
    motion_masks: bool | None = None,
    decoder: str = "pyav",
    video_timeout: float = 60.0,
) -> PretrainDataset:
    """Create a dataset of pre-training clips.

    Args:
        annotations: The videos.
        num_frames: Number of frames in a clip.
        sampling_rate: Frame stride ("dense" only).
        size: Height and width of a clip in pixels.
        frame_sampling: "dense" or "segment".
        flip: Flip half of the clips horizontally.
        crop: "multi_scale" or "random_resized".
        crop_scale: Minimum and maximum fraction of the frame area in the crop ("random_resized" only).
        crop_interpolation: Interpolation mode for resizing the crop.
        seed: The run's seed.
        num_sample: Number of clips per opened video.
        motion_masks: Whether to load motion masks; None to load them if the first video has one.
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Time limit per video in seconds; 0 for no limit.

    Raises:
        UserError: ``frame_sampling``, ``crop``, ``crop_interpolation`` or ``decoder`` is unknown, a number is below 1,
            or ``crop_scale`` is not a valid range.
    """
    check_count("size", size)
    check_choice("crop_interpolation", crop_interpolation, get_args(ResizeMode))
    crops: dict[str, Transform] = {
        "multi_scale": MultiScaleCrop(size, size, flip=flip, mode=crop_interpolation),
        "random_resized": RandomResizedCrop(size, crop_scale, flip=flip, mode=crop_interpolation),
    }
    check_choice("crop", crop, tuple(crops))
    return PretrainDataset(
        annotations,
        choose_frames=frame_chooser(frame_sampling, pretrain_dense, length=num_frames, stride=sampling_rate),
        transform=crops[crop],
        seed=seed,
        num_sample=num_sample,
        motion_masks=has_motion_masks(annotations.path(0)) if motion_masks is None else motion_masks,
        decoder=decoder,
        video_timeout=video_timeout,
    )


def frame_chooser(name: str, dense: Callable[..., np.ndarray], *, length: int, stride: int) -> ChooseFrames:
    """Return the function that samples the frames of a training clip.

    Args:
        name: "dense" or "segment".
        dense: Function for "dense"; it differs between pre-training and fine-tuning.
        length: Number of frames in a clip.
        stride: Frame stride ("dense" only).

    Raises:
        UserError: The name is unknown, or a number is below 1.
    """
    check_count("num_frames", length)
    if name == "dense":
        check_count("sampling_rate", stride)
    choices: dict[str, ChooseFrames] = {
        "dense": partial(dense, length=length, stride=stride),
        "segment": partial(train_segments, length=length),
    }
    check_choice("frame_sampling", name, tuple(choices))
    return choices[name]


def _stack(arrays: list[np.ndarray]) -> torch.Tensor:
    """Stack arrays of equal shape to an (R, ...) tensor, without a copy if there is only one."""
    return torch.from_numpy(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))
