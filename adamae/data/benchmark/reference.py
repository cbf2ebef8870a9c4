"""The way of making pre-training clips that published code takes, from public parts.

decord decodes whole frames at the size of the file, Pillow crops and resizes each of them, and the clip becomes
standardised 32-bit floats in the worker. Frames and crops are those that our data set draws.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adamae.data.augmentation import CropPlan

# ImageNet's, as all published recipes have it.
_MEAN = torch.tensor((0.485, 0.456, 0.406))
_STD = torch.tensor((0.229, 0.224, 0.225))


def crop_with_pillow(frames: np.ndarray, plan: CropPlan) -> np.ndarray:
    """Whole frames (T, H, W, 3) uint8 to the clip (T, height, width, 3) uint8, each frame as a picture of its own."""
    box = (plan.box.left, plan.box.top, plan.box.left + plan.box.width, plan.box.top + plan.box.height)
    size = (plan.width, plan.height)
    pictures = [Image.fromarray(frame).convert("RGB").crop(box) for frame in frames]
    return np.stack([np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) for picture in pictures])


def standardise(clip: np.ndarray) -> Tensor:
    """(T, H, W, 3) uint8 to (3, T, H, W) float32 with ImageNet's mean and deviation taken out.

    Colours of all frames are channels of one picture until the end, as in published code.
    """
    length, height, width, _ = clip.shape
    channels = torch.from_numpy(clip).permute(0, 3, 1, 2).reshape(3 * length, height, width).contiguous()
    values = channels.float().div(255)
    values.sub_(_MEAN.repeat(length)[:, None, None]).div_(_STD.repeat(length)[:, None, None])
    return values.view(length, 3, height, width).transpose(0, 1)
