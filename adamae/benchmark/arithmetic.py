"""How much a network computes: multiply-adds of a forward pass, counted and not timed."""

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
    """What a pre-train model computes, beside tube masks and beside fine-tuning its encoder.

    Args:
        name: Of the pre-train model.
        **options: Arguments of its constructor.

    Returns:
        Multiply-adds of one clip's forward pass: :data:`THIS`, :data:`TUBE`, :data:`ALL_TOKENS`, :data:`MOTION`; those
        that this clip admits.
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
        with torch.device("meta"):
            try:
                counts[contender] = count_multiply_adds(build())
            except UserError:
                # On a clip of few tokens there may be no such masks, and nothing that moves.
                continue
    return counts


def finetuned(name: str, **options: Any) -> Classifier:
    """The classifier without a head that fine-tuning makes of a pre-train model.

    Args:
        name: Of the pre-train model.
        **options: Arguments of its constructor.
    """
    model = create_model(name, **options)
    assert isinstance(model, Pretrainer)
    if "visible" in model.encoder.takes:
        return encoder_alone(model)
    # A pyramid's windows and pools are larger where it takes all tokens.
    config = {"options": {**named_model(name).arguments, **options}}
    arguments = infer_architecture(model.state_dict(), config=config).classifier_options()
    return family_of(model).classifier(**{**arguments, "num_classes": 0})


def encoder_alone(model: Any, token_selection: str = "none", keep_ratio: float = 1.0) -> Classifier:
    """A classifier without a head around a pre-train model's encoder."""
    encoder = model.encoder
    chosen = TokenChoice(token_selection, keep_ratio, encoder.grid, encoder.patch_embed.embed_dim)
    return Classifier(encoder, token_choice=chosen)


def count_multiply_adds(model: Pretrainer | Classifier) -> int:
    """Multiply-adds of the matrix products in one clip's forward pass; see :func:`count_by_kind`."""
    return sum(count_by_kind(model).values())


def count_by_kind(model: Pretrainer | Classifier) -> dict[str, int]:
    """Multiply-adds of the matrix products in one clip's forward pass.

    The network runs as it is, on tensors without values: what is counted is what it does and not what a formula says.
    Sums, norms and activations are left out, as in the papers' tables. Those count more for the same masks, because the
    official code embeds patches and decodes tokens that nothing reads.

    Args:
        model: On the meta device (build it under ``torch.device("meta")``).

    Returns:
        "attention": products of tokens with tokens, which grow with the square of their number; "linear": all others.
    """
    frames, height, width = model.frame_choice.candidates.clip_shape
    channels = model.pixel_values.mean.numel()
    clip = torch.empty(1, frames, height, width, channels, dtype=torch.uint8, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(clip, seeds=torch.empty(1, dtype=torch.int64, device="meta"))
    # On this device attention is spelled out as products of batches of matrices; nothing else is.
    counts = {"linear": 0, "attention": 0}
    for operator, operations in counter.get_flop_counts()["Global"].items():
        # A multiply-add is two operations.
        counts["attention" if "bmm" in str(operator) or "attention" in str(operator) else "linear"] += operations // 2
    return counts
