"""Learned tables and kernels that are made to fit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from adamae.checkpoints.resizing import fit_channels, resize_kernel, resize_positions


def test_positions_follow_a_ramp_in_time_and_space() -> None:
    """A table that grows along an axis is sampled at the new tokens' centres, and the other axes do not see it."""
    t, h, w = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in (4, 6, 6)), indexing="ij")
    table = torch.stack((t, h, w), dim=-1).reshape(1, -1, 3)
    resized = resize_positions(table, (4, 6, 6), (8, 12, 12)).reshape(8, 12, 12, 3)
    centres = (torch.arange(12) + 0.5) / 2 - 0.5
    torch.testing.assert_close(resized[1:-1, :, :, 0], centres[1:7].view(-1, 1, 1).expand(6, 12, 12))
    # torch's bicubic kernel bends a ramp by up to a twentieth of a step.
    inner = centres[3:9].view(1, -1, 1).expand(8, 6, 12)
    torch.testing.assert_close(resized[:, 3:9, :, 1], inner, atol=0.05, rtol=0)
    torch.testing.assert_close(resized[..., 2], resized[..., 1].transpose(1, 2), atol=1e-5, rtol=0)


def test_axes_that_stay_keep_their_bits() -> None:
    table = torch.randn(1, 2 * 3 * 3, 4)
    assert resize_positions(table, (2, 3, 3), (2, 3, 3)) is table
    doubled = resize_positions(torch.cat((table[:, :9], table[:, :9]), dim=1), (2, 3, 3), (5, 3, 3))
    assert torch.equal(doubled.reshape(5, 9, 4)[3], table[0, :9])


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 9])
def test_a_grey_clip_gets_the_same_answer(channels: int) -> None:
    kernel, grey = torch.randn(5, 3, 2, 4, 4), torch.randn(2, 1, 2, 4, 4)
    expected = F.conv3d(grey.expand(-1, 3, -1, -1, -1), kernel)
    got = F.conv3d(grey.expand(-1, channels, -1, -1, -1), fit_channels(kernel, channels))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_multiples_repeat_and_others_average() -> None:
    kernel = torch.randn(5, 3, 2, 4, 4)
    assert torch.equal(fit_channels(kernel, 6)[:, 3:], kernel / 2)
    torch.testing.assert_close(fit_channels(kernel, 1), kernel.sum(dim=1, keepdim=True))
    assert fit_channels(kernel, 3) is kernel


@pytest.mark.parametrize("size", [(2, 8, 8), (4, 4, 4), (3, 6, 6), (2, 4, 4)])
def test_a_larger_kernel_answers_alike_on_enlarged_pixels(size: tuple[int, int, int]) -> None:
    kernel, pixels = torch.randn(5, 3, 2, 4, 4), torch.randn(7, 3, 2, 4, 4)
    larger = resize_kernel(kernel, size)
    enlarged = F.interpolate(pixels, size=size, mode="trilinear", align_corners=False)
    torch.testing.assert_close(F.conv3d(enlarged, larger), F.conv3d(pixels, kernel), atol=1e-4, rtol=1e-4)


def test_a_kernel_of_half_the_extent_answers_alike_on_pixels_in_pairs() -> None:
    kernel, pixels = torch.randn(5, 3, 4, 8, 8), torch.randn(7, 3, 2, 4, 4)
    pairs = pixels
    for axis in (2, 3, 4):
        pairs = pairs.repeat_interleave(2, dim=axis)
    smaller = resize_kernel(kernel, (2, 4, 4))
    torch.testing.assert_close(F.conv3d(pixels, smaller), F.conv3d(pairs, kernel), atol=1e-4, rtol=1e-4)
