"""Networks with motion-aware selection against numbers of an independent run of the published code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adamae.checkpoints.inference import infer_architecture
from adamae.losses.reconstruction import reconstruction_target, token_error
from adamae.models import MODELS, Pretrainer, create_model, vit_classifier, vit_pretrainer
from adamae.randomness import SampleNoise
from adamae.selection import gather_tokens
from tests.golden import mats, recipe

VIT = "vit_{}_patch16_224"
NOISE = SampleNoise(torch.arange(1))
TINY: dict[str, Any] = {
    "img_size": 64,
    "encoder_embed_dim": 32,
    "encoder_depth": 2,
    "encoder_num_heads": 2,
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
    "mask_type": "motion",
    "mask_ratio": 0.9,
}


def close(value: Tensor | float, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(torch.as_tensor(value), torch.tensor(expected), atol=tolerance, rtol=1e-4)


def test_a_tiny_pretraining_pass() -> None:
    golden = mats.GOLDEN["I_tiny_pretrain_forward"]
    model = vit_pretrainer(**TINY).eval()
    assert sorted(model.state_dict()) == golden["param_names_sorted"]
    mats.fill(model)
    with torch.no_grad():
        pixels = model.pixels(mats.standardised(mats.video(16, 64)))
        tokens = model.encoder.patch_embed(pixels)
        selection = model.sampler(tokens, model.grid, mats.FormulaNoise(1))
        assert selection.visible[0].tolist() == golden["visible"]
        assert selection.target[0].tolist() == golden["targets"]
        latent = model.encoder(gather_tokens(tokens, selection.visible), NOISE, selection)
        assert list(latent.shape) == golden["encoder_out_shape"]
        close(latent[0, 0, :6], golden["encoder_out_0_0_first6"], 2e-5)
        close(latent.sum(), golden["encoder_out_sum"], 1e-3)
        close(latent.abs().sum(), golden["encoder_out_abs_sum"], 1e-2)
        prediction = model.decoder(model.encoder_to_decoder(latent, selection), model.mask_token, selection, NOISE)
        assert list(prediction.shape) == golden["decoder_out_shape"]
        close(prediction[0, 0, :6], golden["decoder_out_0_0_first6"], 2e-5)
        close(prediction.abs().sum(), golden["decoder_out_abs_sum"], 0.1)
        target = model.target(pixels, selection)
        close(target[0, 0, :6], golden["label_0_first6"], 1e-4)
        close(token_error(prediction, target).mean(), golden["mse_loss"], 1e-6)
        out = model(mats.standardised(mats.video(16, 64)), visible=selection.visible)
    close(out.losses["loss"], golden["mse_loss"], 1e-6)
    assert "sampling" not in out.losses


def test_the_gradient_reaches_the_visible_tokens_alone() -> None:
    model = vit_pretrainer(**TINY)
    clip = mats.standardised(mats.video(16, 64)).requires_grad_()
    out = model(clip, seeds=torch.tensor([1]))
    out.prediction.square().sum().backward()
    assert clip.grad is not None
    moved = model.grid.patchify(clip.grad.permute(0, 2, 3, 4, 1)).abs().sum(dim=2)[0]
    assert torch.equal(moved.nonzero().flatten(), out.selection.visible[0])


def test_positions_are_the_published_table() -> None:
    golden = mats.GOLDEN["J_pos_table"]
    table = vit_classifier(depth=0, num_classes=0).encoder.position_table()
    assert list(table.shape) == golden["shape"]
    close(table[0, 1, :6], golden["row1_first6"], 1e-6)
    close(table[0, 1567, :6], golden["row1567_first6"], 1e-6)


@pytest.mark.parametrize("size", ["small", "base", "large", "huge"])
def test_keys_and_shapes_are_the_published_ones(size: str) -> None:
    golden = recipe.load("mats_state_dicts.json")
    with torch.device("meta"):
        pretrain = create_model(f"adamae_{size}", mask_type="motion", mask_ratio=0.9)
        finetune = create_model(VIT.format(size), num_classes=101)
    for model, name in ((pretrain, "pretrain_videoms"), (finetune, "finetune_vit")):
        (expected,) = (entry for key, entry in golden.items() if key.startswith(f"{name}_{size}"))
        assert {key: list(value.shape) for key, value in model.state_dict().items()} == expected["state_dict"]
        assert sum(parameter.numel() for parameter in model.parameters()) == expected["n_params"]
        # A published file says no more than this, and is understood.
        shapes = {key: torch.empty(shape, device="meta") for key, shape in expected["state_dict"].items()}
        options = infer_architecture(shapes).options()
        with torch.device("meta"):
            again = (vit_pretrainer if isinstance(model, Pretrainer) else vit_classifier)(**options)
        assert again.state_dict().keys() == shapes.keys()
        heads = MODELS[VIT.format(size)][1]["num_heads"]
        assert options.get("num_heads", options.get("encoder_num_heads")) == heads


@pytest.mark.parametrize(
    ("frames", "tubelet", "size", "channels"), [(24, 2, 32, 3), (32, 4, 32, 1), (4, 1, 32, 3), (4, 2, 112, 3)]
)
def test_any_clip_is_pretrained_on(frames: int, tubelet: int, size: int, channels: int) -> None:
    clip = {"img_size": size, "num_frames": frames, "tubelet_size": tubelet, "in_chans": channels}
    model = vit_pretrainer(**{**TINY, **clip, "mask_ratio": 0.8, "encoder_depth": 1})
    video = torch.randint(0, 256, (2, frames, size, size, channels), dtype=torch.uint8)
    out = model(video, seeds=torch.arange(2), diagnose=True)
    out.losses["loss"].backward()
    dropped = model.grid.num_tokens - out.selection.visible.shape[1] - out.selection.target.shape[1]
    assert dropped == model.grid.num_tokens - int(model.grid.num_tokens * (1 - (1 - 0.3)))
    assert out.prediction.shape[1] == out.selection.target.shape[1]
    assert out.losses["loss"].isfinite()


def test_a_static_clip_goes_on() -> None:
    model = vit_pretrainer(**TINY)
    video = torch.full((2, 16, 64, 64, 3), 90, dtype=torch.uint8)
    first, second = (model(video, seeds=torch.tensor([1, 2])) for _ in range(2))
    assert torch.equal(first.selection.visible, second.selection.visible)
    assert int(first.selection.target.max()) < 38
    first.losses["loss"].backward()
    assert first.losses["loss"].isfinite()


def test_target_pixels_come_from_kept_tokens_alone() -> None:
    model = vit_pretrainer(**TINY)
    video = torch.randint(0, 256, (1, 16, 64, 64, 3), dtype=torch.uint8)
    out = model(video, seeds=torch.tensor([5]))
    target = reconstruction_target(
        model.pixels(video)[0, out.selection.target[0]].unsqueeze(0), model.pixel_norm, normalise=True
    )
    torch.testing.assert_close(token_error(out.prediction, target), out.token_error)
