"""A network as a graph gives the network's own numbers, for any number of clips."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.networks import build_classifier, build_encoder, build_pretrainer
from adamae.checkpoints.tensor_files import write_tensors
from adamae.cli import main as cli
from adamae.errors import UserError
from adamae.export import writing
from adamae.export.graphs import ClassifierGraph
from adamae.export.writing import export
from adamae.models import create_model
from tests.checkpoints.networks import CLASSIFIER, PRETRAIN, classifier, pretrainer, randomise

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnxruntime", "onnxscript")),
    reason="onnxruntime or onnxscript is not installed",
)
SWIN: dict[str, Any] = {
    "img_size": 64, "num_frames": 2, "num_classes": 3, "position_dim": 4,
    "embed_dim": (8, 8, 16, 16), "depth": (2, 1, 1, 1), "num_heads": (1, 1, 2, 2),
}  # fmt: skip


def saved(model: torch.nn.Module, options: dict[str, Any], folder: Path, **more: Any) -> CheckpointFile:
    path = folder / "model.safetensors"
    write_tensors(path, model.state_dict(), {"model": {**describe_network(model, options), **more}})
    return open_checkpoint(path)


def clips(file: CheckpointFile, count: int, rng: np.random.Generator) -> Tensor:
    size = (count, file.architecture.frames, *file.architecture.size, 3)
    return torch.from_numpy(rng.integers(256, size=size, dtype=np.uint8))


def run_onnx(path: Path, **inputs: Tensor) -> list[Tensor]:
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return [torch.from_numpy(value) for value in found]


def assert_near(got: Tensor, wanted: Tensor) -> None:
    assert got.shape == wanted.shape
    assert float((got - wanted).abs().max() / wanted.abs().max()) < 1e-5


@pytest.mark.slow
@needs_onnx
@torch.no_grad()
def test_a_classifier_that_selects_tokens_as_onnx(tmp_path: Path, rng: np.random.Generator) -> None:
    options = {**CLASSIFIER, "token_selection": "motion", "keep_ratio": 0.6}
    file = saved(classifier(**options), options, tmp_path, class_names=list("abcde"))
    report = export(file, tmp_path / "out.onnx", "onnx")
    assert report.difference is not None and report.difference < 1e-5
    assert "classifier as onnx, video uint8 (batch, 4, 16, 16, 3) to logits" in str(report)
    for count in (1, 4):
        video = clips(file, count, rng)
        (logits,) = run_onnx(tmp_path / "out.onnx", video=video)
        assert_near(logits, build_classifier(file)[0](video))
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "out.onnx")
    assert [each.shape for each in session.get_inputs()] == [["batch", 4, 16, 16, 3]]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [("logits", ["batch", 5])]
    facts = json.loads(session.get_modelmeta().custom_metadata_map["adamae"])
    assert facts == {"part": "classifier", "class_names": list("abcde")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "out.onnx"]


@pytest.mark.slow
@needs_onnx
@torch.no_grad()
def test_a_pyramid_as_onnx(tmp_path: Path, rng: np.random.Generator) -> None:
    file = saved(randomise(create_model("swin_tiny_256", **SWIN)), SWIN, tmp_path)
    export(file, tmp_path / "out.onnx", "onnx")
    video = clips(file, 1, rng)
    assert_near(run_onnx(tmp_path / "out.onnx", video=video)[0], build_classifier(file)[0](video))


@pytest.mark.slow
@needs_onnx
@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="the exporter of torch 2.6 cannot translate it")
@torch.no_grad()
def test_a_masked_autoencoder_predicts_from_given_tokens(tmp_path: Path, rng: np.random.Generator) -> None:
    options = {**PRETRAIN, "mask_type": "random"}
    file = saved(pretrainer(**options), options, tmp_path)
    export(file, tmp_path / "out.onnx", "onnx", "pretrainer")
    video = clips(file, 3, rng)
    # In no order: the network takes them as a set.
    visible = torch.from_numpy(rng.permuted(np.tile(np.arange(8), (3, 1)), axis=1)[:, :4])
    prediction, target = run_onnx(tmp_path / "out.onnx", video=video, visible=visible)
    wanted = build_pretrainer(file)[0](video, visible=visible)
    assert torch.equal(target, wanted.selection.target)
    assert_near(prediction, wanted.prediction)


@torch.no_grad()
def test_a_pyramid_predicts_from_given_tokens(tmp_path: Path) -> None:
    """Each clip has its own positions, in any number of clips."""
    sizes = {f"encoder_{name}": SWIN[name] for name in ("embed_dim", "depth", "num_heads")}
    options = {**sizes, "img_size": 64, "position_dim": 4}
    options |= {"decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 2}
    file = saved(randomise(create_model("um_swin_tiny", **options)), options, tmp_path)
    report = export(file, tmp_path / "out.pt2", "torch_export", "pretrainer")
    program = torch.export.load(tmp_path / "out.pt2").module()
    for count in (1, 5):
        inputs = report.graph.example(count)
        assert inputs.keys() == {"video", "visible", "secondary"}
        prediction, target = program(**inputs)
        wanted, among = report.graph.module(**inputs)
        assert torch.equal(target, among)
        assert_near(prediction, wanted)


@torch.no_grad()
def test_an_encoder_for_torch_export(tmp_path: Path, rng: np.random.Generator) -> None:
    file = saved(pretrainer(), PRETRAIN, tmp_path)
    report = export(file, tmp_path / "out.pt2", "torch_export")
    assert report.graph.part == "encoder"
    program = torch.export.load(tmp_path / "out.pt2")
    # It runs where this package is not installed.
    called = {node.target.__module__ for node in program.graph.nodes if node.op == "call_function"}
    assert called <= {"torch._ops.aten", "_operator"}, called
    encoder, video = build_encoder(file)[0], clips(file, 1, rng)
    features, tokens = program.module()(video=video)
    assert_near(features, encoder(video))
    assert_near(tokens, encoder.tokens(video))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-o", "{}/out.pt2", "--to", "onnx"], "out.pt2: expected a name that ends in .onnx for --to onnx"),
        (["-o", "{}/out.onnx", "--to", "onnx", "--part", "pretrainer"], "without a decoder; expected a pre-trained"),
        (["-o", "{}/out", "--part", "encoder"], "--part encoder: expected --to onnx or torch_export, got --to safeten"),
        (["-o", "{}/out.pt2", "--to", "torch_export"], "torch.export cannot trace the classifier: no such operator"),
    ],
)
def test_what_cannot_be_exported_says_why(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: ClassifierGraph, video: Tensor) -> Tensor:
        raise NotImplementedError("no such operator\n  in a long story")

    monkeypatch.setattr(ClassifierGraph, "forward", refuse)
    monkeypatch.setattr(writing, "_is_installed", lambda package: True)
    saved(classifier(), CLASSIFIER, tmp_path)
    assert cli.main(["convert", f"{tmp_path}/model.safetensors", *(word.format(tmp_path) for word in words)]) == 2
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1


def test_unknown_targets_and_parts_are_named(tmp_path: Path) -> None:
    file = saved(classifier(), CLASSIFIER, tmp_path)
    with pytest.raises(UserError, match="target = 'torch_exports': expected one of onnx, torch_export"):
        export(file, tmp_path / "out.pt2", "torch_exports")
    with pytest.raises(UserError, match="part = 'head': expected one of encoder, classifier, pretrainer"):
        export(file, tmp_path / "out.pt2", "torch_export", "head")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(classifier(), CLASSIFIER, tmp_path)
    monkeypatch.setattr(writing, "_is_installed", lambda package: False)
    with pytest.raises(UserError, match=r"'onnxscript', which is not installed: pip install onnxscript onnxruntime"):
        export(file, tmp_path / "out.onnx", "onnx")


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(classifier(), CLASSIFIER, tmp_path)
    write = writing.TARGETS["torch_export"]

    def spoilt(*arguments: Any) -> Any:
        run = write(*arguments)
        assert run is not None
        return lambda inputs: [value * 1.01 for value in run(inputs)]

    monkeypatch.setitem(writing.TARGETS, "torch_export", spoilt)
    with pytest.raises(UserError, match="gives other numbers than the network"):
        export(file, tmp_path / "out.pt2", "torch_export")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
