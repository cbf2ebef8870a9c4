"""Options of the clip and of token selection that have no effect with another option."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adamae.flags import Flag, OptionGroup, flags_of
from adamae.options.without_effect import refuse_without_effect

# An option, the option that it needs, the value of the latter without effect, and what is expected instead.
_NEEDS = {
    "frame_oversample": ("frame_selection", "none", "--frame_selection motion"),
    "frame_keep_ratio": ("frame_selection", "none", "--frame_selection motion"),
    "frame_choice": ("frame_selection", "none", "--frame_selection motion"),
    "crop_scale": ("crop", "multi_scale", "--crop random_resized"),
    "keep_ratio": ("token_selection", "none", "another --token_selection"),
}


def check_clip(options: Mapping[str, Any], preset: Mapping[str, Any], *groups: type[OptionGroup]) -> list[str]:
    """Refuse typed options of frame selection, crop and token selection that have no effect.

    Args:
        options: The options of a command by name.
        preset: The options according to the presets alone; empty for the defaults.
        *groups: Classes of the groups that are checked.

    Returns:
        Notes on the preset's values that have no effect, one for each option that is the cause.

    Raises:
        UserError: If a typed option has no effect.
    """
    return refuse_without_effect(_candidates(groups), options, preset, lambda name: _cause(name, options))


def _candidates(groups: Iterable[type[OptionGroup]]) -> list[Flag]:
    return [option for group in groups for option in flags_of(group) if option.name in _NEEDS]


def _cause(name: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why an option has no effect and which option is expected instead; None if it has an effect."""
    other, idle, expected = _NEEDS[name]
    # Fine-tuning has no --crop: it always takes a random resized crop.
    return (f"--{other} {idle}", expected) if options.get(other) == idle else None
