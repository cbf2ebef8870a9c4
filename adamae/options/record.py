"""The options file of a run, which can be read with ``--config``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from adamae.flags import flags_of
from adamae.plain_text import one_line

FILE_NAME = "options.yaml"


def flatten(options: Any, *, only_what_changes_the_result: bool = False) -> dict[str, Any]:
    """Return all options of all groups by name, in the order of the groups.

    Args:
        options: A dataclass of option groups.
        only_what_changes_the_result: Leave out options that affect only locations and speed.
    """
    return {
        option.name: getattr(group, option.name)
        for group in (getattr(options, entry.name) for entry in fields(options))
        for option in flags_of(type(group))
        if option.metadata["changes_result"] or not only_what_changes_the_result
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return ``name: before -> after`` for every option that differs."""
    missing = object()
    return [
        f"{name}: {_shown(before.get(name, 'none'))} -> {_shown(after.get(name, 'none'))}"
        for name in {**before, **after}
        if _comparable(before.get(name, missing)) != _comparable(after.get(name, missing))
    ]


def as_yaml(options: Any, comment: str) -> str:
    """Format the options as a preset: a comment per group, then one ``name: value`` per line.

    Args:
        options: A dataclass of option groups.
        comment: First lines of the file.
    """
    # YAML allows few control characters in comments, and bytes that are not UTF-8 cannot be written.
    lines = [f"# {one_line(line)}".rstrip() for line in comment.splitlines()]
    for entry in fields(options):
        group = getattr(options, entry.name)
        lines += ["", f"# {group.heading()}"]
        lines += [f"{option.name}: {_yaml(getattr(group, option.name))}" for option in flags_of(type(group))]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    import yaml

    plain = list(value) if isinstance(value, tuple) else value
    # Floats keep all digits; small ones keep the point without which YAML 1.1 reads a string.
    return yaml.safe_dump(plain, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " ".join(_shown(part) for part in value)
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
