"""Activation checkpointing changes nothing but memory and time: losses and gradients are equal to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adamae.benchmark.activation_memory import activation_memory, count_kept_bytes
from adamae.errors import UserError
from adamae.models import Pretrainer, create_model, vit_classifier, vit_pretrainer
from tests.models.test_pretrainer import TINY, clips

CLASSIFIER: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "embed_dim": 32,
    "depth": 3,
    "num_heads": 2,
    "num_classes": 3,
}


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {"sampler_drop_rate": 0.5, "drop_path_rate": 0.4, "init_values": 0.1},
        {"sampler_network": "mlp", "reconstruction_loss": "l1", "detach_sampler_input": False},
        {"mask_type": "tube", "normalize_target": False, "decoder_depth": 3},
        {"sampler_dim": 16, "sampler_depth": 2, "decoder_budget": 0.5, "sampling_reduction": "sum"},
        {"candidate_frames": 8, "mask_type": "motion", "keep_ratio": 0.7},
    ],
    ids=lambda options: "-".join(options),
)
@pytest.mark.parametrize("parts", ["decoder", "all"])
def test_losses_and_gradients_are_equal_to_the_last_bit(
    parts: Any, options: dict[str, Any], precision: torch.dtype
) -> None:
    model = vit_pretrainer(**{**TINY, **options}).train()
    video, seeds = clips(3, frames=options.get("candidate_frames", 4)), torch.tensor([1, 2, 3])

    def step() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            losses = model(video, seeds=seeds, diagnose=True).losses
        return {name: value.detach() for name, value in losses.items()}, gradients(model, losses["loss"])

    losses, before = step()
    model.checkpoint_activations(parts)
    again, after = step()
    assert losses.keys() == again.keys() and before.keys() == after.keys()
    assert all(torch.equal(losses[name], again[name]) for name in losses)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_a_classifier_with_dropout_of_torchs_generator_does_the_same() -> None:
    model = vit_classifier(**CLASSIFIER, drop_rate=0.3, attn_drop_rate=0.3, drop_path_rate=0.4).train()
    video, seeds = clips(2), torch.tensor([8, 9])

    def step() -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
        torch.manual_seed(4)
        kept = count_kept_bytes(lambda: model(video, seeds=seeds), [video, *model.parameters()])
        torch.manual_seed(4)
        logits = model(video, seeds=seeds)
        return logits.detach(), gradients(model, logits.square().sum()), kept

    logits, before, kept = step()
    model.checkpoint_activations("all")
    again, after, kept_then = step()
    assert torch.equal(logits, again)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert kept_then < kept / 3


def test_a_classifier_has_no_decoder_to_spare() -> None:
    with pytest.raises(UserError, match="checkpoint_activations = 'decoder': a classifier has no decoder"):
        vit_classifier(**CLASSIFIER).checkpoint_activations("decoder")


def test_each_choice_keeps_less_than_the_one_before() -> None:
    model = vit_pretrainer(**{**TINY, "encoder_depth": 6, "decoder_depth": 4}).train()
    kept = []
    for parts in ("none", "decoder", "all"):
        model.checkpoint_activations(parts)
        kept.append(activation_memory(model).per_clip)
    assert kept[0] > kept[1] > kept[2] > 0


@pytest.mark.parametrize("size", ["large", "huge"])
def test_large_and_huge_train_with_everything_checkpointed(size: str) -> None:
    """Real widths and heads, few blocks and tokens: a whole one is a matter of more memory only."""
    options: dict[str, Any] = {"img_size": 32, "num_frames": 4, "mask_ratio": 0.5}
    model = create_model(f"adamae_{size}", encoder_depth=2, decoder_depth=1, **options).train()
    assert isinstance(model, Pretrainer)
    model.checkpoint_activations("all")
    loss = model(clips(1), seeds=torch.tensor([1])).losses["loss"]
    loss.backward()
    assert bool(loss.isfinite())
    assert all(parameter.grad is not None for parameter in model.parameters())
