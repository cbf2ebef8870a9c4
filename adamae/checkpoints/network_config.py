"""The config of a network that is stored beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from adamae.checkpoints.constants import Constants
from adamae.checkpoints.formats import CheckpointFile
from adamae.models import Classifier, Pretrainer
from adamae.models.families import family_of


def describe_network(model: nn.Module, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config to store beside the weights, from which the network can be built again.

    A run writes it as ``meta["model"]`` of its checkpoints. Converted files store it in their metadata.

    Args:
        model: The network.
        options: Arguments of its constructor (``Pretrainer`` or ``Classifier``); plain values.

    Returns:
        JSON values: ``{"options": {...}}``, ``"constants"`` if they differ from the official code, and ``"family"`` if
        the network is not a plain ViT.
    """
    family = family_of(model).name if isinstance(model, Pretrainer | Classifier) else "vit"
    return _config(options, Constants.of_model(model), family)


def describe_stored_network(file: CheckpointFile) -> dict[str, Any]:
    """Return the same config for the network of a file, as stored in it or inferred from its shapes.

    Guessed values are left out. The config also has ``"class_names"`` if they are known.
    """
    options = file.architecture.options()
    if "heads" in file.architecture.guessed:
        options = {name: value for name, value in options.items() if not name.endswith("num_heads")}
    for fact, name in (("frames", "num_frames"), ("size", "img_size")):
        if fact in file.architecture.guessed:
            options.pop(name, None)
    config = _config(options, file.constants, file.architecture.family)
    return {**config, "class_names": list(file.class_names)} if file.class_names else config


def _config(options: Mapping[str, Any], constants: Constants, family: str) -> dict[str, Any]:
    changed = constants.as_config()
    return {
        "options": dict(options),
        **({"constants": changed} if changed else {}),
        **({} if family == "vit" else {"family": family}),
    }
