"""The token grid: order, sizes and cutting."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from adamae.errors import UserError
from adamae.grid import TokenGrid


@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize(
    ("frames", "height", "width", "tubelet", "patch"), [(4, 8, 12, 2, 4), (3, 6, 6, 1, 2), (8, 4, 8, 4, 4)]
)
def test_patchify_is_inverted_and_keeps_raster_order(
    frames: int, height: int, width: int, tubelet: int, patch: int, channels: int
) -> None:
    grid = TokenGrid.of(frames, height, width, tubelet, patch)
    video = torch.randint(0, 256, (2, frames, height, width, channels), dtype=torch.uint8)
    pixels = grid.patchify(video)
    assert pixels.shape == (2, grid.num_tokens, tubelet * patch * patch * channels)
    assert torch.equal(grid.unpatchify(pixels, channels), video)
    t, y, x = grid.t - 1, grid.h - 1, 0
    token = video[:, t * tubelet :, y * patch :, x * patch : (x + 1) * patch]
    assert torch.equal(pixels[:, t * grid.h * grid.w + y * grid.w + x], token.flatten(1))


def test_the_tokenizer_is_the_convolution_whose_weights_it_stores() -> None:
    from adamae.layers.tokenizer import TubeletTokenizer

    grid = TokenGrid.of(4, 8, 8, 2, 4)
    tokenizer = TubeletTokenizer(2, 4, 3, 10).double()
    video = torch.randn(2, 3, 4, 8, 8, dtype=torch.float64)
    expected = F.conv3d(video, tokenizer.proj.weight, tokenizer.proj.bias, stride=(2, 4, 4)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokenizer(grid.patchify(video.permute(0, 2, 3, 4, 1))), expected)


@pytest.mark.parametrize(
    ("sizes", "named"),
    [((15, 64, 64, 2, 16), "num_frames = 15"), ((16, 60, 64, 2, 16), "height = 60"), ((16, 64, 8, 2, 16), "width = 8")],
)
def test_sizes_that_do_not_divide_are_named(sizes: tuple[int, ...], named: str) -> None:
    with pytest.raises(UserError, match=named):
        TokenGrid.of(*sizes)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((4.0, 32, 32, 2, 8), "num_frames = 4.0: expected an integer at least 1"),
        ((4, -32, 32, 2, 8), "height = -32: expected an integer at least 1"),
        ((4, 32, 32, 0, 8), "tubelet_size = 0: expected an integer at least 1"),
        ((4, 32, 32, 2, "8"), "patch_size = '8': expected an integer at least 1"),
    ],
)
def test_sizes_are_positive_integers(sizes: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        TokenGrid.of(*sizes)


def test_a_clip_of_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match=r"got a clip of .* = \(8, 32, 32\), expected \(16, 32, 32\)"):
        TokenGrid.of(16, 32, 32, 2, 16).patchify(torch.zeros(1, 8, 32, 32, 3))
