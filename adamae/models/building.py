"""Helpers of the factories, which build models from the keywords of named models and saved configs."""

from __future__ import annotations

import inspect
from typing import Any

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.models.pretrainer import Pretrainer


def token_grid(img_size: int | tuple[int, int], patch_size: int, tubelet_size: int, num_frames: int) -> TokenGrid:
    """Return the token grid of a clip size.

    Args:
        img_size: Frame size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side.
        tubelet_size: Frames in a token.
        num_frames: Frames in a clip.

    Raises:
        UserError: If sizes do not divide, or ``img_size`` is neither one number nor two.
    """
    sides = tuple(img_size) if isinstance(img_size, tuple | list) else (img_size, img_size)
    if len(sides) != 2:
        raise UserError(f"img_size = {img_size!r}: expected one number or (height, width)")
    height, width = sides
    return TokenGrid.of(num_frames, height, width, tubelet_size, patch_size)


def pop_pretrainer_options(options: dict[str, Any]) -> dict[str, Any]:
    """Pop the arguments of :class:`~adamae.models.pretrainer.Pretrainer` from ``options``; samplers' ones remain."""
    return {name: options.pop(name) for name in inspect.signature(Pretrainer).parameters if name in options}


def refuse_rates(reason: str, **rates: float | None) -> None:
    """Check that the rates of parts that a network does not have are 0 or None.

    Raises:
        UserError: If a rate is neither; the message contains ``reason``.
    """
    for name, rate in rates.items():
        if rate:
            raise UserError(f"{name} = {rate}: expected 0, because {reason}")
