"""The pre-train model beyond the golden cases: gradients' paths, sizes, determinism, diagnosis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from adamae.errors import UserError
from adamae.models import create_model, vit_pretrainer
from adamae.samplers import SAMPLERS

TINY: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "encoder_embed_dim": 32,
    "encoder_depth": 2,
    "encoder_num_heads": 2,
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
    "mask_ratio": 0.75,
}


def clips(batch: int = 2, frames: int = 4, height: int = 32, width: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (batch, frames, height, width, channels), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("sampling_reward", "errors", "one of error, progress"),
        ("sampling_reduction", "avg", "one of mean, sum"),
        ("reconstruction_loss", "huber", "one of mse, l1"),
        ("target_statistics", "tokens", "one of colour, token"),
        ("sampler_network", "cnn", "one of mha, mlp"),
        ("drop_path_rate", 1.0, "a number at least 0 and below 1"),
        ("drop_path_rate", float("nan"), "a number at least 0 and below 1"),
        ("sampler_drop_rate", 1.5, "a number at least 0 and below 1"),
        ("sampler_drop_rate", -0.5, "a number at least 0 and below 1"),
        ("sampler_drop_rate", None, "a number at least 0 and below 1"),
        ("decoder_depth", 0, "at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(name: str, wrong: object, expected: str) -> None:
    called = name.replace("decoder_", "decoder ")
    with pytest.raises(UserError, match=f"^{called} = {wrong!r}: expected {expected}$"):
        vit_pretrainer(**{**TINY, name: wrong})


@pytest.mark.parametrize("parts", ["blocks", True, None])
def test_unknown_parts_to_recompute_are_refused(parts: Any) -> None:
    model = vit_pretrainer(**TINY)
    with pytest.raises(UserError, match=f"^checkpoint_activations = {parts!r}: expected one of none, decoder, all$"):
        model.checkpoint_activations(parts)


@pytest.mark.parametrize("detach", [True, False])
def test_the_sampling_loss_reaches_the_sampler_and_never_the_autoencoder(detach: bool) -> None:
    model = vit_pretrainer(**TINY, detach_sampler_input=detach, sampling_weight=1.0)
    out = model(clips())
    (out.losses["loss"] - out.token_error.mean()).backward()
    reached = {
        name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    sampler = {name for name, _ in model.named_parameters() if name.startswith("sampler.")}
    # The last bias moves all logits alike, which no softmax notices.
    assert sampler - {"sampler.network.1.bias"} <= reached | {"sampler.network.1.bias"}
    tokenizer = {"encoder.patch_embed.proj.weight", "encoder.patch_embed.proj.bias"}
    assert reached - sampler == (set() if detach else tokenizer)


def test_the_reconstruction_loss_never_reaches_the_sampler() -> None:
    model = vit_pretrainer(**TINY, detach_sampler_input=False)
    model(clips()).token_error.mean().backward()
    gradients = [parameter.grad for parameter in model.sampler.parameters()]
    assert not [gradient for gradient in gradients if gradient is not None and gradient.any()]


def test_a_tokenizer_that_the_sampler_does_not_teach_learns_from_the_visible_tokens_alone() -> None:
    # Without weight the sampling loss teaches nothing, so the two ways to the gradient have to agree.
    options = {**TINY, "sampling_weight": 0.0}
    video, seeds, gradients = clips(), torch.arange(2), []
    for detach in (True, False):
        torch.manual_seed(1)
        model = vit_pretrainer(**options, detach_sampler_input=detach).double()
        model(video, seeds=seeds).losses["loss"].backward()
        gradients.append([parameter.grad for parameter in model.encoder.parameters()])
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_frames": 8, "tubelet_size": 4},
        {"num_frames": 3, "tubelet_size": 1},
        {"img_size": (24, 40)},
        {"in_chans": 1},
        {"in_chans": 12, "normalize_target": False},
        {"mask_type": "tube"},
        {"mask_type": "frame", "mask_ratio": 0.5},
        {"mask_type": "random"},
        {"init_values": 0.1, "drop_path_rate": 0.2, "qkv_bias": False},
        {"reconstruction_loss": "l1", "sampling_reduction": "sum"},
    ],
)
def test_any_size_that_divides_trains(sizes: dict[str, Any]) -> None:
    options = {**TINY, **sizes}
    model = vit_pretrainer(**options)
    height, width = options["img_size"] if isinstance(options["img_size"], tuple) else (options["img_size"],) * 2
    video = clips(2, options["num_frames"], height, width, options.get("in_chans", 3))
    out = model(video, diagnose=True)
    out.losses["loss"].backward()
    assert all(torch.isfinite(value) for value in out.losses.values())
    assert all(parameter.grad is not None for parameter in model.parameters())
    learned = {"sampling", "entropy", "top_tenth"} if model.learns_to_sample else set()
    assert out.losses.keys() == {"loss", "reconstruction", "trivial"} | learned


@pytest.mark.parametrize("mask_type", SAMPLERS)
def test_only_visible_patches_are_embedded_where_the_sampler_reads_no_tokens(mask_type: str) -> None:
    model = vit_pretrainer(**{**TINY, "mask_type": mask_type})
    rows: list[int] = []
    model.encoder.patch_embed.register_forward_pre_hook(lambda _, given: rows.append(given[0].shape[1]))
    model(clips(), diagnose=True)
    visible = model.sampler.num_visible(model.grid)
    assert rows == ([model.grid.num_tokens, visible] if model.sampler.reads_tokens else [visible])


@pytest.mark.parametrize("parts", ["none", "all"])
@pytest.mark.parametrize("mask_type", ["random", "tube", "frame"])
def test_losses_and_gradients_are_those_of_embedding_all_patches(
    mask_type: str, parts: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**TINY, "mask_type": mask_type, "mask_ratio": 0.5, "drop_path_rate": 0.1}
    video, seeds, steps = clips(4), torch.from_numpy(rng.integers(2**31, size=4)), []
    for reads_tokens in (False, True):
        torch.manual_seed(0)
        model = vit_pretrainer(**options)
        model.checkpoint_activations(parts)  # type: ignore[arg-type]
        monkeypatch.setattr(type(model.sampler), "reads_tokens", reads_tokens)
        loss = model(video, seeds=seeds).losses["loss"]
        loss.backward()
        steps.append([loss, *(parameter.grad for parameter in model.parameters())])
    assert all(torch.equal(got, expected) for got, expected in zip(*steps, strict=True))


@pytest.mark.parametrize("mask_type", ["random", "tube", "frame"])
def test_a_removed_patch_that_is_not_finite_spoils_its_own_error_alone(mask_type: str) -> None:
    model = vit_pretrainer(**{**TINY, "mask_type": mask_type, "mask_ratio": 0.5})
    seeds, video = torch.arange(2), model.pixel_norm(clips()).permute(0, 4, 1, 2, 3)
    before = model(video, seeds=seeds)
    pixels = model.grid.patchify(video.permute(0, 2, 3, 4, 1))
    one = before.selection.target[:, 3:4]
    pixels.scatter_(1, one.unsqueeze(2).expand(-1, -1, pixels.shape[2]), torch.nan)
    embedded: list[torch.Tensor] = []
    model.encoder.patch_embed.register_forward_hook(lambda *given: embedded.append(given[-1]))
    after = model(model.grid.unpatchify(pixels).permute(0, 4, 1, 2, 3), seeds=seeds)
    assert all(tokens.isfinite().all() for tokens in embedded)
    assert torch.equal(after.prediction, before.prediction)
    assert after.token_error.isnan().nonzero()[:, 1].tolist() == [3, 3]
    after.prediction.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_bytes_and_standardised_clips_are_one_and_the_same() -> None:
    model = vit_pretrainer(**TINY).eval()
    video = clips()
    standardised = model.pixel_norm(video).permute(0, 4, 1, 2, 3)
    seeds = torch.tensor([3, 4])
    torch.testing.assert_close(model(video, seeds=seeds).prediction, model(standardised, seeds=seeds).prediction)


def test_a_clip_is_treated_the_same_in_every_batch_also_in_training() -> None:
    model = vit_pretrainer(**TINY, drop_path_rate=0.3).train()
    video, seeds = clips(4), torch.arange(4)
    together = model(video, seeds=seeds)
    alone = model(video[2:], seeds=seeds[2:])
    assert torch.equal(together.selection.visible[2:], alone.selection.visible)
    torch.testing.assert_close(together.token_error[2:], alone.token_error)


def test_a_uniform_sampler_has_full_entropy_and_a_certain_one_sees_its_favourites() -> None:
    model = vit_pretrainer(**{**TINY, "num_frames": 8, "img_size": 64})
    score = model.sampler.network[-1]
    torch.nn.init.zeros_(score.weight)
    losses = model(clips(8, 8, 64, 64), diagnose=True).losses
    assert losses["entropy"] == pytest.approx(1, abs=1e-5)
    assert losses["top_tenth"] == pytest.approx(0.1, abs=0.1)
    assert losses["trivial"] == pytest.approx(1, abs=0.02)
    torch.nn.init.normal_(score.weight, std=100)
    losses = model(clips(8, 8, 64, 64), diagnose=True).losses
    assert losses["entropy"] < 0.5
    assert losses["top_tenth"] > 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"img_size": 30}, "height = 30"),
        ({"encoder_num_heads": 5}, "encoder width 32 does not divide into 5 heads"),
        ({"mask_ratio": 1.5}, "mask_ratio = 1.5"),
        ({"patch_size": 1, "tubelet_size": 1, "img_size": 4}, r"tokens of one pixel \(tubelet_size = patch_size = 1\)"),
    ],
)
def test_bad_sizes_are_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        vit_pretrainer(**{**TINY, **options})


def test_unknown_models_get_a_hint() -> None:
    with pytest.raises(UserError, match="did you mean 'adamae_base'"):
        create_model("adamae_bsae")
