"""Differences between two recordings, with files, numbers and options kept apart from words."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Fields that contain sentences.
_WORD_FIELDS = re.compile(r"^(reason|message|error|note|notes|warning|help|detail)$")
# Numbers are nearly equal if their relative difference is smaller than this.
_NEAR = 1e-5
_LONGEST = 160


@dataclass(frozen=True)
class Difference:
    """One difference between two recordings.

    Attributes:
        line: Name of the command line.
        place: Path within the record of the command line.
        before: Value in the first recording.
        after: Value in the second recording.
        kind: "content", "near" for numbers that differ by less than 1e-5, or "words".
    """

    line: str
    place: str
    before: str
    after: str
    kind: str = "content"

    def __str__(self) -> str:
        if self.kind == "words":
            return f"  words {self.place}:\n" + "\n".join(f"    {part}" for part in (self.before, self.after) if part)
        return f"  {self.kind} {self.place}: {self.before} -> {self.after}"


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """Return all differences between two recordings.

    Args:
        before: First recording, as :func:`tests.behaviour.recording.record` returns it.
        after: Second recording. Lines that only one of them contains are differences as well.
    """
    found = []
    for name in dict.fromkeys((*before["lines"], *after["lines"])):
        one, other = before["lines"].get(name), after["lines"].get(name)
        if one is None or other is None:
            found.append(Difference(name, "line", *("absent" if part is None else "recorded" for part in (one, other))))
        else:
            found += [Difference(name, *parts) for parts in _differ(one, other, "")]
    return found


def report(found: list[Difference], *, words: bool = True) -> str:
    """Format differences as readable lines, grouped by command line."""
    shown = [difference for difference in found if words or difference.kind != "words"]
    text = []
    for name in dict.fromkeys(difference.line for difference in shown):
        text += [name, *(str(difference) for difference in shown if difference.line == name)]
    kinds = Counter(difference.kind for difference in found)
    text.append(
        f"{kinds['content']} differences in exit codes, files, numbers or options, "
        f"{kinds['near']} numbers within {_NEAR:g}, {kinds['words']} in words alone"
    )
    return "\n".join(text)


Parts = tuple[str, str, str, str]


def _differ(one: Any, other: Any, place: str) -> Iterator[Parts]:
    last = place.rpartition("/")[2]
    if one == other:
        return
    if last == "text":
        yield from _texts_differ(one, other, place)
    elif isinstance(one, dict) and isinstance(other, dict):
        yield from _mappings_differ(one, other, place)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from _differ(first, second, f"{place}/{number}")
    elif _is_number(one) and _is_number(other):
        near = abs(one - other) <= _NEAR * max(abs(one), abs(other))
        yield place, f"{one:.9g}", f"{other:.9g}", "near" if near else "content"
    elif _WORD_FIELDS.match(last) and isinstance(one, str) and isinstance(other, str):
        yield place, f"- {one}", f"+ {other}", "words"
    else:
        yield place, _brief(one), _brief(other), "content"


def _mappings_differ(one: dict[str, Any], other: dict[str, Any], place: str) -> Iterator[Parts]:
    if "bits" in one and "bits" in other and one["shape"] == other["shape"]:
        yield from _tensors_differ(one, other, place)
        return
    for key in dict.fromkeys((*one, *other)):
        if key not in other or key not in one:
            yield (
                f"{place}/{key}",
                *(_brief(part[key]) if key in part else "absent" for part in (one, other)),
                "content",
            )
        else:
            yield from _differ(one[key], other[key], f"{place}/{key}")


def _tensors_differ(one: dict[str, Any], other: dict[str, Any], place: str) -> Iterator[Parts]:
    """Compare tensors; the tolerance is relative to the norm, because a sum may be close to zero."""
    scale = _NEAR * max(one["norm"], other["norm"])
    near = all(abs(one[name] - other[name]) <= scale for name in ("sum", "norm", "nans"))
    near = near and one["dtype"] == other["dtype"]
    shown = (f"{part['dtype']} sum {part['sum']:.6g} norm {part['norm']:.6g}" for part in (one, other))
    yield place, *shown, "near" if near else "content"


def _texts_differ(one: list[str], other: list[str], place: str) -> Iterator[Parts]:
    """Compare texts: numbers, options, choices and paths are content, everything else is words."""
    facts = [Counter(found for line in text for found in _FACTS.findall(line)) for text in (one, other)]
    if facts[0] != facts[1]:
        gone, new = facts[0] - facts[1], facts[1] - facts[0]
        yield place, _brief(sorted(gone.elements())), _brief(sorted(new.elements())), "content"
    changed = [
        line for line in difflib.unified_diff(one, other, lineterm="", n=0) if not re.match(r"---|\+\+\+|@@", line)
    ]
    yield place, "\n    ".join(changed), "", "words"


_FACTS = re.compile(r"--\w+|\{[\w,.-]+\}|<(?:work|tree)>[\w./-]*|(?<![\w.-])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
