"""Names and shapes of the parameters are the published ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from adamae.models import create_model, reference_name, use_module_names
from adamae.models.naming import module_name
from tests.golden import recipe


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pretrain_mae_small_patch16_224", {}),
        ("pretrain_videomae_base_patch16_224", {}),
        ("pretrain_videomae_large_patch16_224", {}),
        ("vit_small_patch16_224", {"num_classes": 174}),
        ("vit_base_patch16_224", {"num_classes": 174}),
        ("vit_large_patch16_224", {"num_classes": 174}),
    ],
)
def test_keys_and_shapes_are_the_published_ones(name: str, options: dict[str, int]) -> None:
    file = f"keys_{name}.json" if name.startswith("pretrain") else f"keys_finetune_{name}.json"
    expected = recipe.load(f"adamae/{file}")
    with torch.device("meta"):
        model = create_model(name, **options)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adamae_tiny", {"sampler_dim": 96}),
        ("vit_tiny_patch16_224", {"sampler_dim": 96, "token_selection": "adaptive", "cls_token": True}),
        ("vit_tiny_patch16_224", {"use_mean_pooling": False, "position_embedding": "separable"}),
    ],
)
def test_names_translate_both_ways(name: str, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = create_model(name, **options)
    names = [name for name, _ in model.named_parameters()]
    published = [reference_name(model, name) for name in names]
    assert [module_name(model, name) for name in published] == names
    assert set(published) == set(model.state_dict())


def test_a_state_dict_loads_back_also_inside_another_module() -> None:
    options = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}
    source = torch.nn.ModuleDict({"model": create_model("adamae_tiny", **options)})
    target = torch.nn.ModuleDict({"model": create_model("adamae_tiny", **options)})
    assert "model.encoder.get_token_probs.0.norm1.weight" in source.state_dict()
    target.load_state_dict(source.state_dict())
    for mine, other in zip(source.parameters(), target.parameters(), strict=True):
        assert torch.equal(mine, other)


def small(name: str, **options: Any) -> torch.nn.Module:
    return create_model(name, img_size=32, num_frames=4, **options)


def small_pretrainer() -> torch.nn.Module:
    return small("adamae_tiny", encoder_depth=1, decoder_depth=1, mask_ratio=0.5)


def small_classifier() -> torch.nn.Module:
    return small("vit_tiny_patch16_224", depth=1, num_classes=5, token_selection="adaptive", sampler_dim=96)


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside another module"])
@pytest.mark.parametrize("build", [small_pretrainer, small_classifier])
def test_load_state_dict_reports_names_of_state_dicts(build: Callable[[], torch.nn.Module], inside: bool) -> None:
    model = torch.nn.ModuleDict({"first": torch.nn.Linear(1, 1), "model": build()}) if inside else build()
    state = model.state_dict()
    lost = [name for name in state if re.search(r"blocks\.0\.mlp\.fc1|get_token_probs\.0\.attn", name)]
    assert len(lost) >= 4
    resized = next(name for name in state if name.endswith("pos_embed_probs"))
    strangers = {
        name: torch.zeros(1) for name in ("foo", "encoder.bar", "blocks.0.foo", "model.foo", "model.encoder.bar")
    }
    given = {name: value for name, value in state.items() if name not in lost} | strangers
    missing, unexpected = model.load_state_dict(given, strict=False)
    assert (missing, sorted(unexpected)) == (lost, sorted(strangers))
    with pytest.raises(RuntimeError) as raised:
        model.load_state_dict({**given, resized: torch.zeros(1)})
    for name in (*lost, *strangers):
        assert f'"{name}"' in str(raised.value)
    assert f"size mismatch for {resized}:" in str(raised.value)
    # The next call starts anew.
    assert str(model.load_state_dict(state)) == "<All keys matched successfully>"


@pytest.mark.parametrize("build", [small_pretrainer, small_classifier])
def test_module_names_for_programs_that_look_them_up(build: Callable[[], torch.nn.Module]) -> None:
    model, other = build(), build()
    optimizer, started = (torch.optim.AdamW(network.parameters()) for network in (model, other))
    published = list(model.state_dict())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    with use_module_names(torch.nn.DataParallel(model)):
        weights, moments = get_state_dict(model, optimizer)
        assert set(weights) == {name for name, _ in model.named_parameters()}
        torch.func.functional_call(model, model.state_dict(), torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8))
    with use_module_names(other):
        set_state_dict(other, started, model_state_dict=weights, optim_state_dict=moments)
    assert list(model.state_dict()) == published
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        if mine.requires_grad:
            assert torch.equal(optimizer.state[mine]["exp_avg"], started.state[theirs]["exp_avg"])
