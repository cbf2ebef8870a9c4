"""Tables of options in the guides: ``python scripts/option_tables.py PRETRAIN.md`` updates them.

A table is between ``<!-- options: module.Group -->``, with a module of ``adamae.options``, and
``<!-- end of options -->``.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import MISSING
from pathlib import Path

from adamae.flags import Flag, OptionGroup, flags_of

_BLOCK = re.compile(r"(<!-- options: (\w+)\.(\w+) -->\n).*?(<!-- end of options -->)", re.DOTALL)


def table(group: type[OptionGroup]) -> str:
    """Return a Markdown table of a group's options."""
    rows = ["| option | default | what it does |", "|---|---|---|"]
    rows += [_row(option) for option in flags_of(group)]
    return "\n".join(rows) + "\n"


def renew(text: str) -> str:
    """Return the text of a guide with updated tables.

    Raises:
        AttributeError, ImportError: If the group of a table does not exist.
    """

    def written(block: re.Match[str]) -> str:
        group = getattr(importlib.import_module(f"adamae.options.{block[2]}"), block[3])
        return f"{block[1]}{table(group)}{block[4]}"

    return _BLOCK.sub(written, text)


def _row(option: Flag) -> str:
    return f"| {_spelling(option)} | {_default(option)} | {_escaped(option.metadata['text'])} |"


def _spelling(option: Flag) -> str:
    if option.kind is bool:
        return f"`--{option.name}` `--no_{option.name}`"
    return f"`--{option.name}` {_escaped(option.metavar)}"


def _default(option: Flag) -> str:
    return "" if option.default is MISSING else f"`{' '.join(option.words(option.default))}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(renew(path.read_text(encoding="utf-8")), encoding="utf-8")
