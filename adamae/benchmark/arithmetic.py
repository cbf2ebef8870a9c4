"""MACs of a network's forward pass, counted and not timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from adamae.checkpoints.inference import infer_architecture
from adamae.errors import UserError
from adamae.models import Classifier, Pretrainer, create_model
from adamae.models.families import family_of
from adamae.models.registry import named_model
from adamae.samplers import builtin
from adamae.samplers.token_choice import TokenChoice

THIS, TUBE = "this pre-training", f"{builtin.TUBE.label} masks at 90 %"
ALL_TOKENS, MOTION = "fine-tuning with all tokens", "fine-tuning with 60 % by motion"


def compare_multiply_adds(name: str, **options: Any) -> dict[str, int]:
    """Compare the MACs of a pre-train model, of the model with tube masks, and of fine-tuning its encoder.

    Args:
        name: Name of the pre-train model.
        **options: Arguments of its constructor.

    Returns:
        MACs of one clip's forward pass: :data:`THIS`, :data:`TUBE`, :data:`ALL_TOKENS`, :data:`MOTION`, as far as the
        clip supports them.
    """
    plain = {**options, "candidate_frames": None}
    contenders: dict[str, Callable[[], Any]] = {
        THIS: lambda: create_model(name, **options),
        TUBE: lambda: create_model(name, **{**plain, "mask_type": builtin.TUBE.name, "mask_ratio": 0.9}),
        ALL_TOKENS: lambda: finetuned(name, **plain),
        MOTION: lambda: encoder_alone(create_model(name, **plain), token_selection="motion", keep_ratio=0.6),
    }
    counts = {}
    for contender, build in contenders.items():
        try:
            with torch.device("meta"):
                model = build()
        except UserError:
            # A clip with few tokens may not support such masks or token selection.
            continue
        # Outside of the context, in which torch 2.6 cannot import what einops needs at its first use.
        counts[contender] = count_multiply_adds(model)
    return counts


def finetuned(name: str, **options: Any) -> Classifier:
    """Build the classifier without a head to which fine-tuning converts a pre-train model.

    Args:
        name: Name of the pre-train model.
        **options: Arguments of its constructor.
    """
    model = create_model(name, **options)
    assert isinstance(model, Pretrainer)
    if "visible" in model.encoder.takes:
        return encoder_alone(model)
    # Windows and pooling of a hierarchical encoder are larger if it encodes all tokens.
    config = {"options": {**named_model(name).arguments, **options}}
    arguments = infer_architecture(model.state_dict(), config=config).classifier_options()
    return family_of(model).classifier(**{**arguments, "num_classes": 0})


def encoder_alone(model: Any, token_selection: str = "none", keep_ratio: float = 1.0) -> Classifier:
    """Build a classifier without a head around a pre-train model's encoder."""
    encoder = model.encoder
    chosen = TokenChoice(token_selection, keep_ratio, encoder.grid, encoder.patch_embed.embed_dim)
    return Classifier(encoder, token_choice=chosen)


def count_multiply_adds(model: Pretrainer | Classifier) -> int:
    """Return the MACs of the matrix products in one clip's forward pass; see :func:`count_by_kind`."""
    return sum(count_by_kind(model).values())


def count_by_kind(model: Pretrainer | Classifier) -> dict[str, int]:
    """Count the MACs of the matrix products in one clip's forward pass.

    The network is run on tensors without values, so the count is of what it computes and not from a formula. Sums,
    norms and activations are not counted, as in the papers' tables. The papers' counts are higher for the same masks,
    because the official code also embeds patches and decodes tokens that are not used.

    Args:
        model: The model, on the meta device (build it under ``torch.device("meta")``).

    Returns:
        "attention": products of tokens with tokens, quadratic in their number; "linear": all others.
    """
    clip = torch.empty(1, *model.clip_shape, dtype=torch.uint8, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(clip, seeds=torch.empty(1, dtype=torch.int64, device="meta"))
    # On the meta device attention is computed as batched matrix products, and nothing else is.
    counts = {"linear": 0, "attention": 0}
    for operator, operations in counter.get_flop_counts()["Global"].items():
        # One MAC is two operations.
        counts["attention" if "bmm" in str(operator) or "attention" in str(operator) else "linear"] += operations // 2
    return counts
