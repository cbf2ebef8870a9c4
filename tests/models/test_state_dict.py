"""Names and shapes of the parameters are the published ones."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from adamae.models import create_model
from adamae.models.naming import module_name, reference_name
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


@pytest.mark.slow
def test_timm_is_repaired_before_it_is_imported() -> None:
    subprocess.run([sys.executable, "-c", "import adamae; adamae.models.register_with_timm()"], check=True)


def test_timm_knows_the_names() -> None:
    from adamae.models import register_with_timm

    register_with_timm()
    import timm

    with torch.device("meta"):
        assert type(timm.create_model("pretrain_videomae_small_patch16_224", mask_ratio=0.8)).__name__ == "Pretrainer"
        assert type(timm.create_model("video_vit_small_patch16_224", num_classes=5)).__name__ == "Classifier"
        assert type(timm.create_model("vit_small_patch16_224")).__name__ == "VisionTransformer"
