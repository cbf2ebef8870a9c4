"""Read the shapes of a state dict's entries and the sizes in its metadata."""

from __future__ import annotations

import re
from typing import Any

from adamae.errors import UserError
from adamae.plain_text import some_of

Shapes = dict[str, tuple[int, ...]]


def shape_of(shapes: Shapes, name: str, axes: int | None = None, *, expected: str | None = None) -> tuple[int, ...]:
    """Return the shape of an entry.

    Args:
        shapes: Shapes by name.
        name: Name of the entry.
        axes: Number of axes that the entry must have, none of length 0; None: any shape.
        expected: Kind of network for the error; None: a video masked autoencoder, and the error lists the entries,
            because the file may be anything.

    Raises:
        UserError: If there is no such entry, or it has another number of axes or no values.
    """
    if name not in shapes:
        listed = "" if expected else f" ({some_of(list(shapes), 6)})"
        raise UserError(
            f"no {name} among its {len(shapes)} entries{listed}; expected {expected or 'a video masked autoencoder'}"
        )
    shape = shapes[name]
    if axes is not None and (len(shape) != axes or 0 in shape):
        raise UserError(f"{name} has the shape {shape}; expected {axes} axes")
    return shape


def block_numbers(shapes: Shapes, name: str) -> set[int]:
    """Return the numbers N of entries ``{name}.N.*``, such as "blocks.3.norm1.weight" for the name "blocks"."""
    pattern = re.compile(re.escape(name) + r"\.(\d+)\.")
    return {int(match[1]) for match in map(pattern.match, shapes) if match}


def from_json(value: Any) -> Any:
    """Return a tuple for JSON's list, other values as they are."""
    return tuple(value) if isinstance(value, list) else value


def sides(value: Any) -> tuple[int, int] | None:
    """Return height and width from one positive integer or two; None for any other value."""
    both = value if isinstance(value, list | tuple) else (value, value)
    return (both[0], both[1]) if len(both) == 2 and all(map(positive, both)) else None


def positive(value: Any) -> int | None:
    """Return a positive integer; None for any other value."""
    return value if isinstance(value, int) and value > 0 else None
