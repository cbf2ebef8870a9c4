"""Shapes, numbers of blocks and sizes as they are read from a state dict and its metadata."""

from __future__ import annotations

from typing import Any

import pytest

from adamae.checkpoints.shapes import block_numbers, shape_of, sides
from adamae.errors import UserError

SHAPES = {"blocks.0.norm1.weight": (8,), "blocks.10.norm1.weight": (8,), "my_blocks.2.x": (1,), "head.weight": (5, 8)}


def test_a_shape_is_that_of_the_entry() -> None:
    assert shape_of(SHAPES, "head.weight") == shape_of(SHAPES, "head.weight", 2) == (5, 8)


def test_another_number_of_axes_is_an_error() -> None:
    with pytest.raises(UserError, match=r"head.weight has the shape \(5, 8\); expected 3 axes"):
        shape_of(SHAPES, "head.weight", 3)


def test_a_missing_entry_is_an_error() -> None:
    listed = ", ".join(SHAPES)
    with pytest.raises(
        UserError, match=rf"^no x among its 4 entries \({listed}\); expected a video masked autoencoder$"
    ):
        shape_of(SHAPES, "x")
    with pytest.raises(UserError, match=r"^no x among its 4 entries; expected a pyramid network$"):
        shape_of(SHAPES, "x", expected="a pyramid network")


def test_numbers_of_blocks_are_those_of_one_stack() -> None:
    assert block_numbers(SHAPES, "blocks") == {0, 10}
    assert block_numbers(SHAPES, "decoder.blocks") == set()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (16, (16, 16)),
        ([16, 32], (16, 32)),
        ((16, 32), (16, 32)),
        (None, None),
        (0, None),
        ([16, -8], None),
        ([16], None),
        (16.0, None),
        ("16", None),
    ],
)
def test_sides_are_one_positive_integer_or_two(value: Any, expected: tuple[int, int] | None) -> None:
    assert sides(value) == expected
