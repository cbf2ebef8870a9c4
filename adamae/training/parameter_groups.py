"""Parameter groups with a common learning rate and weight decay, as in the official optimisers."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from torch import nn

from adamae.models.naming import reference_parameters
from adamae.models.weight_decay import TOKENS_AND_POSITIONS, decays

Group = dict[str, Any]


def layer_of(name: str, depth: int, first: Container[str] = TOKENS_AND_POSITIONS) -> int:
    """Return the layer of a classifier's parameter: 0 for the input, i + 1 for block i, depth + 1 after the blocks.

    Args:
        name: Official name of the parameter.
        depth: Number of blocks.
        first: Names that belong to the input in addition to those of ``patch_embed``.
    """
    if name in first or name.startswith("patch_embed."):
        return 0
    block = re.match(r"blocks\.(\d+)\.", name)
    return int(block[1]) + 1 if block else depth + 1


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    layer_decay: float = 1.0,
    depth: int = 0,
    first: Container[str] = TOKENS_AND_POSITIONS,
) -> list[Group]:
    """Group trainable parameters; groups are in order of first occurrence.

    Args:
        model: A pre-train model or a classifier; its parameters are matched by their official names.
        weight_decay: Weight decay of the parameters to which it applies, see :func:`decays`; 0 for the others.
        layer_decay: Ratio of a layer's learning rate to that of the next layer; 1 for pre-training.
        depth: Blocks of the encoder; only needed for ``layer_decay`` below 1.
        first: See :func:`layer_of`.

    Returns:
        Groups for a torch optimiser: ``params``, their official ``names``, ``weight_decay``, ``lr_scale``, and
        ``decays``, whether a weight decay schedule applies to the group.
    """
    groups: dict[tuple[int, bool], Group] = {}
    for name, parameter in reference_parameters(model):
        if not parameter.requires_grad:
            continue
        layer = depth + 1 if layer_decay == 1.0 else layer_of(name, depth, first)
        decayed = decays(name, parameter)
        if (layer, decayed) not in groups:
            groups[layer, decayed] = {
                "params": [],
                "names": [],
                "weight_decay": weight_decay if decayed else 0.0,
                "lr_scale": layer_decay ** (depth + 1 - layer),
                "decays": decayed,
            }
        groups[layer, decayed]["params"].append(parameter)
        groups[layer, decayed]["names"].append(name)
    return list(groups.values())
