"""Layout of ``--help``: fits the terminal's width and contains all names of an option."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from typing import Any

from adamae.flags import SWITCH

# Longer lines are hard to read even on a wide terminal.
_WIDEST = 118
_EXAMPLES = "examples:\n"


def help_width() -> int:
    """Return the maximum width of the help text: that of the terminal (``COLUMNS``), or 80 without one."""
    return min(shutil.get_terminal_size().columns, _WIDEST)


def example_text(examples: Sequence[str]) -> str | None:
    """Format complete command lines as the end of a help text; None without any."""
    return _EXAMPLES + "\n".join(examples) if examples else None


def folded(command: str, width: int, indent: str = "  ") -> str:
    """Wrap a command line to several lines, broken before options and joined by backslashes."""
    parts: list[str] = []
    for word in command.split():
        # A value stays on the line of its option.
        if parts and parts[-1].startswith("-") and not word.startswith("-"):
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    return " \\\n".join(_lines(parts, width - len(" \\"), indent, indent + "    "))


def _lines(parts: Sequence[str], width: int, first: str, others: str) -> list[str]:
    """Join parts, without breaking them, to lines that begin with ``first`` and then with ``others``."""
    lines = [first + parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(others + part)
    return lines


class HelpLayout(argparse.HelpFormatter):
    """Help formatter that writes switches as they are typed, and short names beside long ones."""

    def __init__(self, prog: str) -> None:
        width = help_width()
        super().__init__(prog, max_help_position=34 if width > 100 else 26, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if not text.startswith(_EXAMPLES):
            return super()._fill_text(text, width, indent)
        lines = text.removeprefix(_EXAMPLES).splitlines()
        return _EXAMPLES + "\n".join(folded(line, width) for line in lines)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        first, *others = action.option_strings
        if action.metavar == SWITCH:
            return f"{first}, --no_{first[2:]}"
        short = [name for name in others if not name.startswith("--")]
        return ", ".join([*short, f"{first} {_values(action)}"])

    def _format_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any) -> str:
        places = [str(action.metavar) for action in actions if not action.option_strings]
        named = [action for action in actions if action.option_strings and action.nargs != 0]
        needed = [_shortest(action) for action in named if action.required]
        short = [f"[{_shortest(action)}]" for action in named if not action.required and _has_short_name(action)]
        start = f"usage: {self._prog} "
        parts = [*places, *needed, *short, "[--option value ...]"]
        return "\n".join(_lines(parts, self._width, start, " " * len(start))) + "\n\n"


def _has_short_name(action: argparse.Action) -> bool:
    return any(not name.startswith("--") for name in action.option_strings)


def _shortest(action: argparse.Action) -> str:
    return f"{min(action.option_strings, key=len)} {_values(action)}"


def _values(action: argparse.Action) -> str:
    return " ".join([str(action.metavar)] * (action.nargs if isinstance(action.nargs, int) else 1))
