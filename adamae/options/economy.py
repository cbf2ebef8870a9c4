"""The values of ``--economy``, a cheaper sampler and a decoder budget, and of the full mode."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from adamae.flags import LARGEST_WIDTH
from adamae.samplers import DEFAULT, SAMPLERS, declared


def economy_arguments(embed_dim: int, mask_type: str = DEFAULT) -> dict[str, Any]:
    """Return arguments of a pre-train model that make a step cheaper.

    They reduce the cost of parts that process all tokens: the decoder reconstructs half of the masked tokens, the
    adaptive sampler has half the width, and its dropout is off, which saves the two matrix products that dropout after
    its last MLP requires (see :mod:`adamae.samplers.scored_mlp`). docs/benchmarks has measurements of their effect.

    Args:
        embed_dim: Width of the encoder.
        mask_type: Name of the sampler.

    Raises:
        UserError: If the sampler is unknown.
    """
    sampler = declared(mask_type).economy
    return {"decoder_budget": 0.5, **(sampler(embed_dim) if sampler else {})}


def full_arguments(mask_type: str) -> dict[str, Any]:
    """Return the decoder budget and the samplers' options without ``--economy``.

    Defaults of the sampler ``mask_type`` come first. Options of others have no effect.

    Raises:
        UserError: If the sampler is unknown.
    """
    usual: dict[str, Any] = {"decoder_budget": 1.0}
    for each in (declared(mask_type), *SAMPLERS.values()):
        usual = each.sampler_class.keywords() | usual
    return usual


def change_mode(
    before: Mapping[str, Any], after: Mapping[str, Any], given: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """Separate the values of a preset from those that its mode had set, if ``--economy`` is switched on or off.

    A run's ``options.yaml`` contains both. With the values of the other mode, the run would be of neither mode.

    Args:
        before: The options by name according to the presets.
        after: The options with those that are given in addition.
        given: Names of the options that are given in addition.

    Returns:
        Options to reset to none, so that the new mode sets them, and notes on values of the preset that are kept.
    """
    if before["economy"] == after["economy"]:
        return {}, []
    reset: dict[str, Any] = {}
    kept = []
    for name in economy_arguments(1, before["mask_type"]) | economy_arguments(1, after["mask_type"]):
        if name in given or after.get(name) is None:
            continue
        if _is_set_by_mode(name, before):
            reset[name] = None
        else:
            kept.append(f"{name} {after[name]}")
    switch = "--economy" if after["economy"] else "--no_economy"
    return reset, [f"{switch}: kept from the recipe: {', '.join(kept)}"] if kept else []


def _is_set_by_mode(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an option has the value that its mode sets; for widths that only the model knows, a possible value."""
    mask_type, width = options["mask_type"], options["encoder_embed_dim"]
    full = full_arguments(mask_type).get(name)
    if not options["economy"]:
        return bool(options[name] == full)
    # For a pyramid, the width of the first stage.
    width = width[0] if isinstance(width, tuple) else width
    widths = range(1, LARGEST_WIDTH + 1) if width is None else (width,)
    return any(options[name] == economy_arguments(each, mask_type).get(name, full) for each in widths)
