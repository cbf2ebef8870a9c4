"""Options of earlier versions that were removed because they were not shown to help: docs/TABLE1.md.

Runs and checkpoints of these versions name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# The value with which an option did nothing, by name.
REMOVED: Mapping[str, Any] = MappingProxyType(
    {"sampling_advantage": False, "sampler_temperature": 1.0, "sampler_uniform_fraction": 0.0}
)
# A value that an option no longer has, by name.
REMOVED_VALUES: Mapping[str, Any] = MappingProxyType({"sampling_reward": "neighbours"})


def without_removed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by name without those that were removed, whatever their value, and without removed values.

    They changed which tokens were drawn or how the sampler was trained, not the shapes of a network's weights.
    """
    gone = {name for name, value in options.items() if name in REMOVED or REMOVED_VALUES.get(name, ...) == value}
    return {name: value for name, value in options.items() if name not in gone}


def notes_on_removed(options: Mapping[str, Any]) -> list[str]:
    """Return a note for each removed option that had an effect when a network was trained."""
    used = [name for name, idle in REMOVED.items() if options.get(name, idle) != idle]
    used += [name for name, value in REMOVED_VALUES.items() if options.get(name) == value]
    return [
        f"trained with {name} {str(options[name]).lower()}, which was removed: it has no effect any more"
        for name in used
    ]


def without_idle(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by name without those that were removed and did nothing at their value."""
    return {name: value for name, value in options.items() if name not in REMOVED or value != REMOVED[name]}
