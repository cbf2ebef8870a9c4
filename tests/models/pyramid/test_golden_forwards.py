"""Tiny pyramid networks against numbers of an independent run of the published code (section F)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adamae.models import Pretrainer
from adamae.models.mae_vit import mae_vit_pretrainer
from adamae.models.naming import reference_parameters
from adamae.models.pyramid.factories import pvt_pretrainer, swin_pretrainer
from tests.golden import um_mae

GOLDEN = um_mae.GOLDEN["F_tiny_forwards"]
DECODER: dict[str, Any] = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
PRECISIONS = [pytest.param(torch.float64, 2e-6, id="float64"), pytest.param(torch.float32, 2e-5, id="float32")]


def tiny(name: str, **options: Any) -> Pretrainer:
    config = GOLDEN[name]["config"]
    if name == "swin":
        return swin_pretrainer(
            img_size=config["img"],
            encoder_embed_dim=[config["embed"] * 2**stage for stage in range(4)],
            encoder_depth=config["depths"],
            encoder_num_heads=config["heads"],
            window_size=config["window"],
            position_dim=config["posmlp"],
            **DECODER,
            **options,
        )
    if name == "vit":
        return mae_vit_pretrainer(
            img_size=config["img"],
            encoder_embed_dim=config["embed"],
            encoder_depth=config["depth"],
            encoder_num_heads=config["heads"],
            **DECODER,
        )
    return pvt_pretrainer(
        img_size=config["img"],
        encoder_embed_dim=config["dims"],
        encoder_depth=config["depths"],
        encoder_num_heads=config["heads"],
        encoder_mlp_ratio=config["mlp_ratios"],
        pools=config["sr"],
        **DECODER,
        **options,
    )


def filled(name: str, dtype: torch.dtype, **options: Any) -> Pretrainer:
    model = tiny(name, **options)
    um_mae.fill(model)
    return model.to(dtype).eval()


def test_secondary_masks_of_the_vit() -> None:
    golden = um_mae.GOLDEN["C2_secondary_masking_vit"]["token_slots"]
    assert um_mae.vit_token_slots(2, 16).tolist() == golden


@pytest.mark.parametrize("name", ["swin", "pvt", "vit"])
def test_names_of_the_parameters(name: str) -> None:
    assert sorted(each for each, _ in reference_parameters(tiny(name))) == GOLDEN[name]["param_names_sorted"]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", ["swin", "pvt", "vit"])
def test_a_forward_pass_in_the_released_order(name: str, dtype: torch.dtype, tolerance: float) -> None:
    golden = GOLDEN[name]
    # The ViT's order has always been right.
    model = filled(name, dtype, **({} if name == "vit" else {"released_decoder_order": True}))
    images, selection = um_mae.images(128).to(dtype), um_mae.selection(model)
    latent, prediction = um_mae.whole_forward(model, images, selection)
    loss = um_mae.loss(model, images, latent, selection)
    assert list(latent.shape) == golden["latent_shape"]
    assert list(prediction.shape) == golden["pred_shape"]
    # Half of the last decimal that the file has is added to the tolerance.
    for value, expected, rounding in (
        (latent[0, 0, :6], golden["latent_0_0_first6"], 5e-6),
        (prediction[0, 0, :6], golden["pred_0_0_first6"], 5e-5),
        (prediction[0, -1, :6], golden["pred_0_last_first6"], 5e-5),
        (prediction[1, -1, :6], golden["pred_1_last_first6"], 5e-5),
    ):
        torch.testing.assert_close(value.double(), torch.tensor(expected).double(), atol=rounding + tolerance, rtol=0)
    assert latent.abs().sum().item() == pytest.approx(golden["latent_abs_sum"], abs=6e-4, rel=tolerance)
    assert prediction.abs().sum().item() == pytest.approx(golden["pred_abs_sum"], abs=6e-4, rel=tolerance)
    assert loss.item() == pytest.approx(golden["loss_reference"], abs=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", ["swin", "pvt"])
def test_a_forward_pass_in_the_order_of_the_cells(name: str, dtype: torch.dtype, tolerance: float) -> None:
    golden = GOLDEN[name]
    model = filled(name, dtype)
    images, selection = um_mae.images(128).to(dtype), um_mae.selection(model)
    latent, prediction = um_mae.whole_forward(model, images, selection)
    loss = um_mae.loss(model, images, latent, selection)
    assert prediction.abs().sum().item() == pytest.approx(golden["pred_abs_sum_fixed"], abs=6e-4, rel=tolerance)
    assert loss.item() == pytest.approx(golden["loss_with_cell_order_fixed"], abs=tolerance)
