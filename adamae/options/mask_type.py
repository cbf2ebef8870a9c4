"""Options that have no effect with the mask type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamae.errors import UserError
from adamae.flags import Flag, flags_of
from adamae.options.groups import LossOptions, SamplerOptions
from adamae.samplers import SAMPLERS

_OPTIONS = (*flags_of(SamplerOptions), *flags_of(LossOptions))
# Options of the sampling loss, among those of the losses.
_OF_SAMPLING = tuple(option.name for option in flags_of(LossOptions) if option.name.startswith("sampling_"))


def check_mask_type(options: Mapping[str, Any], preset: Mapping[str, Any], *more: str) -> list[str]:
    """Refuse typed options that have no effect with the mask type.

    Values of a preset are not refused, so that ``--mask_type`` can replace the preset's. Defaults never are.

    Args:
        options: The options of a command line by name, among them those of a sampler and of the losses.
        preset: Those that its presets alone give; empty: the defaults.
        *more: Other mask types that the command uses as well.

    Returns:
        A note on the preset's values that have no effect, if there are any.

    Raises:
        UserError: If a typed option has no effect.
    """
    mask_types = (options["mask_type"], *more)
    unused = []
    for option in _OPTIONS:
        value = options[option.name]
        # Asked first: who uses an option is known to the samplers, which import torch.
        if value == option.default:
            continue
        users, defaults = _users(option.name)
        if value in defaults or not users or not users.isdisjoint(mask_types):
            continue
        shown = f"{option.name} {_words(option, value)}"
        if value != preset.get(option.name, option.default):
            known = " or ".join(name for name in SAMPLERS if name in users)
            raise UserError(
                f"--{shown} has no effect with --mask_type {mask_types[0]}: expected --mask_type {known}, or the "
                f"default, {_words(option, option.default)}"
            )
        unused.append(shown)
    return [f"no effect with --mask_type {mask_types[0]}: {', '.join(unused)}"] if unused else []


def _users(name: str) -> tuple[set[str], list[Any]]:
    """The mask types that use an option, none if it is not the samplers'; and the samplers' defaults of it."""
    if name in _OF_SAMPLING:
        return {each.name for each in SAMPLERS.values() if each.sampler_class.learns}, []
    keywords = {each.name: each.sampler_class.keywords() for each in SAMPLERS.values()}
    defaults = {mask_type: known[name] for mask_type, known in keywords.items() if name in known}
    return set(defaults), list(defaults.values())


def _words(option: Flag, value: Any) -> str:
    return " ".join(option.words(value))
