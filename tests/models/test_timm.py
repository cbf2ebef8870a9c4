"""What timm's programs ask of a model, by timm's own functions."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from adamae import torchvision_import  # noqa: F401
from adamae.models import Classifier, Pretrainer, create_model, register_with_timm
from adamae.training.parameter_groups import parameter_groups

# isort: split
import timm
from timm.data import resolve_data_config
from timm.optim import param_groups_layer_decay, param_groups_weight_decay

register_with_timm()
SIZES: dict[str, Any] = {"img_size": 32, "num_frames": 4, "num_classes": 5}
SMALL: dict[str, Any] = {**SIZES, "embed_dim": 32, "depth": 2, "num_heads": 2}
PRETRAIN: dict[str, Any] = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}
SEPARABLE = {"position_embedding": "separable", "cls_token": True}


def classifier(**options: Any) -> Classifier:
    model = timm.create_model("video_vit_tiny_patch16_224", **{**SMALL, **options})
    assert isinstance(model, Classifier)
    return model


def clip() -> torch.Tensor:
    return torch.randint(256, (2, 4, 32, 32, 3), dtype=torch.uint8)


def rates(groups: list[dict[str, Any]]) -> dict[int, tuple[float, float]]:
    return {
        id(parameter): (group["weight_decay"], pytest.approx(group.get("lr_scale", 1.0)))
        for group in groups
        for parameter in group["params"]
    }


@pytest.mark.slow
def test_timm_is_repaired_before_it_is_imported() -> None:
    subprocess.run([sys.executable, "-c", "import adamae; adamae.models.register_with_timm()"], check=True)


def test_timm_knows_the_names() -> None:
    with torch.device("meta"):
        assert type(timm.create_model("pretrain_videomae_small_patch16_224", mask_ratio=0.8)).__name__ == "Pretrainer"
        assert type(timm.create_model("video_vit_small_patch16_224", num_classes=5)).__name__ == "Classifier"
        assert type(timm.create_model("vit_small_patch16_224")).__name__ == "VisionTransformer"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adamae_tiny", {**PRETRAIN, "sampler_dim": 96}),
        ("um_swin_micro", {}),
        ("um_vit_base", {}),
        ("vit_tiny_patch16_224", SMALL),
        ("vit_tiny_patch16_224", {**SMALL, **SEPARABLE}),
        ("vit_tiny_patch16_224", {**SMALL, "token_selection": "adaptive", "use_mean_pooling": False}),
        ("mae_vit_base_patch16_224", {"num_classes": 5}),
        ("swin_micro_256", {"num_classes": 5}),
        ("pvt_small_256", {"num_classes": 5}),
    ],
)
def test_timm_groups_parameters_as_training_does(name: str, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = create_model(name, **options)
    assert isinstance(model, Pretrainer | Classifier)
    ours = parameter_groups(model, 0.05)
    theirs = param_groups_weight_decay(model, 0.05, no_weight_decay_list=model.no_weight_decay())
    assert rates(theirs) == rates(ours)
    if isinstance(model, Classifier):
        first, depth = model.encoder.first_layer, model.encoder.depth
        ours = parameter_groups(model, 0.05, layer_decay=0.5, depth=depth, first=first)
        theirs = param_groups_layer_decay(model, 0.05, model.no_weight_decay(), layer_decay=0.5)
        assert rates(theirs) == rates(ours)


def test_a_head_of_other_classes() -> None:
    model = classifier().double().eval()
    assert (model.num_classes, model.num_features, model.get_classifier()) == (5, 32, model.head)
    expected = create_model("vit_tiny_patch16_224", **{**SMALL, "num_classes": 7})
    model.reset_classifier(7)
    assert model.num_classes == model.get_classifier().out_features == 7
    assert model.head.weight.dtype == torch.float64
    assert model.head.weight.std().item() == pytest.approx(expected.head.weight.std().item(), rel=0.3)
    assert not model.head.bias.any()
    assert set(model.state_dict()) == set(expected.state_dict())
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert model.float()(clip()).shape == (2, 32)


@pytest.mark.parametrize("options", [{}, {"token_selection": "random"}, {"num_classes": 0}])
def test_features_and_head_make_the_forward_pass(options: dict[str, Any]) -> None:
    model, video = classifier(fc_drop_rate=0.5, **options).eval(), clip()
    features = model.forward_features(video)
    assert features.shape == (2, 4 if "token_selection" in options else 8, 32)
    assert torch.equal(model.forward_head(features), model(video))
    pooled = model.forward_head(features, pre_logits=True)
    assert torch.equal(pooled, model.pool(features))
    dropped = model.train().forward_head(features)
    assert not torch.equal(dropped, model.get_classifier()(pooled))


@pytest.mark.parametrize("name", ["adamae_tiny", "video_vit_tiny_patch16_224"])
def test_gradient_checkpointing(name: str) -> None:
    model = timm.create_model(name, **(PRETRAIN if name == "adamae_tiny" else SMALL))
    for enable in (True, False):
        model.set_grad_checkpointing(enable)
        assert {block.recompute for block in model.encoder.blocks} == {enable}


def test_the_data_config_is_that_of_the_model() -> None:
    config = resolve_data_config(model=classifier(img_size=(32, 48), imagenet_default_mean_and_std=False))
    expected = {"input_size": (3, 32, 48), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 1.0}
    assert config.items() >= expected.items()
    with torch.device("meta"):
        model = timm.create_model("um_swin_micro", in_chans=1)
    config = resolve_data_config(model=model)
    assert (config["input_size"], config["interpolation"]) == ((1, 256, 256), "bicubic")
    torch.testing.assert_close(torch.tensor(config["mean"]), create_model("um_swin_micro", in_chans=1).pixel_norm.mean)
