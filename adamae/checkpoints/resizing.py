"""Resize learned position embeddings and the patch embedding kernel for another clip shape."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int, int]


def resize_positions(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Resize learned positions to another grid: bicubic in space, then linear in time.

    Axes whose length does not change are not interpolated.

    Args:
        table: (1, t*h*w, D) position embedding in raster order, time first.
        old: Tokens along time, height and width of the table.
        new: Tokens along time, height and width of the result.

    Returns:
        (1, t'*h'*w', D) in the table's dtype.
    """
    if old == new:
        return table
    dim, dtype = table.shape[-1], table.dtype
    # (t, D, h, w): each time step is an image of D channels.
    x = table.float().reshape(*old, dim).permute(0, 3, 1, 2)
    if old[1:] != new[1:]:
        x = F.interpolate(x, size=new[1:], mode="bicubic", align_corners=False)
    if old[0] != new[0]:
        # Reshape to (D*h*w, 1, t): one line along time per channel and place.
        line = x.permute(1, 2, 3, 0).reshape(-1, 1, old[0])
        line = F.interpolate(line, size=new[0], mode="linear", align_corners=False)
        x = line.reshape(dim, *new[1:], new[0]).permute(3, 0, 1, 2)
    return x.permute(0, 2, 3, 1).reshape(1, -1, dim).to(dtype)


def fit_channels(kernel: Tensor, channels: int) -> Tensor:
    """Convert the patch embedding kernel to another number of colour channels.

    If the new number is a multiple of the old one, the channels are repeated; otherwise their mean is. Both are scaled
    by old / new, so that the output for a clip with identical channels does not change.

    Args:
        kernel: (D, C, t, p, p).
        channels: C', the new number of channels.

    Returns:
        (D, C', t, p, p).
    """
    old = kernel.shape[1]
    if channels == old:
        return kernel
    if channels % old == 0:
        grown = kernel.repeat(1, channels // old, 1, 1, 1)
    else:
        grown = kernel.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1, -1)
    return grown * (old / channels)


def fit_kernel(kernel: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Convert the patch embedding kernel to another shape; an image kernel counts as one with tubelets of one frame.

    Args:
        kernel: (D, C, p, p) of an image model, or (D, C, t, p, p).
        shape: Shape of the result, with 4 or 5 axes.
    """
    if kernel.shape == shape:
        return kernel
    video = kernel.unsqueeze(2) if kernel.dim() == 4 else kernel
    _, channels, *size = shape
    fitted = resize_kernel(fit_channels(video, channels), (*(1,) * (3 - len(size)), *size))  # type: ignore[arg-type]
    return fitted.squeeze(2) if len(size) == 2 else fitted


def fit_offsets(weight: Tensor, axes: int) -> Tensor:
    """Convert the first layer of relative positions to offsets with or without time: add a column of zeros or drop it.

    Args:
        weight: (hidden, A, 1, 1) for A axes; with three axes time is the first.
        axes: A', the new number of axes, 2 or 3.
    """
    if weight.shape[1] == axes:
        return weight
    return weight[:, 1:] if axes == 2 else torch.cat((torch.zeros_like(weight[:, :1]), weight), dim=1)


def resize_kernel(kernel: Tensor, size: Grid) -> Tensor:
    """Resize the patch embedding kernel by FlexiViT's pseudo-inverse (arXiv 2212.08013, equation 6).

    A larger kernel applied to linearly enlarged pixels gives exactly the output of the old kernel on the original
    pixels. A smaller kernel is the least-squares fit. Linear resizing is separable, so axes are resized one by one.

    Args:
        kernel: (D, C, t, p, p).
        size: Frames, rows and columns of the new kernel.

    Returns:
        (D, C, t', p', p').
    """
    for axis, length in enumerate(size, start=2):
        old = kernel.shape[axis]
        if length != old:
            basis = torch.eye(old, dtype=torch.float64).unsqueeze(0)
            enlarge = F.interpolate(basis, size=length, mode="linear", align_corners=False)[0].T
            fit = torch.linalg.pinv(enlarge).T.to(kernel.dtype)
            kernel = torch.tensordot(kernel, fit, dims=([axis], [1])).movedim(-1, axis)
    return kernel
