"""Parameters to which weight decay applies, as in the official optimisers."""

from __future__ import annotations

from torch import Tensor, nn

from adamae.models.naming import reference_name

# Official names.
TOKENS_AND_POSITIONS = (
    *("pos_embed", "cls_token", "mask_token"),
    # mae_st's separable position embeddings
    *("pos_embed_spatial", "pos_embed_temporal", "pos_embed_class"),
)


def decays(name: str, parameter: Tensor) -> bool:
    """Return whether weight decay applies: not to vectors, biases, class and mask tokens and position embeddings.

    As in the official runs, it applies to the sampler's learned positions (``pos_embed_probs``) and to the mask token
    of secondary masks (``vis_mask_token``).
    """
    return parameter.ndim > 1 and not name.endswith(".bias") and name not in TOKENS_AND_POSITIONS


def names_without_decay(model: nn.Module) -> set[str]:
    """Return the names, in the module tree, of class and mask tokens and position embeddings without weight decay."""
    return {name for name, _ in model.named_parameters() if reference_name(model, name) in TOKENS_AND_POSITIONS}
