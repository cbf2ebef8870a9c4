"""Maps parameter names between our module tree and the official state dict.

Our models are composed of parts, and the sampler is one of them. In published checkpoints the sampler's parameters are
inside the encoder, and those of a classifier's encoder have no prefix. Our state dicts use the official names, so
checkpoints of the official code load here and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import nn

# (prefix in the module tree, prefix in the state dict); the first match is used.
Prefixes = Sequence[tuple[str, str]]


def reference_name(model: nn.Module, name: str) -> str:
    """Return the official name of a parameter in ``model``'s module tree."""
    for ours, theirs in _prefixes(model):
        if name.startswith(ours):
            return theirs + name[len(ours) :]
    return name


def module_name(model: nn.Module, name: str) -> str:
    """Return the name in ``model``'s module tree of an official name: the inverse of :func:`reference_name`."""
    parts = {name for name, _ in (*model.named_children(), *model.named_parameters(recurse=False))}
    for ours, theirs in _prefixes(model):
        # Official names without a prefix match if they do not start with the name of another part.
        if name.startswith(theirs) and (theirs or name.partition(".")[0] not in parts):
            return ours + name[len(theirs) :]
    return name


def reference_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield all parameters with their official names, which are those of the state dict."""
    return ((reference_name(model, name), parameter) for name, parameter in model.named_parameters())


def adopt_reference_names(model: nn.Module, prefixes: Prefixes) -> None:
    """Make ``state_dict`` and ``load_state_dict`` of ``model`` use the official names.

    Args:
        model: A network whose names have not been adopted yet.
        prefixes: (prefix in the module tree, prefix in the state dict); an empty prefix must be last.
    """
    model.reference_prefixes = tuple(prefixes)  # type: ignore[assignment]
    model.register_state_dict_post_hook(_write_reference_names)
    model.register_load_state_dict_pre_hook(_read_reference_names)


def _prefixes(model: nn.Module) -> Prefixes:
    prefixes: Prefixes = getattr(model, "reference_prefixes", ())
    return prefixes


def _write_reference_names(model: nn.Module, state: dict[str, Any], prefix: str, __: dict[str, Any]) -> None:
    _rename(state, prefix, partial(reference_name, model))


def _read_reference_names(model: nn.Module, state: dict[str, Any], prefix: str, *__: object) -> None:
    _rename(state, prefix, partial(module_name, model))


def _rename(state: dict[str, Any], prefix: str, translate: Callable[[str], str]) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        # Move every key, renamed or not, to keep the order.
        value = state.pop(key)
        state[prefix + translate(key[len(prefix) :])] = value
