"""From every layout to every other and back: the same bits."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adamae.checkpoints.constants import Constants, describe_network
from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.tensor_files import write_tensors
from adamae.checkpoints.writing import WRITERS, convert
from adamae.errors import UserError
from adamae.evaluation.clip_facts import clip_facts
from tests.checkpoints.networks import CLASSIFIER, PRETRAIN, bits, classifier, clip, pretrainer

SUFFIX = {"reference": ".pth", "safetensors": ".safetensors", "transformers": ""}
NETWORKS: dict[str, tuple[nn.Module, dict[str, Any]]] = {
    "pretrain": (pretrainer(mask_type="random"), {**PRETRAIN, "mask_type": "random"}),
    "classifier": (classifier(), CLASSIFIER),
    "first token": (classifier(use_mean_pooling=False), {**CLASSIFIER, "use_mean_pooling": False}),
    "without biases": (classifier(qkv_bias=False), {**CLASSIFIER, "qkv_bias": False}),
}


def write(model: nn.Module, options: dict[str, Any], path: Path) -> Path:
    write_tensors(path, model.state_dict(), {"model": describe_network(model, options), "epoch": 7, "step": 70})
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_every_pair_of_layouts_keeps_every_bit(name: str, tmp_path: Path) -> None:
    model, options = NETWORKS[name]
    original = bits(model.state_dict())
    source = open_checkpoint(write(model, options, tmp_path / "source.safetensors"))
    for first, second in itertools.product(WRITERS, repeat=2):
        one, two = tmp_path / f"one-{first}{SUFFIX[first]}", tmp_path / f"two-{first}-{second}{SUFFIX[second]}"
        convert(source, one, first)
        convert(open_checkpoint(one), two, second)
        read = open_checkpoint(two)
        assert bits(read.state) == original, (first, second)
        assert read.architecture.guessed == (), (first, second)
        assert {**options, **read.architecture.options()} == {**read.architecture.options(), **options}


@pytest.mark.parametrize("target", WRITERS)
def test_a_file_has_the_rights_that_the_umask_says(target: str, tmp_path: Path) -> None:
    model, options = NETWORKS["classifier"]
    before = os.umask(0o027)
    try:
        source = write(model, options, tmp_path / "source.safetensors")
        convert(open_checkpoint(source), tmp_path / f"out{SUFFIX[target]}", target)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == (4 if target == "transformers" else 2)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


@pytest.mark.parametrize("target", ["reference", "safetensors"])
@pytest.mark.parametrize("options", [{}, {"sampler_dim": 16}, {"sampler_network": "mlp"}, {"sampler_depth": 2}])
def test_the_sampler_goes_with_the_network(target: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = pretrainer(**options)
    file = open_checkpoint(write(model, {**PRETRAIN, **options}, tmp_path / "source.safetensors"))
    convert(file, tmp_path / "out", target)
    again = open_checkpoint(tmp_path / "out")
    assert bits(again.state) == bits(model.state_dict())
    assert again.architecture.options() == file.architecture.options()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_stay(dtype: torch.dtype, tmp_path: Path) -> None:
    model = classifier().to(dtype)
    path = tmp_path / "source.pth"
    torch.save(model.state_dict(), path)
    for target in WRITERS:
        convert(open_checkpoint(path), tmp_path / target, target)
        assert bits(open_checkpoint(tmp_path / target).state) == bits(model.state_dict())


def test_separable_positions_and_layer_scale_live_in_our_own_file(tmp_path: Path) -> None:
    options = {**CLASSIFIER, "cls_token": True, "position_embedding": "separable", "init_values": 0.1}
    model = classifier(**options)
    file = open_checkpoint(write(model, options, tmp_path / "source.safetensors"))
    convert(file, tmp_path / "again.safetensors", "safetensors")
    again = classifier(seed=1, **open_checkpoint(tmp_path / "again.safetensors").architecture.options())
    load_weights(again, tmp_path / "again.safetensors", complete=True)
    torch.testing.assert_close(again(clip()), model(clip()), rtol=0, atol=0)
    for target in ("reference", "transformers"):
        with pytest.raises(UserError, match=r"positions.*class token|class token.*positions"):
            convert(file, tmp_path / "refused", target)
        assert not (tmp_path / "refused").exists()


def test_constants_go_with_our_own_files(tmp_path: Path) -> None:
    model = classifier()
    Constants(norm_eps=1e-3, last_norm_eps=1e-2).adopt(model)
    path = write(model, CLASSIFIER, tmp_path / "source.safetensors")
    for target in ("reference", "safetensors"):
        convert(open_checkpoint(path), tmp_path / target, target)
        again = classifier(seed=1)
        load_weights(again, tmp_path / target)
        torch.testing.assert_close(again(clip()), model(clip()), rtol=0, atol=0)


def test_the_reference_reads_its_layout(tmp_path: Path) -> None:
    """Its loader takes "model" with the names of its own state dict in their order, and an epoch to go on from."""
    model, options = NETWORKS["pretrain"]
    convert(open_checkpoint(write(model, options, tmp_path / "source.safetensors")), tmp_path / "out.pth", "reference")
    content = torch.load(tmp_path / "out.pth", weights_only=False)
    assert list(content["model"]) == list(model.state_dict())
    assert content["epoch"] == 7
    assert content["args"].num_frames == 4


def test_facts_go_along(tmp_path: Path) -> None:
    path = tmp_path / "source.safetensors"
    names = ["a", "b", "c", "d", "e"]
    config = {**describe_network(classifier(), CLASSIFIER), "class_names": names}
    write_tensors(path, classifier().state_dict(), {"model": config, "epoch": "best", "step": 5})
    for target in WRITERS:
        convert(open_checkpoint(path), tmp_path / target, target)
        file = open_checkpoint(tmp_path / target)
        assert (list(file.class_names), file.epoch) == (names, "best"), target


@pytest.mark.parametrize("target", ["reference", "safetensors"])
def test_how_the_clips_were_sampled_goes_along(target: str, tmp_path: Path) -> None:
    args = {"sampling_rate": 2, "frame_sampling": "segment", "data_set": "SSV2"}
    torch.save({"model": classifier().state_dict(), "args": args}, tmp_path / "source.pth")

    convert(open_checkpoint(tmp_path / "source.pth"), tmp_path / "out", target)
    after = clip_facts(open_checkpoint(tmp_path / "out"))
    assert (after.sampling_rate, after.frame_sampling) == (2, "segment")


@pytest.mark.parametrize(
    ("target", "out", "message"),
    [
        ("onnx", "out", "unknown layout 'onnx': expected one of reference, safetensors, transformers"),
        ("reference", ".", "is a directory; expected a file"),
        ("transformers", "source.safetensors", "is a file; expected a directory"),
        ("reference", "source.safetensors/below", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_one_line(target: str, out: str, message: str, tmp_path: Path) -> None:
    file = open_checkpoint(write(classifier(), CLASSIFIER, tmp_path / "source.safetensors"))
    with pytest.raises(UserError, match=message) as caught:
        convert(file, tmp_path / out, target)
    assert "\n" not in str(caught.value)


def test_what_a_network_selects_is_kept_by_us_and_told_to_others(tmp_path: Path) -> None:
    options = {**CLASSIFIER, "token_selection": "motion", "keep_ratio": 0.5, "candidate_frames": 6}
    model = classifier(token_selection="motion", keep_ratio=0.5, candidate_frames=6)
    source = open_checkpoint(write(model, options, tmp_path / "source.safetensors"))
    for target, suffix in SUFFIX.items():
        report = convert(source, tmp_path / f"to{suffix}", target)
        selects = "this model uses selected tokens (by motion) and frames (by motion)"
        told = f"other programs use all tokens and frames, {selects}"
        assert (told in report.notes) == (target != "safetensors")
    for kept in ("to.pth", "to.safetensors"):
        found = open_checkpoint(tmp_path / kept).architecture.options()
        assert {name: found[name] for name in ("token_selection", "keep_ratio", "candidate_frames")} == {
            "token_selection": "motion",
            "keep_ratio": 0.5,
            "candidate_frames": 6,
        }
