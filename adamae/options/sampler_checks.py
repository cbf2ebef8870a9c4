"""Options that have no effect with the mask type or the sampler network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adamae.flags import flags_of
from adamae.options.groups import LossOptions, SamplerOptions
from adamae.options.without_effect import cause_in_other_option, refuse_without_effect
from adamae.samplers import SAMPLERS

_OPTIONS = (*flags_of(SamplerOptions), *flags_of(LossOptions))
# Options of the sampling loss, among those of the losses.
_OF_SAMPLING = tuple(option.name for option in flags_of(LossOptions) if option.name.startswith("sampling_"))


def check_mask_type(options: Mapping[str, Any], preset: Mapping[str, Any], *more: str) -> list[str]:
    """Refuse typed options that have no effect with the mask type, or with the sampler network.

    Values of a preset are not refused, so that ``--mask_type`` can replace the preset's. Defaults never are.

    Args:
        options: The options of a command by name, including those of a sampler and of the losses.
        preset: The options according to the presets alone; empty for the defaults.
        *more: Other mask types that the command uses as well.

    Returns:
        Notes on the preset's values that have no effect, one for each option that is the cause.

    Raises:
        UserError: If a typed option has no effect.
    """
    # The samplers import torch, so they are inspected only for options that differ from the default.
    return refuse_without_effect(_OPTIONS, options, preset, lambda name: _cause(name, options, more))


def _cause(name: str, options: Mapping[str, Any], more: Sequence[str]) -> tuple[str, str] | None:
    """Return why an option has no effect and which option is expected instead; None if it has an effect."""
    mask_types = (options["mask_type"], *more)
    users, defaults = _users(name)
    if options[name] in defaults or not users:
        return None
    if users.isdisjoint(mask_types):
        known = " or ".join(each for each in SAMPLERS if each in users)
        return f"--mask_type {mask_types[0]}", f"--mask_type {known}"
    return cause_in_other_option(name, options)


def _users(name: str) -> tuple[set[str], list[Any]]:
    """Return the mask types that use an option, empty if it is not a sampler option, and its defaults there."""
    if name in _OF_SAMPLING:
        return {each.name for each in SAMPLERS.values() if each.sampler_class.learns}, []
    keywords = {each.name: each.sampler_class.keywords() for each in SAMPLERS.values()}
    defaults = {mask_type: known[name] for mask_type, known in keywords.items() if name in known}
    return set(defaults), list(defaults.values())
