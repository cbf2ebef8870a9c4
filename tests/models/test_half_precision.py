"""Gradients of half precision are those of full precision, parameter by parameter."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adamae.layers.layer_norm import LayerNorm
from adamae.layers.recomputing_linear import gelu_linear, norm_linear
from adamae.models import Pretrainer, vit_classifier, vit_pretrainer
from tests.models.pyramid.test_encoders import SMALL, small, small_classifier
from tests.models.test_checkpoint_activations import CLASSIFIER
from tests.models.test_pretrainer import TINY, clips

HALF = [torch.bfloat16, torch.float16]
# bf16 has eight bits; a wrong path to a gradient is off by tens of per cent.
TOLERANCE = 0.06
DRAWS = 5
ECONOMY = {"sampler_dim": 16, "sampler_drop_rate": 0.0, "decoder_budget": 0.5}
MODES: dict[str, dict[str, Any]] = {
    "learnable": {},
    "no_sampler_dropout": {"sampler_drop_rate": 0.0},
    "economy": ECONOMY,
    "economy_in_two_blocks": {**ECONOMY, "sampler_depth": 2},
    "mlp": {"sampler_network": "mlp"},
    "taught_tokenizer": {**ECONOMY, "detach_sampler_input": False},
    "decoder_budget": {"decoder_budget": 0.5},
    "layer_scale": {"init_values": 0.3, "drop_path_rate": 0.2},
    "tube": {"mask_type": "tube"},
    "motion": {"mask_type": "motion", "keep_ratio": 0.7, "candidate_frames": 8},
}


def fresh_seed() -> None:
    seed = int(torch.randint(2**30, ()))
    torch.manual_seed(seed)
    print("seed", seed)


def gradients(model: nn.Module, loss: Callable[[], Tensor], half: torch.dtype | None) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None):
        value = loss()
    # As a scaler does: without it most gradients are zero in fp16.
    (value.float() * 2**10).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


Case = tuple[nn.Module, Callable[[], Tensor]]


def assert_alike(draw: Callable[[], Case], half: torch.dtype) -> None:
    """A wrong path to a gradient is wrong in every draw of weights and clips; where rounding is unlucky differs.

    Args:
        draw: Makes a model, and the loss of a batch.
        half: The dtype that is held against full precision.
    """
    drawn = [errors(*draw(), half) for _ in range(DRAWS)]
    for name in drawn[0]:
        error = statistics.median(each[name] for each in drawn)
        # What goes into the position networks is a difference of nearly equal sums over all pairs of patches.
        assert error < TOLERANCE * (4 if ".posmlp." in name else 1), f"{name}: {error:.3f}"


def errors(model: nn.Module, loss: Callable[[], Tensor], half: torch.dtype) -> dict[str, float]:
    """How far each gradient is off, over its norm."""
    exact, rounded = gradients(model, loss, None), gradients(model, loss, half)
    assert exact.keys() == rounded.keys() and exact
    last = len(model.sampler.network) - 1 if isinstance(model, Pretrainer) and model.learns_to_sample else 0
    score = f"sampler.network.{last}.weight"
    # What shifts all logits alike has a gradient of round-off alone: it is held against that of the score's weights.
    shifts = {f"sampler.network.{last}.bias": score, f"sampler.network.{last - 1}.mlp.fc2.bias": score}
    shifts |= {name: name.replace("bias", "weight") for name in exact if name.endswith(".posmlp.2.bias")}
    found = {}
    for name, expected in exact.items():
        scale = exact[shifts.get(name, name)].norm()
        found[name] = float((rounded[name] - expected).norm() / scale)
    return found


@pytest.mark.parametrize("half", HALF, ids=str)
@pytest.mark.parametrize("checkpointed", ["none", "decoder", "all"])
@pytest.mark.parametrize("mode", MODES)
def test_pretraining(mode: str, checkpointed: Any, half: torch.dtype) -> None:
    fresh_seed()
    options = MODES[mode]

    def draw() -> Case:
        model = vit_pretrainer(**TINY, **options, sampling_weight=1.0).train()
        model.checkpoint_activations(checkpointed)
        video, seeds = clips(3, options.get("candidate_frames", 4)), torch.arange(3)
        visible = model(video, seeds=seeds).selection.visible
        return model, lambda: model(video, visible=visible, seeds=seeds).losses["loss"]

    assert_alike(draw, half)


@pytest.mark.parametrize("half", HALF, ids=str)
@pytest.mark.parametrize("checkpointed", ["none", "all"])
@pytest.mark.parametrize("strategy", ["none", "motion", "adaptive", "random"])
def test_finetuning(strategy: str, checkpointed: Any, half: torch.dtype) -> None:
    fresh_seed()

    def draw() -> Case:
        model = vit_classifier(**CLASSIFIER, token_selection=strategy, drop_path_rate=0.2).train()
        model.checkpoint_activations(checkpointed)
        video, seeds = clips(3), torch.arange(3)
        chosen: list[Tensor] = []
        # Of nearly equal scores rounding may prefer another one: the choice is that of full precision.
        model.token_choice.register_forward_hook(lambda _, __, out: chosen.append(out) or chosen[0])
        return model, lambda: model(video, seeds=seeds).square().mean()

    assert_alike(draw, half)


@pytest.mark.parametrize("half", HALF, ids=str)
@pytest.mark.parametrize("name", SMALL)
def test_pretraining_of_pyramids(name: str, half: torch.dtype) -> None:
    fresh_seed()

    def draw() -> Case:
        model = small(name, drop_path_rate=0.2).train()
        video, seeds = images(), torch.arange(2)
        # Together 2**16, with which a scaler starts: the gradients of positions are small.
        return model, lambda: model(video, seeds=seeds).losses["loss"] * 2**6

    assert_alike(draw, half)


@pytest.mark.parametrize("name", SMALL)
def test_finetuning_of_pyramids(name: str) -> None:
    fresh_seed()

    def draw() -> Case:
        model = small_classifier(name, drop_path_rate=0.2).train()
        video, seeds = images(), torch.arange(2)
        return model, lambda: model(video, seeds=seeds).square().mean()

    assert_alike(draw, torch.bfloat16)


@pytest.mark.parametrize("half", HALF, ids=str)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["vit", *SMALL])
def test_models_cast_as_a_whole(name: str, training: bool, half: torch.dtype) -> None:
    fresh_seed()
    pretrainer = vit_pretrainer(**TINY) if name == "vit" else small(name)
    classifier = vit_classifier(**CLASSIFIER) if name == "vit" else small_classifier(name)
    video, seeds = clips(2) if name == "vit" else images(), torch.arange(2)
    visible = pretrainer(video, seeds=seeds).selection.visible
    for model, call in (
        (pretrainer, lambda clip: pretrainer(clip, visible=visible, seeds=seeds).prediction),
        (classifier, lambda clip: classifier(clip, seeds=seeds)),
    ):
        model.train(training)
        standardised = model.pixel_norm(video).permute(0, 4, 1, 2, 3)
        expected = call(standardised)
        model.to(half)
        for clip in (video, standardised.to(half)):
            got = call(clip)
            assert got.dtype == half
            assert (got.float() - expected).norm() < 3 * TOLERANCE * expected.norm()
        got.float().square().mean().backward()
        assert all(one.grad.isfinite().all() for one in model.parameters() if one.grad is not None)


def images() -> Tensor:
    return torch.randint(0, 256, (2, 1, 128, 128, 3), dtype=torch.uint8)


@pytest.mark.parametrize("half", HALF, ids=str)
@pytest.mark.parametrize("followed", [True, False], ids=["norm_linear", "LayerNorm"])
def test_a_norm_over_many_rows(followed: bool, half: torch.dtype) -> None:
    """Torch adds its gradients up in half precision, of which little is left when all rows want the same."""
    fresh_seed()
    norm, linear = LayerNorm(8), nn.Linear(8, 8)
    rows = torch.rand(8192, 8)

    def loss() -> Tensor:
        # As behind a plain layer.
        x = rows.to(half) if torch.is_autocast_enabled("cpu") else rows
        last = norm_linear(x, norm, linear) if followed else norm(x)
        return last.float().mean() + last.float().square().mean()

    for name, error in errors(nn.ModuleList((norm, linear) if followed else (norm,)), loss, half).items():
        assert error < TOLERANCE, f"{name}: {error:.3f}"


@pytest.mark.parametrize("half", HALF, ids=str)
def test_a_weight_that_a_plain_layer_reads_as_well(half: torch.dtype) -> None:
    def draw() -> Case:
        norm, linear = nn.LayerNorm(12), nn.Linear(12, 12)
        x = torch.rand(5, 12)

        def loss() -> Tensor:
            first = norm_linear(x, norm, linear)
            return (linear(x) + gelu_linear(linear(first), linear)).sum()

        return nn.ModuleList((norm, linear)), loss

    assert_alike(draw, half)
