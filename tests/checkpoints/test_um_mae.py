"""Checkpoints of UM-MAE's networks: told from their keys, loaded for fine-tuning, written, and made to fit video."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adamae.checkpoints.constants import Constants
from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.inference import infer_architecture
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.networks import build_classifier, build_encoder, build_pretrainer
from adamae.checkpoints.store import CheckpointStore
from adamae.checkpoints.tensor_files import write_tensors
from adamae.checkpoints.writing import convert
from adamae.errors import UserError
from adamae.models import create_model
from adamae.models.families import family_named
from adamae.training.resuming import check_same_run
from tests.golden import um_mae

NAMES = ("um_swin_tiny", "um_pvt_small", "um_vit_base")
CLASSIFIERS = {
    "um_swin_tiny": "swin_tiny_256",
    "um_pvt_small": "pvt_small_256",
    "um_vit_base": "mae_vit_base_patch16_224",
}
SIZES: dict[str, dict[str, Any]] = {
    "um_swin_tiny": {"embed_dim": (8, 8, 16, 16), "depth": (2, 1, 2, 1), "num_heads": (1, 1, 2, 2), "position_dim": 4},
    "um_pvt_small": {"embed_dim": (8, 8, 64, 128), "depth": (1, 1, 1, 1), "num_heads": (1, 2, 4, 2)},
    "um_vit_base": {"embed_dim": 16, "depth": 2, "num_heads": 2},
}
DECODER = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 16}


def pretrainer(name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    sizes = {f"encoder_{key}" if key != "position_dim" else key: value for key, value in SIZES[name].items()}
    arguments = {"img_size": 128, **sizes, **DECODER, **options}
    return create_model(name, **arguments), arguments


def classifier(name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    arguments = {"img_size": 128, "num_classes": 3, **SIZES[name], **options}
    return create_model(CLASSIFIERS[name], **arguments), arguments


def saved(model: Any, arguments: dict[str, Any], folder: Path) -> Path:
    meta = {"epoch": 1, "model": describe_network(model, arguments), "args": {}}
    return CheckpointStore(folder).save(1, model.state_dict(), {}, meta)


def images(model: Any, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.integers(256, size=(2, *model.grid.clip_shape, 3))).to(torch.uint8)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("mae_swin_tiny_256_sm025", "um_swin_tiny"),
        ("mae_swin_large_256_sm025", "um_swin_large"),
        ("mae_pvt_small_256_sm025", "um_pvt_small"),
        ("swin_tiny_256_finetune", "swin_tiny_256"),
        ("pvt_small_256_finetune", "pvt_small_256"),
        ("mae_vit_base_patch16_dec512d2b_sm025", "um_vit_base"),
        ("vit_base_patch16_finetune", "mae_vit_base_patch16_224"),
    ],
)
def test_published_networks_are_told_from_their_keys(key: str, name: str) -> None:
    shapes = um_mae.STATE_DICTS[key]["state_dict"]
    architecture = infer_architecture({each: torch.empty(shape, device="meta") for each, shape in shapes.items()})
    assert {each: list(shape) for each, shape in architecture.shapes().items()} == shapes
    side = 224 if "vit" in name else 256
    assert (architecture.frames, architecture.size) == (1, (side, side))
    with torch.device("meta"):
        expected = create_model(name)
    options = architecture.options()
    heads = options["num_heads" if architecture.decoder is None else "encoder_num_heads"]
    stages = {block.attn.num_heads: None for block in expected.encoder.blocks}
    assert tuple(stages) == (heads if isinstance(heads, tuple) else (heads,))


@pytest.mark.parametrize("name", ["um_vit_base", "mae_vit_base_patch16_224"])
def test_heads_of_the_huge_vit(name: str) -> None:
    """MAE's ViT-H for images: width 1280 and 16 heads of 80."""
    prefix = "encoder_" if name in NAMES else ""
    size = {"embed_dim": 1280, "depth": 2, "num_heads": 16}
    with torch.device("meta"):
        model = create_model(name, patch_size=14, **{prefix + key: value for key, value in size.items()})
    assert infer_architecture(model.state_dict()).options()[f"{prefix}num_heads"] == 16


