"""A step is one graph: nothing in it waits for the device or has a size that depends on values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from adamae.layers.recomputation import CheckpointActivations
from adamae.models import create_model
from tests.models.pyramid.test_encoders import SMALL, VIDEO, small, small_classifier

TINY = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}
LOGIT_SHIFTS = ("network.1.bias", "posmlp.2.bias")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "parts", "diagnose"),
    [
        ({}, "none", False),
        ({"decoder_budget": 0.5, "sampler_dim": 96}, "none", False),
        # At logging steps, and with the compiler's own checkpointing.
        ({}, "all", True),
        # With a choice of frames.
        ({"mask_type": "motion", "mask_ratio": 0.8, "keep_ratio": 0.5, "candidate_frames": 8}, "decoder", True),
    ],
    ids=["adaptive", "economy", "checkpointed", "motion"],
)
def test_forward_and_backward_are_one_graph_and_give_the_same(
    options: dict[str, Any], parts: CheckpointActivations, diagnose: bool
) -> None:
    # Else torch 2.6 remembers the ratios of other models and takes this one's for numbers that change.
    torch.compiler.reset()
    model = create_model("adamae_tiny", **{**TINY, **options}).train()
    model.checkpoint_activations(parts)
    frames = options.get("candidate_frames", 4)
    clips, seeds = torch.randint(0, 256, (2, frames, 32, 32, 3), dtype=torch.uint8), torch.arange(2)

    def loss(clips: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = model(clips, seeds=seeds, diagnose=diagnose).losses["loss"]
        return value

    assert_one_graph_gives_the_same(model, loss, clips, seeds)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_pyramids_are_one_graph(name: str) -> None:
    torch.compiler.reset()
    model = small(name, img_size=64, mask_type="adaptive_uniform", sampler_dim=8, sampler_drop_rate=0.0).train()
    clips, seeds = torch.randint(0, 256, (2, 1, 64, 64, 3), dtype=torch.uint8), torch.arange(2)

    def loss(clips: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return model(clips, seeds=seeds).losses["loss"]

    assert_one_graph_gives_the_same(model, loss, clips, seeds)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_classifiers_with_pyramids_are_one_graph(name: str) -> None:
    torch.compiler.reset()
    model = small_classifier(name, img_size=64, drop_path_rate=0.1, **VIDEO).train()
    clips, seeds = torch.randint(0, 256, (2, 8, 64, 64, 3), dtype=torch.uint8), torch.arange(2)

    def loss(clips: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return model(clips, seeds=seeds).square().mean()

    assert_one_graph_gives_the_same(model, loss, clips, seeds)


def assert_one_graph_gives_the_same(
    model: nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    clips: torch.Tensor,
    seeds: torch.Tensor,
) -> None:
    found = []
    for way in (loss, torch.compile(loss, fullgraph=True, dynamic=False, backend="aot_eager")):
        value = way(clips, seeds)
        parameters = dict(model.named_parameters())
        found.append([value, *torch.autograd.grad(value, list(parameters.values()))])
    for name, plain, compiled in zip(["loss", *parameters], *found, strict=True):
        # They move all logits alike: their gradient is round-off.
        if not name.endswith(LOGIT_SHIFTS):
            torch.testing.assert_close(
                compiled, plain, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
            )
