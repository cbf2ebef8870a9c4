"""The token grid of a clip, and its patchify and unpatchify functions."""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor

from adamae.checks import check_count
from adamae.errors import UserError


@dataclass(frozen=True)
class TokenGrid:
    """Number of tokens of a clip along time, height and width, and the size of a token.

    Tokens are numbered in raster order: time first, then rows, then columns, so token ``i`` is
    ``(i // (h * w), i // w % h, i % w)``.

    Attributes:
        t: Tokens along time.
        h: Tokens along the height.
        w: Tokens along the width.
        tubelet_size: Frames in one token.
        patch_size: Pixels along each spatial side of one token.
    """

    t: int
    h: int
    w: int
    tubelet_size: int
    patch_size: int

    @classmethod
    def of(cls, num_frames: int, height: int, width: int, tubelet_size: int, patch_size: int) -> TokenGrid:
        """Return the grid of a clip of ``num_frames`` frames of ``height`` x ``width`` pixels.

        Raises:
            UserError: If a size is not a positive integer and a multiple of the token's size.
        """
        sizes = (num_frames, height, width, tubelet_size, patch_size)
        for name, size in zip(("num_frames", "height", "width", "tubelet_size", "patch_size"), sizes, strict=True):
            check_count(name, size)
        # Not NumPy's integers, which JSON does not take.
        num_frames, height, width, tubelet_size, patch_size = map(int, sizes)
        for name, size, unit in (
            ("num_frames", num_frames, tubelet_size),
            ("height", height, patch_size),
            ("width", width, patch_size),
        ):
            if size % unit:
                token_side = "tubelet_size" if name == "num_frames" else "patch_size"
                raise UserError(
                    f"{name} = {size} does not divide into tokens: expected a multiple of {token_side} = {unit}"
                )
        return cls(num_frames // tubelet_size, height // patch_size, width // patch_size, tubelet_size, patch_size)

    @property
    def num_tokens(self) -> int:
        """N = t * h * w."""
        return self.t * self.h * self.w

    @property
    def is_image(self) -> bool:
        """Whether clips are single images: one frame, in tubelets of one."""
        return self.t == self.tubelet_size == 1

    @property
    def clip_shape(self) -> tuple[int, int, int]:
        """Frames, height and width of the clip that the grid covers."""
        return self.t * self.tubelet_size, self.h * self.patch_size, self.w * self.patch_size

    def patchify(self, video: Tensor) -> Tensor:
        """Divide a channels-last clip into tokens.

        Args:
            video: (B, T, H, W, C) of any dtype, raw or normalised.

        Returns:
            (B, N, P) with P = tubelet_size * patch_size^2 * C in the order (frame, row, column, colour), colour
            fastest.

        Raises:
            UserError: If the clip's shape does not match the grid.
        """
        _, *clip, _ = video.shape
        if tuple(clip) != self.clip_shape:
            raise UserError(f"got a clip of (T, H, W) = {tuple(clip)}, expected {self.clip_shape}")
        return rearrange(
            video,
            "b (t f) (h p) (w q) c -> b (t h w) (f p q c)",
            f=self.tubelet_size,
            p=self.patch_size,
            q=self.patch_size,
        )

    def unpatchify(self, pixels: Tensor, channels: int = 3) -> Tensor:
        """Rearrange tokens to a clip: the inverse of :meth:`patchify`.

        Args:
            pixels: (B, N, P).
            channels: Colour channels C in P.

        Returns:
            (B, T, H, W, C).
        """
        return rearrange(
            pixels,
            "b (t h w) (f p q c) -> b (t f) (h p) (w q) c",
            t=self.t,
            h=self.h,
            w=self.w,
            f=self.tubelet_size,
            p=self.patch_size,
            q=self.patch_size,
            c=channels,
        )
