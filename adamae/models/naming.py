"""Maps parameter names between our module tree and the official state dict.

Our models are composed of parts, and the sampler is one of them. In published checkpoints the sampler's parameters are
inside the encoder, and those of a classifier's encoder have no prefix. Our state dicts use the official names, so
checkpoints of the official code load here and the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.module import _IncompatibleKeys

# (prefix in the module tree, prefix in the state dict); the first match is used.
Prefixes = Sequence[tuple[str, str]]
# A complete model of UM-MAE; the encoder's parameters have no prefix.
UM_MAE_NAMES: Prefixes = (
    ("encoder_to_decoder.", "decoder_embed."),
    ("decoder.blocks.", "decoder_blocks."),
    ("decoder.norm.", "decoder_norm."),
    ("decoder.head.", "decoder_pred."),
    ("decoder.positions", "decoder_pos_embed"),
    ("encoder.", ""),
)
# The name in an error message of load_state_dict.
_NAME_IN_ERROR = re.compile(r'(?<=size mismatch for )[^:]+|(?<=parameter named ")[^"]+')


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
    model.register_load_state_dict_post_hook(_report_reference_names)


@contextmanager
def use_module_names(model: nn.Module) -> Iterator[None]:
    """Within this context, ``state_dict`` and ``load_state_dict`` use the names of the module tree.

    For code that looks up the names of a state dict in the module tree, such as
    ``torch.distributed.checkpoint.state_dict`` and programs that use it. What it saves must be loaded in this context.

    Args:
        model: A :class:`~adamae.models.Pretrainer`, a :class:`~adamae.models.Classifier`, or a module with one inside.
    """
    kept = [(module, _prefixes(module)) for module in model.modules() if _prefixes(module)]
    try:
        for module, _ in kept:
            module.reference_prefixes = ()  # type: ignore[assignment]
        yield
    finally:
        for module, prefixes in kept:
            module.reference_prefixes = prefixes  # type: ignore[assignment]


def _prefixes(model: nn.Module) -> Prefixes:
    prefixes: Prefixes = getattr(model, "reference_prefixes", ())
    return prefixes


def _write_reference_names(model: nn.Module, state: dict[str, Any], prefix: str, __: dict[str, Any]) -> None:
    _rename(state, prefix, partial(reference_name, model))


def _read_reference_names(
    model: nn.Module, state: dict[str, Any], prefix: str, _: dict[str, Any], __: bool, *lists: list[str]
) -> None:
    given = _rename(state, prefix, partial(module_name, model))
    # For _report_reference_names, which torch does not tell the prefix and the error messages.
    model._loading = prefix, given, lists[-1]  # type: ignore[assignment]


def _report_reference_names(model: nn.Module, keys: _IncompatibleKeys) -> None:
    """Let missing and unexpected keys and error messages have the names of state dicts, not of the module tree."""
    prefix, given, errors = model.__dict__.pop("_loading")
    keys.missing_keys[:] = [
        prefix + reference_name(model, key[len(prefix) :]) if key.startswith(prefix) else key
        for key in keys.missing_keys
    ]
    keys.unexpected_keys[:] = [given.get(key, key) for key in keys.unexpected_keys]
    errors[:] = [_NAME_IN_ERROR.sub(lambda found: given.get(found[0], found[0]), error) for error in errors]


def _rename(state: dict[str, Any], prefix: str, translate: Callable[[str], str]) -> dict[str, str]:
    """Rename the keys that start with ``prefix``, in place; return the old name of each new one."""
    old_names = {}
    for key in [key for key in state if key.startswith(prefix)]:
        # Move every key, renamed or not, to keep the order.
        value = state.pop(key)
        name = prefix + translate(key[len(prefix) :])
        state[name] = value
        old_names[name] = key
    return old_names
