"""Frames, stride and size of a clip, and those on which the network of a checkpoint was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adamae.checkpoints.formats import CheckpointFile
from adamae.errors import UserError

# Names of data sets whose official recipes sample segments.
_SEGMENT_SETS = ("ssv2",)


@dataclass(frozen=True)
class ClipSettings:
    """Frames, stride and size of a clip: those of training, or as chosen.

    Attributes:
        num_frames: T, frames of the network's input.
        size: Height and width in pixels.
        sampling_rate: Stride of the frames.
        frame_sampling: "dense" or "segment".
        guessed: Names of the fields that the checkpoint does not store and that have default values.
    """

    num_frames: int
    size: int
    sampling_rate: int
    frame_sampling: str
    guessed: tuple[str, ...]


def training_clip(file: CheckpointFile) -> ClipSettings:
    """Read the clips of training from a checkpoint: from its architecture and from the options of the training program.

    Raises:
        UserError: If its frames are not square.
    """
    height, width = file.architecture.size
    if height != width:
        raise UserError(f"{file.path}: its clips are {height}x{width}, expected square ones")
    guessed = [name for name in ("num_frames", "size") if name.removeprefix("num_") in file.architecture.guessed]
    rate, sampling = file.args.get("sampling_rate"), file.args.get("frame_sampling")
    if sampling not in ("dense", "segment"):
        data_set = str(file.args.get("data_set") or "")
        sampling = "segment" if data_set.lower() in _SEGMENT_SETS else "dense"
        guessed += [] if data_set else ["frame_sampling"]
    if not isinstance(rate, int) or rate < 1:
        rate = 4
        guessed += ["sampling_rate"] if sampling == "dense" else []
    return ClipSettings(file.architecture.frames, height, rate, sampling, tuple(guessed))


def describe_clip(
    *, num_frames: int, frames_read: int, sampling_rate: int, input_size: int, frame_sampling: str
) -> dict[str, Any]:
    """Return the clips of an evaluation for ``scores.json``.

    Args:
        num_frames: T, frames that the network sees.
        frames_read: Decoded frames of a clip, from which T are selected.
        sampling_rate: Stride of the frames with dense sampling.
        input_size: Height and width in pixels.
        frame_sampling: "dense" or "segment".
    """
    return {
        "num_frames": num_frames,
        "frames_read": frames_read,
        "sampling_rate": sampling_rate,
        "input_size": input_size,
        "frame_sampling": frame_sampling,
    }
