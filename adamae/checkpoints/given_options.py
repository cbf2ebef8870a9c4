"""Check the constructor arguments that are stored beside the weights before a network is built from them."""

from __future__ import annotations

import math
import reprlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import nn

from adamae.checkpoints.shapes import from_json
from adamae.errors import UserError
from adamae.models.families import Family
from adamae.models.pretrainer import Pretrainer
from adamae.plain_text import some_of
from adamae.samplers import SAMPLERS


def check_options(options: Mapping[str, Any], family: Family, *, pretrain: bool) -> None:
    """Check the names and types of constructor arguments that a checkpoint stores.

    Args:
        options: The arguments, JSON values.
        family: Family of the network.
        pretrain: Whether the network is a pre-train model. Its file may come from an installation with more samplers,
            so unknown names are left to its constructor.

    Raises:
        UserError: If a name of a classifier's argument is unknown, or a value has another type than the constructor's.
    """
    unknown = sorted(options.keys() - family.keywords(pretrain=False)) if not pretrain else []
    if unknown:
        raise UserError(
            f"its config has {some_of(unknown)}, unknown to this version of adamae; it may be from a newer one"
        )
    wanted: dict[str, Any] = {}
    for function in (*_samplers(pretrain), *family.constructors(pretrain=pretrain)):
        wanted |= typing.get_type_hints(function)
    for name, value in options.items():
        if name in wanted and not _fits(value, wanted[name]):
            raise UserError(f"its config has {name} = {reprlib.repr(value)}; expected {_described(wanted[name])}")


def check_sizes(options: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
    """Check that arguments that a checkpoint stores agree with the shapes of its weights.

    A network of other sizes could not load the weights, and could be too large to be built.

    Args:
        options: The arguments, JSON values.
        sizes: The arguments that follow from the shapes.

    Raises:
        UserError: If one differs.
    """
    for name, size in sizes.items():
        value = options.get(name, size)
        if from_json(value) != size:
            raise UserError(f"its config has {name} = {reprlib.repr(value)}; expected, from its weights, {size!r}")


def _samplers(pretrain: bool) -> list[Callable[..., Any]]:
    """Return the functions that take the arguments of a pre-train model beyond its sizes."""
    if not pretrain:
        return []
    classes = [each.sampler_class for each in SAMPLERS.values()]
    return [*(each.__init__ for each in classes), *(each.build for each in classes), Pretrainer.__init__]


def _fits(value: Any, wanted: Any) -> bool:
    """Return whether a JSON value can be an argument of an annotated type."""
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple and ... not in parts:
        return isinstance(value, list | tuple) and len(value) == len(parts) and all(map(_fits, value, parts))
    if origin in (tuple, Sequence):
        return isinstance(value, list | tuple) and all(_fits(item, parts[0]) for item in value)
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted is bool:
        return isinstance(value, int)
    if wanted in (str, types.NoneType) or (isinstance(wanted, type) and issubclass(wanted, nn.Module)):
        return isinstance(value, wanted)
    # An argument of a registered sampler.
    return True


def _described(wanted: Any) -> str:
    return wanted.__name__ if isinstance(wanted, type) else str(wanted).replace("collections.abc.", "")
