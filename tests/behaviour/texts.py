"""Remove from texts and values what differs between calls: paths, times, memory, process ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

VOLATILE = "<volatile>"

# Fields of records that depend on the machine and the moment.
_FIELDS = re.compile(r"(^|_)(seconds?|hours|peak_memory(_gb)?|data_wait|pid|host|date|changed)(_|$)")
# Digests of files, whose contents are recorded themselves.
_DIGEST = "sha256"
# Further volatile fields of commands that measure time.
_MEASURED = ("memory", "pixels", "limit", "cores_per_gpu")
_NUMBER = r"\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
_CHANGES = (
    (re.compile(r"\x1b\[[\d;]*[A-Za-z]"), ""),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?([.,]\d+)?"), "<date>"),
    (re.compile(r"\[\d\d:\d\d:\d\d\]"), "[<time>]"),
    (re.compile(rf"{_NUMBER} a second"), "<n> a second"),
    (re.compile(r"0x[0-9a-f]{6,}"), "<address>"),
    (re.compile(r"\.py:\d+"), ".py:<line>"),
    (
        re.compile(
            rf"{_NUMBER} ?((?:clips|videos|views|frames)/s|(?:ms|s|h|min|seconds|minutes|hours|GB|GiB|MB|MiB)\b)"
        ),
        r"<n> \1",
    ),
)
# Lines whose presence depends on timing or on libraries.
_DROPPED = re.compile(r"^step (\d+)/(?!\1 )|^\[\S*rank\d|^\[W\d|^\[Gloo\]|OMP_NUM_THREADS|^\*+$|^\[<date>\]")


def normal_lines(text: str, places: Mapping[str, str]) -> list[str]:
    """Return the normalised lines of a text; ``places`` maps paths to placeholders."""
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(place, places[place])
    for pattern, other in _CHANGES:
        text = pattern.sub(other, text)
    return [line.rstrip() for line in text.splitlines() if not _DROPPED.search(line)]


def normal_value(value: Any, places: Mapping[str, str]) -> Any:
    """Return a value from JSON or YAML with volatile fields replaced."""
    if isinstance(value, dict):
        return {_text(str(key), places): _field(str(key), other, places) for key, other in value.items()}
    if isinstance(value, list | tuple):
        return [normal_value(other, places) for other in value]
    if isinstance(value, str):
        return _text(value, places)
    if isinstance(value, float):
        return float(f"{value:.9g}")
    return value if value is None or isinstance(value, bool | int) else f"<{type(value).__name__}> {value}"


def _field(name: str, value: Any, places: Mapping[str, str]) -> Any:
    if name == _DIGEST:
        return "<digest>"
    return VOLATILE if is_volatile(name) and _is_number(value) else normal_value(value, places)


def is_volatile(field: str) -> bool:
    return bool(_FIELDS.search(field))


def without_measured(value: Any) -> Any:
    """Remove measured times: all numbers of a text, fractions and volatile fields of JSON."""
    if isinstance(value, dict):
        return {
            key: VOLATILE if _FIELDS.search(key) or key in _MEASURED else without_measured(other)
            for key, other in value.items()
        }
    if isinstance(value, list):
        return [without_measured(other) for other in value]
    if isinstance(value, str):
        # The advice on what to change first depends on the measured times.
        value = re.sub(r".*of the time: .*", "<advice>", value)
        return re.sub(r" +", " ", re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "<n>", value))
    return "<x>" if isinstance(value, float) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(text: str, places: Mapping[str, str]) -> str:
    return "\n".join(normal_lines(text, places)) if text else text
