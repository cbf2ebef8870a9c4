"""Which parameters share a learning rate and a weight decay, as the published optimisers have it."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from torch import Tensor, nn

from adamae.models.naming import reference_parameters

Group = dict[str, Any]

_TOKENS_AND_POSITIONS = (
    *("pos_embed", "cls_token", "mask_token"),
    # mae_st's tables in two parts
    *("pos_embed_spatial", "pos_embed_temporal", "pos_embed_class"),
)


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: not to vectors, biases, class and mask tokens and tables of positions.

    The sampler's learned positions (``pos_embed_probs``) are decayed, as in the published runs, and so is the token of
    secondary masks (``vis_mask_token``).
    """
    return parameter.ndim > 1 and not name.endswith(".bias") and name not in _TOKENS_AND_POSITIONS


def layer_of(name: str, depth: int, first: Container[str] = _TOKENS_AND_POSITIONS) -> int:
    """The layer of a classifier's parameter: 0 for the input, i + 1 for block i, depth + 1 for what follows.

    Args:
        name: Its published name.
        depth: Blocks.
        first: Names that belong to the input beside those of ``patch_embed``.
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
    first: Container[str] = _TOKENS_AND_POSITIONS,
) -> list[Group]:
    """Group trainable parameters in the order in which their kinds are first seen.

    Args:
        model: A pre-train model or a classifier; its parameters are judged by their published names.
        weight_decay: Decay of those that :func:`decays` admits; the others get none.
        layer_decay: A layer's learning rate over that of the one above it; 1 for pre-training.
        depth: Blocks of the encoder; needed for ``layer_decay`` below 1 only.
        first: See :func:`layer_of`.

    Returns:
        Groups for a torch optimiser: ``params``, their published ``names``, ``weight_decay``, ``lr_scale``, and
        ``decays``, whether a weight decay that changes during the run concerns the group.
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
