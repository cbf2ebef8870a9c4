"""Pre-training clips as the reference implementation makes them, and a plain decoder, built on public libraries.

decord decodes complete frames at the size of the file, Pillow crops and resizes each of them, and the worker converts
the clip to normalised 32-bit floats. Frames and crops are those that our dataset draws.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adamae.data.augmentation import CropPlan
from adamae.data.decoding import DecodeError, VideoSource
from adamae.data.decoding.protocol import EncodedVideo, name_of
from adamae.imagenet import IMAGENET_MEAN, IMAGENET_STD

_MEAN, _STD = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)


def crop_with_pillow(frames: np.ndarray, plan: CropPlan) -> np.ndarray:
    """Crop and resize frames (T, H, W, 3) uint8 one by one, to the clip (T, height, width, 3) uint8."""
    box = (plan.box.left, plan.box.top, plan.box.left + plan.box.width, plan.box.top + plan.box.height)
    size = (plan.width, plan.height)
    pictures = [Image.fromarray(frame).convert("RGB").crop(box) for frame in frames]
    return np.stack([np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) for picture in pictures])


def standardise(clip: np.ndarray) -> Tensor:
    """Normalise (T, H, W, 3) uint8 by ImageNet's mean and std to (3, T, H, W) float32.

    The colours of all frames are channels of one image until the end, as in the reference implementation.
    """
    length, height, width, _ = clip.shape
    channels = torch.from_numpy(clip).permute(0, 3, 1, 2).reshape(3 * length, height, width).contiguous()
    values = channels.float().div(255)
    values.sub_(_MEAN.repeat(length)[:, None, None]).div_(_STD.repeat(length)[:, None, None])
    return values.view(length, 3, height, width).transpose(0, 1)


class PlainVideo:
    """A video of constant frame rate read with PyAV alone, from a keyframe to the last wanted frame.

    Args:
        source: The video.

    Raises:
        DecodeError: If it cannot be read.
    """

    def __init__(self, source: VideoSource) -> None:
        self._path = name_of(source)
        try:
            self._container = av.open(io.BytesIO(source.data) if isinstance(source, EncodedVideo) else source)
            self._stream = self._container.streams.video[0]
        except (OSError, IndexError, av.FFmpegError) as error:
            raise DecodeError(self._path, f"not a readable video ({error})") from None
        self._stream.codec_context.thread_count = 1
        self._rate = self._stream.average_rate or self._stream.base_rate
        length = self._stream.frames or round((self._container.duration or 0) / av.time_base * self._rate)
        self.num_frames = length

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read the frames with the given indices as (T, H, W, 3) uint8.

        Raises:
            DecodeError: If a frame is not found by its timestamp.
        """
        wanted = np.unique(indices).tolist()
        per_frame = 1 / (self._rate * self._stream.time_base)
        begin = self._stream.start_time or 0
        self._container.seek(begin + round(wanted[0] * per_frame), stream=self._stream)
        found: dict[int, np.ndarray] = {}
        for frame in self._container.decode(self._stream):
            number = round((frame.pts - begin) / per_frame)
            if number in wanted:
                found[number] = frame.to_ndarray(format="rgb24")
            if number >= wanted[-1]:
                break
        if len(found) < len(wanted):
            raise DecodeError(self._path, f"{len(wanted) - len(found)} frames are not where the frame rate says")
        return np.stack([found[number] for number in np.asarray(indices).tolist()])

    def __enter__(self) -> PlainVideo:
        return self

    def __exit__(self, *raised: object) -> None:
        self._container.close()