def test_ratios_that_floating_point_rounds_down() -> None:
    """488 / 224 * 224 is 487.99..., which the constructors truncate."""
    ratio = math.nextafter(488 / 224, math.inf)
    sizes = {"embed_dim": 224, "depth": 1, "num_heads": 2, "img_size": 32}
    state = create_model(CLASSIFIERS["um_vit_base"], mlp_ratio=ratio, **sizes).state_dict()
    assert state["blocks.0.mlp.fc1.weight"].shape == (488, 224)
    assert infer_architecture(state).options()["mlp_ratio"] == ratio


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_published_file_is_fine_tuned(name: str, tmp_path: Path) -> None:
    key = {
        "um_swin_tiny": "mae_swin_tiny_256_sm025",
        "um_pvt_small": "mae_pvt_small_256_sm025",
        "um_vit_base": "mae_vit_base_patch16_dec512d2b_sm025",
    }[name]
    golden = next(each for case, each in um_mae.GOLDEN["I_transfer_keys"].items() if case.startswith(key))
    shapes = um_mae.STATE_DICTS[key]["state_dict"]
    file = tmp_path / "checkpoint.pth"
    torch.save({"model": {each: torch.randn(shape) for each, shape in shapes.items()}}, file)
    model = create_model(CLASSIFIERS[name])
    report = load_weights(model, file)
    assert sorted(report.new) == golden["missing_in_pretrain"]
    assert len(report.loaded) == golden["n_shared"]
    assert not report.resized
    dropped = {"decoder_*" if each.startswith("decoder_") else each.partition(".")[0] for each in report.ignored}
    assert sorted(dropped) == golden["dropped"]
    pretrained = create_model(name)
    load_weights(pretrained, file, complete=True)
    stored = torch.load(file, weights_only=True)["model"]
    assert torch.equal(pretrained.state_dict()["vis_mask_token"], stored["vis_mask_token"])


