"""Networks around the plain ViT: start values, and keywords that reach the parts that they are for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adamae.errors import UserError
from adamae.models import create_model, vit_classifier, vit_pretrainer
from tests.models.test_checkpoint_activations import CLASSIFIER
from tests.models.test_pretrainer import TINY, clips


def linear_layers(part: nn.Module) -> list[nn.Linear]:
    return [module for module in part.modules() if isinstance(module, nn.Linear)]


def assert_biases_are_zero(part: nn.Module) -> None:
    assert not any(value.any() for name, value in part.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("part", ["encoder.blocks", "decoder", "sampler"])
def test_linear_layers_of_a_pretrainer_begin_xavier_uniform(part: str, rng: np.random.Generator) -> None:
    torch.manual_seed(int(rng.integers(2**31)))
    module = vit_pretrainer(**TINY).get_submodule(part)
    assert_biases_are_zero(module)
    for layer in linear_layers(module):
        outputs, inputs = layer.weight.shape
        bound = math.sqrt(6 / (inputs + outputs))
        # All of n uniform values are below this share of their bound once in 1e9 layers.
        share = 1e-9 ** (1 / layer.weight.numel())
        assert share * bound < layer.weight.abs().max() <= bound


def assert_normal(layer: nn.Linear, std: float) -> None:
    # Six standard errors.
    assert layer.weight.std().item() == pytest.approx(std, rel=6 / math.sqrt(2 * layer.weight.numel()))
    assert abs(layer.weight.mean().item()) < 6 * std / math.sqrt(layer.weight.numel())
    assert layer.weight.abs().max() > 2.2 * std  # uniform values end at 1.8


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_linear_layers_of_a_classifier_begin_normal_and_its_head_scaled(scale: float, rng: np.random.Generator) -> None:
    torch.manual_seed(int(rng.integers(2**31)))
    model: Any = vit_classifier(**{**CLASSIFIER, "num_classes": 50}, init_scale=scale)
    for part in (model.encoder.blocks, model.head):
        assert_biases_are_zero(part)
    for layer in linear_layers(model.encoder.blocks):
        assert_normal(layer, 0.02)
    assert_normal(model.head, 0.02 * scale)


def test_blocks_are_dropped_ever_more_often_up_to_the_given_rate() -> None:
    pretrainer = vit_pretrainer(**{**TINY, "encoder_depth": 3, "decoder_depth": 2}, drop_path_rate=0.2)
    classifier = vit_classifier(**{**CLASSIFIER, "depth": 5}, drop_path_rate=0.2)
    stacks: list[Any] = [pretrainer.encoder, pretrainer.decoder, classifier.encoder]
    rates = [[block.drop_path_rate for block in stack.blocks] for stack in stacks]
    expected = [[0.0, 0.1, 0.2], [0.0, 0.2], [0.0, 0.05, 0.1, 0.15, 0.2]]
    assert rates == [pytest.approx(one) for one in expected]


def test_without_imagenets_statistics_pixels_are_between_minus_one_and_one() -> None:
    pretrainer = vit_pretrainer(**TINY, imagenet_default_mean_and_std=False)
    classifier = vit_classifier(**CLASSIFIER, imagenet_default_mean_and_std=False)
    video = clips()
    expected = video / 127.5 - 1
    torch.testing.assert_close(pretrainer.grid.unpatchify(pretrainer.pixels(video)), expected)
    torch.testing.assert_close(classifier.pixel_norm(video), expected)


@pytest.mark.parametrize("rate", [1.0, -0.1, 2.0])
@pytest.mark.parametrize("name", ["drop_rate", "attn_drop_rate", "drop_path_rate", "fc_drop_rate"])
def test_rates_of_a_classifier_are_below_one(name: str, rate: float) -> None:
    with pytest.raises(UserError, match=f"^{name} = {rate}: expected a number at least 0 and below 1$"):
        vit_classifier(**{**CLASSIFIER, "depth": 1, name: rate})


def test_arguments_of_other_classifiers_are_checked() -> None:
    with pytest.raises(UserError, match=r"^drop_path_rate = 1: expected a number at least 0 and below 1$"):
        create_model("swin_micro_256", img_size=64, drop_path_rate=1)
    with pytest.raises(UserError, match=r"^sampler_network = 'cnn': expected one of mha, mlp$"):
        vit_classifier(**CLASSIFIER, token_selection="adaptive", sampler_network="cnn")  # type: ignore[arg-type]


@pytest.mark.parametrize("parts", ["blocks", True])
def test_unknown_parts_of_a_classifier_are_refused(parts: Any) -> None:
    with pytest.raises(UserError, match=f"^checkpoint_activations = {parts!r}: expected one of none, all$"):
        vit_classifier(**CLASSIFIER).checkpoint_activations(parts)


@pytest.mark.parametrize(
    ("model", "option", "hint"),
    [
        ("adamae_tiny", "embed_dim", r"; did you mean encoder_embed_dim\?"),
        ("adamae_tiny", "grid", ": expected one of .*, decoder_budget, .*, sampler_depth, .*"),
        ("adamae_tiny", "mask_token", r"; did you mean mask_type\?"),
        ("um_swin_micro", "window", r"; did you mean window_size\?"),
        ("um_pvt_small", "foo", ": expected one of .*, pools, .*, uniform_sampling"),
        ("um_vit_base", "qkv_bias", ": expected one of .*"),
        ("vit_tiny_patch16_224", "global_pool", ": expected one of .*, use_mean_pooling"),
        ("swin_micro_256", "encoder_depth", ": expected one of .*, drop_path_rate, .*, window_size"),
        ("pvt_small_256", "num_class", r"; did you mean num_classes\?"),
        ("mae_vit_base_patch16_224", "cls_token", ": expected one of .*"),
    ],
)
def test_unknown_keywords_are_refused(model: str, option: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"^{option}: not an option of {model}{hint}$"):
        create_model(model, **{option: 1})


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("img_size", (32,), r"img_size = \(32,\): expected one number or \(height, width\)"),
        ("img_size", (32, 32, 32), r"img_size = \(32, 32, 32\): expected one number or \(height, width\)"),
        ("img_size", 32.0, "height = 32.0: expected an integer at least 1"),
        ("in_chans", 0, "in_chans = 0: expected an integer at least 1"),
        ("encoder_embed_dim", 0, "encoder width 0 does not divide"),
        ("encoder_depth", -1, "depth = -1: expected at least 0"),
        ("sampler_depth", -1, "sampler_depth = -1: expected at least 0"),
    ],
)
def test_sizes_that_no_network_has(option: str, value: Any, reason: str) -> None:
    with pytest.raises(UserError, match=f"^{reason}"):
        vit_pretrainer(**{**TINY, option: value})


def test_numpys_integers_are_sizes() -> None:
    shape = vit_pretrainer(**{**TINY, "img_size": np.int64(32)}).clip_shape
    assert shape[1:3] == (32, 32)
    assert {type(side) for side in shape} == {int}
