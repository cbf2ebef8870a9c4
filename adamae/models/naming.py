"""Names of the parameters: ours and the published ones.

Our sampler is a room of its own. In published checkpoints its parameters lie inside the encoder. The state dict
speaks the published language, so files of either side load in the other.
"""

from __future__ import annotations

from typing import Any

from torch import nn

# (prefix in the module tree, prefix in the state dict)
REFERENCE_PREFIXES = (
    ("sampler.position", "encoder.pos_embed_probs"),
    ("sampler.network.", "encoder.get_token_probs."),
    ("sampler.reduce.", "encoder.reduce_token_probs."),
    # A classifier that lets a learned sampler choose its tokens; its encoder's names have no prefix.
    ("token_choice.sampler.position", "pos_embed_probs"),
    ("token_choice.sampler.network.", "get_token_probs."),
    ("token_choice.sampler.reduce.", "reduce_token_probs."),
)


def reference_name(name: str) -> str:
    """The published name of a parameter of the module tree."""
    for ours, theirs in REFERENCE_PREFIXES:
        if name.startswith(ours):
            return theirs + name[len(ours) :]
    return name


def module_name(name: str) -> str:
    """The name in the module tree of a published parameter: the inverse of :func:`reference_name`."""
    for ours, theirs in REFERENCE_PREFIXES:
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    return name


def adopt_reference_names(model: nn.Module) -> None:
    """Make ``model``'s state dict speak the published names, when it is written and when it is read."""
    model.register_state_dict_post_hook(_write_reference_names)
    model.register_load_state_dict_pre_hook(_read_reference_names)


def _write_reference_names(_: nn.Module, state: dict[str, Any], prefix: str, __: dict[str, Any]) -> None:
    _rename(state, prefix, reference_name)


def _read_reference_names(_: nn.Module, state: dict[str, Any], prefix: str, *__: object) -> None:
    _rename(state, prefix, module_name)


def _rename(state: dict[str, Any], prefix: str, translate: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        renamed = prefix + translate(key[len(prefix) :])
        if renamed != key:
            state[renamed] = state.pop(key)
