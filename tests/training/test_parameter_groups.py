"""Groups against those of the published optimisers (golden files)."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import torch

from adamae.models import vit_classifier, vit_pretrainer
from adamae.training.parameter_groups import parameter_groups

GOLDEN = Path(__file__).parents[1] / "golden/adamae"


def test_pretrain_groups() -> None:
    config = json.loads((GOLDEN / "golden_pretrain_tiny.json").read_text())["config"]
    expected = json.loads((GOLDEN / "param_groups_pretrain_tiny.json").read_text())["pretrain_tiny"]
    known = inspect.signature(vit_pretrainer).parameters
    sizes = {name: value for name, value in config.items() if name in known}
    groups = parameter_groups(vit_pretrainer(**sizes, num_frames=config["frames"]), 0.05)
    assert [(group["decays"], group["weight_decay"], group["lr_scale"]) for group in groups] == [
        (False, 0.0, 1.0),
        (True, 0.05, 1.0),
    ]
    assert set(groups[0]["names"]) == set(expected["no_decay"])
    assert set(groups[1]["names"]) == set(expected["decay"])


def test_finetune_groups_with_layer_decay() -> None:
    expected = json.loads((GOLDEN / "param_groups_finetune_base_ld075.json").read_text())
    with torch.device("meta"):
        model = vit_classifier(embed_dim=768, depth=12, num_heads=12, num_classes=174)
    groups = parameter_groups(model, 0.05, layer_decay=0.75, depth=12)
    assert [(group["lr_scale"], group["weight_decay"]) for group in groups] == [
        (group["lr_scale"], group["weight_decay"]) for group in expected
    ]
    for group, reference in zip(groups, expected, strict=True):
        assert sorted(group["names"]) == sorted(reference["params"])


def test_frozen_parameters_are_left_out() -> None:
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    (group,) = parameter_groups(model, 0.05)
    assert group["names"] == ["weight"]


def test_separable_positions_are_an_input_without_decay() -> None:
    model = vit_classifier(
        embed_dim=8, num_heads=2, depth=1, num_classes=3, position_embedding="separable", cls_token=True
    )
    groups = parameter_groups(model, 0.05, layer_decay=0.5, depth=1)
    first = {name for group in groups if not group["decays"] and group["lr_scale"] == 0.25 for name in group["names"]}
    positions = {"pos_embed_spatial", "pos_embed_temporal", "pos_embed_class"}
    assert first == positions | {"cls_token", "patch_embed.proj.bias"}