@pytest.mark.parametrize("options", [{}, {"num_frames": 4, "tubelet_size": 2, "uniform_sampling": "octet"}])
@pytest.mark.parametrize("mask_type", ["uniform", "adaptive_uniform"])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_gives_the_same_network(
    name: str, mask_type: str, options: dict[str, Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    if name == "um_vit_base" and options:
        options = {"img_size": 96}
    model, arguments = pretrainer(name, mask_type=mask_type, sampler_dim=8, **options)
    where = saved(model, arguments, tmp_path / "run")
    file = open_checkpoint(tmp_path / "run")
    again, _ = build_pretrainer(file)
    clips, seeds = images(model, rng), torch.arange(2)
    # With gradients another kernel of attention is taken.
    with torch.no_grad():
        assert torch.equal(again(clips, seeds=seeds).prediction, model.eval()(clips, seeds=seeds).prediction)
    encoder, _ = build_encoder(file)
    assert encoder(clips).shape == (2, model.encoder.embed_dim)
    assert encoder.tokens(clips).shape == (2, math.prod(encoder.feature_grid), model.encoder.embed_dim)
    assert encoder.times(clips).shape == (2, model.grid.t, model.encoder.embed_dim)
    assert "UM-MAE" in file.method or "uniform" in file.method
    store = CheckpointStore(tmp_path / "run").newest()
    assert store is not None and where
    check_same_run(store, model, describe_network(model, arguments))
    if mask_type == "adaptive_uniform":
        return
    other, changed = pretrainer(name, mask_type=mask_type, **{**options, "decoder_depth": 2})
    with pytest.raises(UserError, match="is of a different model"):
        check_same_run(store, other, describe_network(other, changed))
    convert(file, tmp_path / "weights.pth", "reference")
    assert open_checkpoint(tmp_path / "weights.pth").architecture.options() == file.architecture.options()
    plain = torch.load(tmp_path / "weights.pth", weights_only=False)["model"]
    assert {each: value.shape for each, value in plain.items()} == {
        each: value.shape for each, value in model.state_dict().items()
    }
    with pytest.raises(UserError, match="not supported by the VideoMAE of Transformers"):
        convert(file, tmp_path / "hf", "transformers")


@pytest.mark.parametrize("name", NAMES)
def test_a_fine_tuned_network(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model, arguments = classifier(name, drop_path_rate=0.1)
    saved(model, arguments, tmp_path / "run")
    again, _ = build_classifier(open_checkpoint(tmp_path / "run"))
    clips = images(model, rng)
    assert torch.equal(again(clips), model.eval()(clips))


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_of_a_network_whose_decoder_has_another_mlp_ratio(name: str, tmp_path: Path) -> None:
    model, arguments = pretrainer(name, mlp_ratio=2.0)
    saved(model, arguments, tmp_path / "run")
    encoder, _ = build_encoder(open_checkpoint(tmp_path / "run"))
    hidden = {key: value.shape for key, value in model.encoder.state_dict().items() if ".mlp." in key}
    assert hidden
    assert hidden.items() <= {key: value.shape for key, value in encoder.model.encoder.state_dict().items()}.items()


@pytest.mark.parametrize("name", ["um_swin_tiny", "um_pvt_small"])
def test_image_weights_answer_a_still_video_as_the_image(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    image, arguments = classifier(name, use_mean_pooling=True)
    saved(image, arguments, tmp_path / "run")
    video, _ = classifier(name, num_frames=4, tubelet_size=2)
    report = load_weights(video, tmp_path / "run")
    expected = {"patch_embed.proj.weight"}
    if name == "um_swin_tiny":
        expected |= {f"blocks.{number}.attn.posmlp.0.weight" for number in range(6)}
    assert set(report.resized) == expected
    picture = images(image, rng)
    if name == "um_pvt_small":
        video.encoder.times.zero_()
    torch.testing.assert_close(
        video.eval()(picture.expand(-1, 4, -1, -1, -1)), image.eval()(picture), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("name", "rows"), [("um_pvt_small", 48 * 48), ("um_vit_base", 12 * 12 + 1)])
def test_learned_positions_are_resized(name: str, rows: int, tmp_path: Path) -> None:
    model, arguments = classifier(name)
    saved(model, arguments, tmp_path / "run")
    larger, _ = classifier(name, img_size=192)
    assert load_weights(larger, tmp_path / "run").resized == ("pos_embed",)
    assert larger.encoder.pos_embed.shape[1] == rows
    # Those of pre-training are fixed, and so the model's own.
    model, arguments = pretrainer(name)
    saved(model, arguments, tmp_path / "pretrain")
    larger, _ = pretrainer(name, img_size=192)
    before = larger.encoder.pos_embed.clone()
    assert not load_weights(larger, tmp_path / "pretrain", complete=True).resized
    assert torch.equal(larger.encoder.pos_embed, before)


@pytest.mark.parametrize("family", ["mae_vit", "swin"])
def test_an_average_of_past_weights_is_left_out(family: str, tmp_path: Path) -> None:
    """As ``--sampling_reward progress`` keeps one; only a run that goes on reads it."""
    pyramid = family == "swin"
    options: dict[str, Any] = {
        "encoder_embed_dim": (16, 32, 64, 128) if pyramid else 32,
        "encoder_depth": (1, 1, 1, 1) if pyramid else 1,
        "encoder_num_heads": (1, 2, 4, 8) if pyramid else 2,
        "img_size": 64,
        "decoder_embed_dim": 32,
        "decoder_depth": 1,
        "decoder_num_heads": 2,
        "mask_type": "adaptive_uniform",
        "sampling_reward": "progress",
    }
    model = family_named(family).pretrainer(**options)
    path = tmp_path / "model.safetensors"
    write_tensors(path, model.state_dict(), {"model": describe_network(model, options), "epoch": 0, "step": 1})
    read, _ = build_pretrainer(open_checkpoint(path))
    assert read.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value, rtol=0, atol=0)
    build_encoder(open_checkpoint(path))


def test_norms_of_a_swin_keep_their_epsilons() -> None:
    """They differ: an epsilon that was read off one of them must not be set on all."""
    options: dict[str, Any] = {"embed_dim": (8, 8, 16, 16), "depth": (1, 1, 1, 2), "num_heads": (1, 1, 2, 2)}
    model = family_named("swin").classifier(**options, img_size=64, num_classes=3)
    before = {name: norm.eps for name, norm in model.named_modules() if isinstance(norm, torch.nn.LayerNorm)}
    assert len(set(before.values())) > 1
    assert Constants.of_model(model).norm_eps is None
    # As files of earlier versions say.
    assert Constants(norm_eps=1e-5).adopt(model) == []
    assert before == {name: norm.eps for name, norm in model.named_modules() if isinstance(norm, torch.nn.LayerNorm)}


@pytest.mark.parametrize("build", [pretrainer, classifier])
@pytest.mark.parametrize("name", NAMES)
def test_any_damaged_entry_is_a_network_or_one_error(build: Any, name: str, rng: np.random.Generator) -> None:
    with torch.device("meta"):
        model, _ = build(name)
    state = model.state_dict()
    # Sizes are read from these; all other entries are only compared.
    read = [key for key in state if "blocks" not in key or "blocks.0." in key]
    for key in ["decoder_embed.weight"] * ("decoder_embed.weight" in state) + rng.permutation(read)[:3].tolist():
        value, axes = state[key], state[key].dim()
        for shape in (None, (), (0,) * axes, (*value.shape, 1), (1,) * axes):
            entries = {other: kept for other, kept in state.items() if other != key}
            if shape is not None:
                entries[key] = torch.empty(shape, device="meta")
            try:
                infer_architecture(entries)
            except UserError as error:
                assert "\n" not in str(error)
