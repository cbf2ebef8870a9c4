"""Refuse typed options that have no effect with the other options, and note those of a preset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adamae.errors import UserError
from adamae.flags import Flag


def refuse_without_effect(
    candidates: Iterable[Flag],
    options: Mapping[str, Any],
    preset: Mapping[str, Any],
    cause: Callable[[str], tuple[str, str] | None],
) -> list[str]:
    """Refuse typed options without effect. Values of a preset are noted instead, and defaults are accepted.

    Args:
        candidates: Options that may have no effect.
        options: All options of a command by name.
        preset: The options according to the presets alone; empty for the defaults.
        cause: Called with the name of an option that differs from the default. It returns why the option has no effect
            and which option is expected instead; None if it has an effect.

    Returns:
        Notes on the preset's values that have no effect, one for each cause.

    Raises:
        UserError: If a typed option has no effect.
    """
    unused: dict[str, list[str]] = {}
    for option in candidates:
        value = options[option.name]
        found = None if value == option.default else cause(option.name)
        if found is None:
            continue
        with_what, expected = found
        shown = f"{option.name} {_words(option, value)}"
        if value != preset.get(option.name, option.default):
            raise UserError(
                f"--{shown} has no effect with {with_what}: expected {expected}, or the default, "
                f"{_words(option, option.default)}"
            )
        unused.setdefault(with_what, []).append(shown)
    return [f"no effect with {with_what}: {', '.join(shown)}" for with_what, shown in unused.items()]


def _words(option: Flag, value: Any) -> str:
    return " ".join(option.words(value))
