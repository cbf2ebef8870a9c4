"""Refuse typed options that have no effect with the other options, and note those of a preset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adamae.errors import UserError
from adamae.flags import Flag

# An option, the option that it needs, the value of the latter without effect, and what is expected instead.
NEEDS = {
    "sampler_drop_rate": ("sampler_network", "mlp", "another --sampler_network"),
    "frame_oversample": ("frame_selection", "none", "--frame_selection motion"),
    "frame_keep_ratio": ("frame_selection", "none", "--frame_selection motion"),
    "frame_choice": ("frame_selection", "none", "--frame_selection motion"),
    # Fine-tuning has no --crop: it always takes a random resized crop.
    "crop_scale": ("crop", "multi_scale", "--crop random_resized"),
    # Pre-training has no --token_selection: its --keep_ratio is an option of a sampler.
    "keep_ratio": ("token_selection", "none", "another --token_selection"),
}


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


def cause_in_other_option(name: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why an option has no effect and which option is expected instead, by :data:`NEEDS`; None if it has one.

    An option has an effect if the command does not have the one that it needs.

    Args:
        name: Name of the option.
        options: All options of a command by name.
    """
    if name not in NEEDS:
        return None
    other, idle, expected = NEEDS[name]
    return (f"--{other} {idle}", expected) if options.get(other) == idle else None


def _words(option: Flag, value: Any) -> str:
    return " ".join(option.words(value))
