"""One option as a dataclass field: its default, its help, and the values it takes.

The type of a value follows from the field's annotation: ``bool``, ``int``, ``float``, ``str``, ``Literal`` (choices),
``tuple[float, float]`` (several values), ``tuple[str, ...]`` (at least one value) and any of them ``| None`` (written
``none``). Bounds are arguments of :func:`flag`.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from adamae.errors import UserError

# Far above realistic values. Larger ones overflow sizes, or their allocation fails after minutes or kills the process.
LARGEST_SIDE = 65_536  # pixels
LARGEST_WIDTH = 65_536  # of tokens
MOST_FRAMES = 100_000
MOST_BLOCKS = 1_000
MOST_AT_ONCE = 100_000  # clips, views, classes
MOST_WORKERS = 1_024
MOST_SECONDS = 1_000_000  # timeout for a video
_LARGEST_INTEGER = 2**63 - 1

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


# The metavar of a boolean. It is not shown: the help lists both spellings instead of a value.
SWITCH = "SWITCH"


@dataclass(frozen=True)
class Bounds:
    """An interval of numbers; None is no limit.

    Attributes:
        least: Smallest allowed value.
        most: Largest allowed value.
        above: Values must be larger.
        below: Values must be smaller.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Whether ``value`` is finite and within the bounds."""
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = (("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below))
        return " and ".join(f"{word} {limit:g}" for word, limit in words if limit is not None)


def flag(
    default: Any,
    text: str | Callable[[], str],
    *,
    choices: Callable[[], tuple[str, ...]] | None = None,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    limit: int | None = None,
    aliases: tuple[str, ...] = (),
    changes_result: bool = True,
    positional: bool = False,
    metavar: str | None = None,
) -> Any:
    """A dataclass field that is an option ``--name`` of the command line.

    Args:
        default: Default value; ``MISSING`` for a required option.
        text: Help text for ``--help`` and the tables of the guides, or a function that returns it.
        choices: Function that returns the allowed values of a registry; a ``Literal`` annotation needs none.
        least: Smallest allowed number.
        most: Largest allowed number.
        above: Numbers must be larger than this.
        below: Numbers must be smaller than this.
        limit: Technical upper limit, which only the error message states; None: 2**63 - 1 for integers.
        aliases: Other names of the option; a name with its dash, such as ``-o``, is used as it is.
        changes_result: Whether the value affects the result; False for paths, devices and speed.
        positional: Whether it is a positional argument.
        metavar: Placeholder of the value in ``--help``.
    """
    metadata = {
        "text": text,
        "choices": choices,
        "bounds": Bounds(least, most, above, below),
        "limit": limit,
        "aliases": aliases,
        "changes_result": changes_result,
        "positional": positional,
        "metavar": metavar,
    }
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Flag:
    """An option as the parser and the tables see it.

    Attributes:
        name: Field name; the option is ``--name``.
        default: Default value.
        kind: Type of one argument: ``bool``, ``int``, ``float`` or ``str``.
        choices: Allowed values; empty for any.
        optional: Whether ``none`` is allowed.
        count: Number of arguments; 0: one or more.
        metadata: Arguments of :func:`flag`.
    """

    name: str
    default: Any
    kind: type
    choices: tuple[str, ...]
    optional: bool
    count: int
    metadata: Any

    @property
    def expected(self) -> str:
        """The expected value, as error messages state it."""
        bounds = str(self.metadata["bounds"])
        if self.choices:
            words = f"one of {', '.join(self.choices)}"
        elif self.kind is int:
            words = f"an integer {bounds}".strip()
        elif self.kind is float:
            words = f"a number {bounds}".strip()
        else:
            words = "true or false" if self.kind is bool else "a string"
        return f"{words}, or none" if self.optional and not self.choices else words

    @property
    def metavar(self) -> str:
        """Placeholder of the value in ``--help``."""
        if self.metadata["metavar"]:
            return str(self.metadata["metavar"])
        if self.choices:
            return f"{{{','.join(self.choices)}}}"
        return {int: "N", float: "X", bool: SWITCH}.get(self.kind, "TEXT")

    def parse(self, word: str) -> Any:
        """Convert one argument to a value.

        Raises:
            ValueError: If it is not a value of this option; the message states the value and what was expected.
        """
        if self.optional and word.lower() in ("none", "null"):
            return None
        try:
            value = BOOLEANS[word.lower()] if self.kind is bool else self.kind(word)
        except (KeyError, ValueError):
            raise ValueError(f"got {word!r}, expected {self.expected}") from None
        self.check(value)
        return value

    def check(self, value: Any) -> None:
        """Raise a ValueError unless ``value`` is among the choices or within the bounds."""
        if value is None and self.optional:
            return
        if self.choices and value not in self.choices:
            raise ValueError(f"got {value!r}, expected {self.expected}{did_you_mean(str(value), self.choices)}")
        if self.kind not in (int, float):
            return
        limit = self.metadata["limit"] or (_LARGEST_INTEGER if self.kind is int else math.inf)
        # Check the limit first: math.isfinite in the bounds raises OverflowError for huge integers.
        if value > limit:
            raise ValueError(f"got {value}, expected at most {limit}")
        if value < -limit or not self.metadata["bounds"].hold(value):
            raise ValueError(f"got {value}, expected {self.expected}")

    def words(self, value: Any) -> list[str]:
        """Convert a value to arguments: the inverse of :meth:`parse`."""
        values = value if isinstance(value, (tuple, list)) else [value]
        return [_word(part) for part in values]


def _word(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def flags_of(group: type) -> tuple[Flag, ...]:
    """The options of a group, in order of definition."""
    whole: Any = group.complete() if issubclass(group, OptionGroup) else group
    hints = get_type_hints(whole)
    return tuple(_read(entry, hints[entry.name]) for entry in fields(whole))


def _read(entry: Field[Any], hint: Any) -> Flag:
    optional = get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)
    if optional:
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    text, registered = entry.metadata["text"], entry.metadata["choices"]
    choices: tuple[str, ...] = registered() if registered else ()
    count = 1
    if get_origin(hint) is tuple:
        count = 0 if Ellipsis in get_args(hint) else len(get_args(hint))
        hint = get_args(hint)[0]
    elif get_origin(hint) is Literal:
        choices = get_args(hint)
        hint = str
    metadata = {**entry.metadata, "text": text() if callable(text) else text}
    return Flag(entry.name, entry.default, hint, choices, optional, count, metadata)


class OptionGroup:
    """A dataclass of options that checks itself when it is built, from the command line or from Python.

    Attributes:
        title: Heading of the group in ``--help``; empty: the name of the class without ``Options``.
    """

    title: ClassVar[str] = ""

    @classmethod
    def heading(cls) -> str:
        """Heading of the group in ``--help`` and in a run's ``options.yaml``."""
        return cls.title or cls.__name__.removesuffix("Options")

    @classmethod
    def complete(cls) -> type[OptionGroup]:
        """The group with all of its options: itself, unless some of them come from a registry."""
        return cls

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UserError: If a value is out of bounds or not among the choices.
        """
        for option in flags_of(type(self)):
            value = getattr(self, option.name)
            for part in value if option.count != 1 and value is not None else (value,):
                _complain(option.name, option.check, part)


def _complain(name: str, check: Callable[[Any], None], value: Any) -> None:
    try:
        check(value)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """``; did you mean X?`` if ``word`` is close to a known word, otherwise an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
