"""Tiny pyramid networks against numbers of an independent run of the published code (section F)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.inference import infer_architecture
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.networks import build_pretrainer
from adamae.checkpoints.tensor_files import write_tensors
from adamae.checkpoints.writing import convert
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


def read(path: Path, like: Pretrainer) -> tuple[float, str]:
    """Return loss and notes of the pre-trained network in a file."""
    model, notes = build_pretrainer(open_checkpoint(path))
    # No file stores the heads, and those of the golden networks are not the usual ones.
    for module, other in zip(model.modules(), like.modules(), strict=True):
        if hasattr(other, "num_heads"):
            module.num_heads = other.num_heads
    images, selection = um_mae.images(128).float(), um_mae.selection(model)
    with torch.no_grad():
        latent, _ = um_mae.whole_forward(model, images, selection)
        return um_mae.loss(model, images, latent, selection).item(), "; ".join(notes)


@pytest.mark.parametrize("name", ["swin", "pvt", "vit"])
def test_official_files_are_read_in_the_released_order(name: str, tmp_path: Path) -> None:
    model, golden = filled(name, torch.float32), GOLDEN[name]["loss_reference"]
    args = argparse.Namespace(mask_ratio=0.75, norm_pix_loss=True, input_size=128)
    torch.save({"model": model.state_dict(), "epoch": 199, "args": args}, tmp_path / "official.pth")
    file = open_checkpoint(tmp_path / "official.pth")
    convert(file, tmp_path / "ours.safetensors", "safetensors")
    report = convert(open_checkpoint(tmp_path / "ours.safetensors"), tmp_path / "again.pth", "reference")
    assert not report.notes
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    for path in ("official.pth", "ours.safetensors", "again.pth", "bare.pth"):
        loss, notes = read(tmp_path / path, model)
        assert loss == pytest.approx(golden, abs=2e-5), path
        assert ("released code" in notes) == (name != "vit" and path in ("official.pth", "bare.pth"))
    if name != "vit":
        assert "released_decoder_order = True, the model has False" in str(load_weights(model, file))


@pytest.mark.parametrize("name", ["swin", "pvt"])
@pytest.mark.parametrize("options", [{}, {"released_decoder_order": False}, {"released_decoder_order": True}])
def test_our_files_are_read_in_their_own_order(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    released = options.get("released_decoder_order", False)
    model = filled(name, torch.float32, **options)
    config = describe_network(model, {"img_size": 128, **options})
    write_tensors(tmp_path / "ours.safetensors", model.state_dict(), {"model": config})
    report = convert(open_checkpoint(tmp_path / "ours.safetensors"), tmp_path / "ours.pth", "reference")
    assert ("position of another one" in str(report)) == (not released)
    convert(open_checkpoint(tmp_path / "ours.pth"), tmp_path / "again.safetensors", "safetensors")
    for path in ("ours.safetensors", "ours.pth", "again.safetensors"):
        loss, notes = read(tmp_path / path, model)
        golden = GOLDEN[name]["loss_reference" if released else "loss_with_cell_order_fixed"]
        assert loss == pytest.approx(golden, abs=2e-5), path
        assert "released code" not in notes


@pytest.mark.parametrize("normalises", [True, False])
def test_the_target_of_an_official_file(normalises: bool, tmp_path: Path) -> None:
    content = {"model": tiny("vit").state_dict(), "args": argparse.Namespace(norm_pix_loss=normalises)}
    torch.save(content, tmp_path / "official.pth")
    convert(open_checkpoint(tmp_path / "official.pth"), tmp_path / "ours.safetensors", "safetensors")
    for path in ("official.pth", "ours.safetensors"):
        assert build_pretrainer(open_checkpoint(tmp_path / path))[0].normalize_target is normalises


def test_a_config_of_defaults_is_ours() -> None:
    state = tiny("pvt").state_dict()
    assert "released_decoder_order" not in infer_architecture(state, config={"options": {}}).options()
    assert infer_architecture(state).options()["released_decoder_order"] is True
