"""Labelled clips for fine-tuning."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np

from adamae.data.annotations import Annotations
from adamae.data.dataset import ChooseFrames, ClipDataset, frame_chooser
from adamae.data.finetune_augmentation import FinetuneAugmentation
from adamae.data.frame_indices import train_dense

# A horizontal flip swaps left and right, and reverses rotations.
_SIDED_WORDS = {"left", "right", "leftward", "rightward", "leftwards", "rightwards"}
_SIDED_WORDS |= {"clockwise", "counterclockwise", "anticlockwise"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def sided_classes(names: Sequence[str]) -> frozenset[int]:
    """Return the labels of classes that a horizontal flip changes: names that contain a word such as left or clockwise.

    ``Pushing something from left to right``, ``up-left`` and ``TurnRight`` match; ``brighten`` and ``leftover`` do not.
    """
    return frozenset(
        number for number, name in enumerate(names) if _SIDED_WORDS & {word.lower() for word in _WORD.findall(name)}
    )


class FinetuneDataset(ClipDataset):
    """Clips with labels; see :class:`~adamae.data.dataset.ClipDataset`.

    A video is decoded once and augmented ``num_sample`` times (repeated augmentation, arXiv 1901.09335): the clips have
    the same frames, as in the official code.

    Args:
        annotations: The videos and their labels.
        choose_frames: Samples the frames of a clip.
        augmentation: Augmentation of the frames.
        never_flipped: Labels of classes that are never flipped, regardless of ``augmentation``.
        seed: The run's seed.
        num_sample: Number of clips per opened video.
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Time limit per video in seconds; 0 for no limit.
    """

    def __init__(
        self,
        annotations: Annotations,
        *,
        choose_frames: ChooseFrames,
        augmentation: FinetuneAugmentation,
        never_flipped: Collection[int] = (),
        seed: int = 0,
        num_sample: int = 1,
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
        self._augmentation = augmentation
        self._unflipped = augmentation.without_flip()
        self._never_flipped = frozenset(never_flipped)

    def _clips(self, row: int, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
        with self.open(row) as reader:
            frames = reader.read(self.choose_frames(reader.num_frames, rng=rng))
        sided = int(self.annotations.labels[row]) in self._never_flipped
        augment = self._unflipped if sided else self._augmentation
        return [augment(frames, rng) for _ in range(self.num_sample)], []


def finetune_dataset(
    annotations: Annotations,
    *,
    num_frames: int,
    sampling_rate: int,
    augmentation: FinetuneAugmentation,
    frame_sampling: str = "dense",
    never_flipped: Collection[int] = (),
    seed: int = 0,
    num_sample: int = 1,
    decoder: str = "pyav",
    video_timeout: float = 60.0,
) -> FinetuneDataset:
    """Create a dataset of fine-tuning clips.

    Args:
        annotations: The videos and their labels.
        num_frames: Number of frames in a clip.
        sampling_rate: Frame stride ("dense" only).
        augmentation: Augmentation of the frames.
        frame_sampling: "dense" (Kinetics, UCF101, HMDB51) or "segment" (Something-Something).
        never_flipped: Labels of classes that are never flipped.
        seed: The run's seed.
        num_sample: Number of clips per opened video.
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Time limit per video in seconds; 0 for no limit.

    Raises:
        UserError: ``frame_sampling`` or ``decoder`` is unknown, or a number is below 1.
    """
    return FinetuneDataset(
        annotations,
        choose_frames=frame_chooser(frame_sampling, train_dense, length=num_frames, stride=sampling_rate),
        augmentation=augmentation,
        never_flipped=never_flipped,
        seed=seed,
        num_sample=num_sample,
        decoder=decoder,
        video_timeout=video_timeout,
    )
