"""Options of the clip and of token selection that have no effect with another option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamae.flags import OptionGroup, flags_of
from adamae.options.without_effect import NEEDS, cause_in_other_option, refuse_without_effect


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
    candidates = [option for group in groups for option in flags_of(group) if option.name in NEEDS]
    return refuse_without_effect(candidates, options, preset, lambda name: cause_in_other_option(name, options))
