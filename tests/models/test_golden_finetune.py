"""The classifier against the published code's numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from adamae.models import vit_classifier
from adamae.models.naming import reference_parameters
from tests.golden import recipe
from tests.models.test_golden_pretrain import DTYPES, GRADIENT_TOLERANCE, TOLERANCE, assert_close


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("case", ["tiny", pytest.param("base", marks=pytest.mark.slow)])
def test_features_logits_and_gradients_are_the_published_ones(case: str, precision: str) -> None:
    golden = recipe.load(f"adamae/golden_finetune_{case}.json")
    config, expected = golden["config"], golden[precision]
    sizes = {
        key: config[key]
        for key in [
            "img_size",
            "patch_size",
            "tubelet_size",
            "num_classes",
            "embed_dim",
            "depth",
            "num_heads",
            "mlp_ratio",
            "qkv_bias",
        ]
    }
    model = vit_classifier(**sizes, num_frames=config["all_frames"], init_scale=config["init_scale"])
    recipe.fill(model, config["seed"])
    model = model.eval().to(DTYPES[precision])
    features: list[torch.Tensor] = []
    assert model.fc_norm is not None
    model.fc_norm.register_forward_hook(lambda _, __, out: features.append(out))
    clip = recipe.video(config["batch"], config["frames"], config["img_size"], config["seed"]).to(DTYPES[precision])
    logits = model(clip)
    loss = F.cross_entropy(logits, torch.tensor(expected["labels"]))
    loss.backward()

    tolerance = TOLERANCE[precision]
    assert_close(features[0][:, :16].detach(), expected["features_first16"], tolerance, "features")
    assert_close(logits.detach()[:, : len(expected["logits"][0])], expected["logits"], tolerance, "logits")
    assert_close(loss.detach(), expected["cross_entropy"], tolerance, "cross entropy")
    gradients = {name: parameter.grad for name, parameter in reference_parameters(model)}
    assert gradients.keys() >= expected["grad_l2"].keys()
    for name, norm in expected["grad_l2"].items():
        gradient = gradients[name]
        assert gradient is not None
        assert_close(gradient.double().norm(), norm, GRADIENT_TOLERANCE[precision], f"gradient of {name}")
