"""From every layout to every other and back: the same bits."""

from __future__ import annotations

import itertools
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adamae.checkpoints.constants import Constants
from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.tensor_files import write_tensors
from adamae.checkpoints.writing import WRITERS, convert
from adamae.errors import UserError
from adamae.evaluation.clip_settings import training_clip
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


# Transformers' query, key and value are parts of one tensor here.
@pytest.mark.parametrize("target", ["reference", "safetensors"])
@pytest.mark.parametrize("source", ["source.pth", "source.safetensors"])
def test_memory_mapped_weights_are_written_without_a_copy(
    source: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of the largest size would take its gigabytes once more."""
    model, options = NETWORKS["classifier"]
    if source == "source.pth":
        torch.save({"model": model.state_dict()}, tmp_path / source)
    else:
        write(model, options, tmp_path / source)
    file = open_checkpoint(tmp_path / source)
    monkeypatch.setattr(torch.Tensor, "clone", lambda tensor, **_: pytest.fail(f"copied {tuple(tensor.shape)}"))
    convert(file, tmp_path / "out", target)
    monkeypatch.undo()
    assert bits(open_checkpoint(tmp_path / "out").state) == bits(model.state_dict())


@pytest.mark.parametrize("target", WRITERS)
def test_parts_of_larger_tensors_are_written_alone(target: str, tmp_path: Path) -> None:
    model, options = NETWORKS["classifier"]
    file = open_checkpoint(write(model, options, tmp_path / "source.safetensors"))
    one = torch.cat([value.flatten() for value in file.state.values()])
    parts = one.split([value.numel() for value in file.state.values()])
    views = {name: part.view_as(value) for part, (name, value) in zip(parts, file.state.items(), strict=True)}
    convert(file, tmp_path / "whole", target)
    convert(replace(file, state=views), tmp_path / "parts", target)
    assert bits(open_checkpoint(tmp_path / "parts").state) == bits(file.state)
    sizes = [
        sum(path.stat().st_size for path in [place, *place.rglob("*")] if path.is_file())
        for place in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert sizes[0] == sizes[1]


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


def test_constants_that_other_programs_do_not_have_are_told(tmp_path: Path) -> None:
    model = classifier()
    Constants(1e-3, 1e-2, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)).adopt(model)
    path = write(model, CLASSIFIER, tmp_path / "source.safetensors")
    (told,) = convert(open_checkpoint(path), tmp_path / "out.pth", "reference").notes
    assert "has its own LayerNorm epsilon and pixel statistics" in told
    assert all(f"{name} {value}" in told for name, value in Constants.of_model(model).as_config().items())
    told = str(convert(open_checkpoint(path), tmp_path / "out", "transformers"))
    assert "Transformers computes the norm before the head with an epsilon of 1e-05, here it is 0.01" in told
    path = write(classifier(), {**CLASSIFIER}, tmp_path / "usual.safetensors")
    assert convert(open_checkpoint(path), tmp_path / "out.pth", "reference").notes == ()


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("pooling", [True, False])
def test_another_epsilon_before_the_head_is_told_if_there_is_one(pooling: bool, classes: int, tmp_path: Path) -> None:
    """Transformers' norm after the encoder follows its config."""
    options = {**CLASSIFIER, "use_mean_pooling": pooling, "num_classes": classes}
    file = open_checkpoint(write(classifier(**options), options, tmp_path / "source.safetensors"))
    told = str(convert(file, tmp_path / "out", "transformers"))
    assert ("computes the norm before the head with an epsilon of 1e-05, here it is 1e-06" in told) == pooling


def test_guesses_do_not_become_facts(tmp_path: Path) -> None:
    """The reference's layout has a place for a clip size and an epoch, which this file does not tell."""
    model = pretrainer(num_frames=8, img_size=32, mask_type="random")
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    source = open_checkpoint(tmp_path / "bare.pth")
    report = convert(source, tmp_path / "out.pth", "reference")
    assert "the file does not store the clip size: its options have no num_frames and input_size" in report.notes
    again = open_checkpoint(tmp_path / "out.pth")
    assert again.architecture.guessed == source.architecture.guessed == ("heads", "frames", "size")
    assert (again.epoch, again.args) == (None, {})
    told = {"model": model.state_dict(), "args": {"num_frames": 8}}
    torch.save(told, tmp_path / "told.pth")
    report = convert(open_checkpoint(tmp_path / "told.pth"), tmp_path / "out.pth", "reference")
    assert "the file does not store the clip size: its options have no input_size" in report.notes
    assert open_checkpoint(tmp_path / "out.pth").args == {"num_frames": 8}


def test_a_sampler_that_the_reference_does_not_have_is_told(tmp_path: Path) -> None:
    options = {**PRETRAIN, "mask_type": "adaptive_uniform", "mask_ratio": None, "img_size": 32}
    model = pretrainer(**options)
    file = open_checkpoint(write(model, options, tmp_path / "source.safetensors"))
    told = convert(file, tmp_path / "out.pth", "reference").notes
    assert told == ("the official code has no such sampler: its strict loading refuses the entries sampler.*",)


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
    after = training_clip(open_checkpoint(tmp_path / "out"))
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
