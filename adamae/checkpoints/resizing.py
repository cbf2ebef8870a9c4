"""Making learned tables and the first kernel fit another clip."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int, int]


def resize_positions(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Learned positions for another grid: bicubic over the places, then linear over the times.

    An axis whose length stays is left as it is, bit for bit.

    Args:
        table: (1, t*h*w, D) in raster order, time first.
        old: Tokens along time, height and width that the table is for.
        new: The same of the table that is wanted.

    Returns:
        (1, t'*h'*w', D) of the table's dtype.
    """
    if old == new:
        return table
    dim, dtype = table.shape[-1], table.dtype
    # (t, D, h, w): each time is a picture of D channels.
    x = table.float().reshape(*old, dim).permute(0, 3, 1, 2)
    if old[1:] != new[1:]:
        x = F.interpolate(x, size=new[1:], mode="bicubic", align_corners=False)
    if old[0] != new[0]:
        # Each place of each channel is a line over the times.
        line = x.permute(1, 2, 3, 0).reshape(-1, 1, old[0])
        line = F.interpolate(line, size=new[0], mode="linear", align_corners=False)
        x = line.reshape(dim, *new[1:], new[0]).permute(3, 0, 1, 2)
    return x.permute(0, 2, 3, 1).reshape(1, -1, dim).to(dtype)


def fit_channels(kernel: Tensor, channels: int) -> Tensor:
    """The first kernel for another number of colour channels.

    To a multiple of the old number, the old channels are repeated; to any other, their average is. Both are scaled by
    old / new, so that the answer to a clip whose channels are all alike stays what it was.

    Args:
        kernel: (D, C, t, p, p).
        channels: C', the wanted number.

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
    """The first kernel for another clip; that of images counts as one of tubelets of one frame.

    Args:
        kernel: (D, C, p, p) of images, or (D, C, t, p, p).
        shape: The wanted one, of either kind.
    """
    if kernel.shape == shape:
        return kernel
    video = kernel.unsqueeze(2) if kernel.dim() == 4 else kernel
    _, channels, *size = shape
    fitted = resize_kernel(fit_channels(video, channels), (*(1,) * (3 - len(size)), *size))  # type: ignore[arg-type]
    return fitted.squeeze(2) if len(size) == 2 else fitted


def fit_offsets(weight: Tensor, axes: int) -> Tensor:
    """The first layer of relative positions for offsets with time or without: a column of zeros more, or that one less.

    Args:
        weight: (hidden, A, 1, 1); of three axes time is the first.
        axes: A', 2 or 3.
    """
    if weight.shape[1] == axes:
        return weight
    return weight[:, 1:] if axes == 2 else torch.cat((torch.zeros_like(weight[:, :1]), weight), dim=1)


def resize_kernel(kernel: Tensor, size: Grid) -> Tensor:
    """The first kernel for tokens of another extent, by FlexiViT's pseudo-inverse (arXiv 2212.08013, equation 6).

    Enlarging pixels linearly and applying the larger kernel answers exactly as the old kernel did on the pixels as
    they were; for smaller tokens it is the best fit. Linear resizing is separable, so axes are taken one by one.

    Args:
        kernel: (D, C, t, p, p).
        size: Frames, rows and columns of the wanted kernel.

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
