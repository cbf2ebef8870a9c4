"""What a checkpoint is, told to people and programs; the commands that tell and rewrite it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.inference import infer_architecture
from adamae.checkpoints.inspection import as_text, describe
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.store import CheckpointStore
from adamae.cli.main import main
from adamae.models import MODELS, create_model
from tests.checkpoints.networks import CLASSIFIER, bits, classifier, pretrainer
from tests.golden import recipe

PUBLISHED = {
    "pretrain_mae_small_patch16_224": {},
    "pretrain_videomae_base_patch16_224": {},
    "pretrain_videomae_large_patch16_224": {},
    "finetune_vit_small_patch16_224": {"num_classes": 174},
    "finetune_vit_base_patch16_224": {"num_classes": 174},
    "finetune_vit_large_patch16_224": {"num_classes": 174},
}


def empty(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_told_from_their_keys(name: str) -> None:
    shapes = recipe.load(f"adamae/keys_{name}.json")
    architecture = infer_architecture(empty(shapes))
    assert {key: list(shape) for key, shape in architecture.shapes().items()} == shapes
    assert list(architecture.shapes()) == list(shapes)
    size = MODELS[name.removeprefix("finetune_")].arguments
    assert {**size, **PUBLISHED[name]}.items() <= architecture.options().items()
    assert (architecture.frames, architecture.size) == (16, (224, 224))


@pytest.mark.parametrize("name", ["pretrain_videomae_huge_patch16_224", "vit_huge_patch16_224", "adamae_tiny"])
def test_heads_of_other_sizes(name: str) -> None:
    with torch.device("meta"):
        state = create_model(name).state_dict()
    options = infer_architecture(state).options()
    assert MODELS[name].arguments.items() <= options.items()
    with torch.device("meta"):
        assert create_model(name, **options).state_dict().keys() == state.keys()


def test_videomae_v2_giant() -> None:
    """Width 1408, 16 heads, a ratio of 48 to 11 inside the MLP, 14 pixels to a token."""
    with torch.device("meta"):
        model = create_model(
            "vit_base_patch16_224", embed_dim=1408, depth=2, num_heads=16, mlp_ratio=48 / 11, patch_size=14
        )
    options = infer_architecture(model.state_dict()).options()
    assert (options["num_heads"], options["patch_size"]) == (16, 14)
    assert int(1408 * options["mlp_ratio"]) == 6144


def reference_file(path: Path) -> Path:
    args = argparse.Namespace(model="pretrain_videomae", num_frames=4, input_size=16, lr=1.5e-4)
    torch.save({"model": pretrainer().state_dict(), "optimizer": {}, "epoch": 799, "scaler": {}, "args": args}, path)
    return path


def test_facts(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(describe(open_checkpoint(reference_file(tmp_path / "checkpoint-799.pth")))))
    assert facts["format"] == {"layout": "published", "container": "torch"}
    assert facts["method"].startswith("AdaMAE")
    assert facts["architecture"]["encoder"] == {"width": 32, "depth": 2, "heads": 1, "hidden": 64}
    assert facts["architecture"]["sampler"] == {"network": "mha", "width": 32, "depth": 1, "hidden": 128, "tokens": 8}
    assert facts["clip"] == {"frames": 4, "height": 16, "width": 16, "channels": 3, "tubelet": 2, "patch": 8}
    assert (facts["epoch"], facts["step"], facts["classes"]) == (799, None, None)
    assert facts["guessed"] == ["heads"]
    assert facts["others"] == ["optimizer", "scaler"]
    assert facts["args"]["lr"] == 1.5e-4
    assert facts["parameters"] == sum(parameter.numel() for parameter in pretrainer().parameters())


def test_text_has_a_line_for_each_fact(tmp_path: Path) -> None:
    text = as_text(open_checkpoint(reference_file(tmp_path / "checkpoint-799.pth")))
    for line in (
        "format     AdaMAE / VideoMAE / VideoMAEv2 layout, written by torch.save",
        "encoder    width 32, depth 2, 1 heads, MLP 64 (not stored in the file, default)",
        "sampler    mha, 1 layers, width 32, 8 tokens",
        "frames     4",
        "size       16x16",
        "epoch      799",
        "also holds optimizer, scaler",
        "args       input_size=16 lr=0.00015 model=pretrain_videomae num_frames=4",
    ):
        assert line in text.splitlines(), line


def test_inspect_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {**describe_network(classifier(), CLASSIFIER), "class_names": list("abcde")}
    CheckpointStore(tmp_path / "checkpoints").save(120, classifier().state_dict(), {}, {"model": config, "epoch": 4.0})
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["step"], facts["epoch"], facts["classes"], facts["guessed"]) == (120, 3, 5, [])
    assert main(["inspect", str(tmp_path)]) == 0
    assert "classes    5: a, b, c, d, e" in capsys.readouterr().out


def test_convert_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = reference_file(tmp_path / "checkpoint-799.pth"), tmp_path / "out"
    assert main(["convert", str(source), "-o", str(out), "--to", "transformers"]) == 0
    told = capsys.readouterr().out
    assert "14 left out (Transformers' VideoMAE has no sampler)" in told
    assert "does not store the number of attention heads: 1 and 1 are assumed" in told
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors", "preprocessor_config.json"}
    kept = {
        name: value
        for name, value in pretrainer().state_dict().items()
        if "token_probs" not in name and "pos_embed" not in name
    }
    assert bits(open_checkpoint(out).state) == bits(kept)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("inspect {tmp}/none.pth", "none.pth: no such file or directory; expected a checkpoint"),
        ("inspect", "the following arguments are required: FILE"),
        ("inspect {file} --model_key ema", "has no 'ema'; it holds args, epoch, model, optimizer, scaler"),
        ("convert {file} --to reference", "the following arguments are required: --out"),
        (
            "convert {file} -o {tmp}/out --to keras",
            "got 'keras', expected one of reference, safetensors, transformers, onnx, torch_export",
        ),
        ("convert {file} -o {tmp} --to reference", "is a directory; expected a file"),
    ],
)
def test_mistakes_are_one_line(words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = reference_file(tmp_path / "checkpoint-799.pth")
    assert main(words.format(tmp=tmp_path, file=file).split()) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("adamae: error: ")
    assert told.count("\n") == 1
