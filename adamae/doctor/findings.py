"""Findings of the checks, and their output as text and JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_NAME_WIDTH = 14
_WIDTH = 110


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        name: Name of the check.
        value: What was found, in one line.
        change: What must be changed before a run; empty for nothing.
        note: What would make runs faster or safer; empty for nothing.
    """

    name: str
    value: str
    change: str = ""
    note: str = ""

    @property
    def status(self) -> str:
        """One of "ok", "note" and "change"."""
        return "change" if self.change else "note" if self.note else "ok"


def render(findings: Sequence[Finding]) -> str:
    """Return the findings as text: one line each, then what to change and what to consider."""
    mark = {"ok": " ", "note": "-", "change": "!"}
    lines = [_folded(f"{mark[each.status]} {each.name:<{_NAME_WIDTH}}", each.value) for each in findings]
    for title, advice in (
        ("Must be changed:", [(each.name, each.change) for each in findings if each.change]),
        ("Consider:", [(each.name, each.note) for each in findings if each.note]),
    ):
        if advice:
            lines += ["", title, *(_folded(f"  {name:<{_NAME_WIDTH}}", text) for name, text in advice)]
    if all(each.status == "ok" for each in findings):
        lines += ["", "Nothing to change."]
    return "\n".join(lines)


def as_dicts(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the findings as JSON values."""
    return [{**asdict(each), "status": each.status} for each in findings]


def must_change(findings: Sequence[Finding]) -> bool:
    """Return whether anything must be changed."""
    return any(each.change for each in findings)


def _folded(head: str, text: str) -> str:
    return textwrap.fill(head + text, _WIDTH, subsequent_indent=" " * len(head), break_on_hyphens=False)
