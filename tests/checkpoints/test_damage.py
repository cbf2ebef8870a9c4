"""Damaged checkpoints, two hundred of them at random: one line each, no traceback, no weights that nobody wrote."""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.networks import build_classifier
from adamae.checkpoints.store import CheckpointStore
from adamae.checkpoints.tensor_files import OURS, save_tensors, write_tensors
from adamae.cli.main import main
from adamae.errors import UserError
from adamae.models.pyramid.factories import swin_classifier
from tests.checkpoints.networks import CLASSIFIER, bits, classifier, pretrainer

COUNT = 200
SEED = 20261121
State = dict[str, Any]
MODELS = {"pretrain": pretrainer(), "classifier": classifier()}
BITS = {name: bits(model.state_dict()) for name, model in MODELS.items()}


def write_reference(state: State, path: Path) -> None:
    args = argparse.Namespace(model="vit", num_frames=4, input_size=16, window_size=(2, 2, 2))
    torch.save({"model": state, "epoch": 3, "args": args, "scaler": {}}, path)


def write_ours(state: State, path: Path) -> None:
    write_tensors(path, state, {"model": describe_network(MODELS["classifier"], CLASSIFIER), "epoch": 3})


def write_run(state: State, path: Path) -> None:
    CheckpointStore(path).save(3, state, {"optimizer": {}}, {"model": {"options": CLASSIFIER}, "epoch": 3})


# name: (whose weights, how they are written)
FILES: dict[str, tuple[str, Callable[[State, Path], None]]] = {
    "pretrain.pth": ("pretrain", write_reference),
    "finetune.pth": ("classifier", write_reference),
    "ours.safetensors": ("classifier", write_ours),
    "run": ("classifier", write_run),
}


def flip(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 1, 4, 64))):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def overwrite(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = dice.randrange(len(content))
    content[start : start + 512] = dice.randbytes(min(512, len(content) - start))
    path.write_bytes(content)


def cut(path: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content))])


def rename(state: State, dice: random.Random) -> None:
    name = dice.choice(sorted(state))
    place = dice.randrange(len(name))
    state[name[:place] + dice.choice("xyz_.0") + name[place:]] = state.pop(name)


def drop(state: State, dice: random.Random) -> None:
    del state[dice.choice(sorted(state))]


def reshape(state: State, dice: random.Random) -> None:
    name = dice.choice(sorted(state))
    value: Tensor = state[name]
    shapes = [
        value[:-1],
        torch.cat((value, value)),
        value.unsqueeze(0),
        value.flatten()[:1].clone(),
        value[None, ..., None],
    ]
    state[name] = next(shape for shape in dice.sample(shapes, len(shapes)) if shape.shape != value.shape)


def retype(state: State, dice: random.Random) -> None:
    name = dice.choice(sorted(state))
    value: Tensor = state[name]
    kinds = [value.int(), value > 0, value.to(torch.complex64), value * torch.nan, value / 0]
    state[name] = dice.choice(kinds)


def unfit(state: State, dice: random.Random) -> None:
    """What only a pickle can hold."""
    name = dice.choice(sorted(state))
    value: Tensor = state[name]
    state[name] = dice.choice(
        [value.tolist(), "weights", None, 3.0, {"weight": value}, value.to_sparse(), value.to("meta")]
    )


BYTES = (flip, overwrite, cut)
STATES = (rename, drop, reshape, retype)


def damage(name: str, path: Path, dice: random.Random) -> str:
    """Write the named file, damaged; return how."""
    kind, write = FILES[name]
    target = path / name
    state: State = copy.deepcopy(dict(MODELS[kind].state_dict()))
    if dice.random() < 0.5:
        write(state, target)
        victim = (
            dice.choice(sorted(file for file in target.rglob("*") if file.is_file())) if target.is_dir() else target
        )
        change = dice.choice(BYTES)
        change(victim, dice)
        return f"{change.__name__} {victim.name}"
    spoil = dice.choice((*STATES, unfit) if name.endswith(".pth") else STATES)
    spoil(state, dice)
    write(state, target)
    return spoil.__name__


@pytest.fixture(scope="module")
def targets() -> dict[str, nn.Module]:
    """Networks to load into, with other weights than the files'."""
    return {"pretrain": pretrainer(seed=1), "classifier": classifier(seed=1)}


@pytest.mark.filterwarnings("ignore:skipping corrupt checkpoint")
@pytest.mark.parametrize("number", range(COUNT))
def test_damage_is_told_in_one_line(number: int, targets: dict[str, nn.Module], tmp_path: Path) -> None:
    dice = random.Random(SEED + number)
    name = sorted(FILES)[number % len(FILES)]
    how = damage(name, tmp_path, dice)
    print(f"seed {SEED + number}: {name}, {how}")
    kind = FILES[name][0]
    model = targets[kind]
    before = copy.deepcopy(model.state_dict())
    try:
        load_weights(model, tmp_path / name, complete=True)
    except UserError as error:
        assert "\n" not in str(error), how
        assert str(tmp_path) in str(error), how
        assert bits(model.state_dict()) == bits(before), how
    else:
        # Some bytes mean nothing: an archive's padding, the name of the newest of one checkpoint.
        assert bits(model.state_dict()) == BITS[kind], how
        assert how.split()[0] in ("flip", "overwrite", "cut")
        model.load_state_dict(before)


NESTED = "[" * 100_000
# Deep for what reads it again, not for json.
LISTS: Any = functools.reduce(lambda inner, _: [inner], range(400), [])


def own_args(path: Path) -> None:
    itself: list[Any] = []
    itself += [itself, itself]
    write_pth(path, args=argparse.Namespace(window_size=itself))


def doubled_args(path: Path) -> None:
    value: list[Any] = []
    for _ in range(30):
        value = [value, value]
    write_pth(path, args={"window_size": value})


def write_pth(path: Path, kind: str = "classifier", **more: Any) -> None:
    torch.save({"model": dict(MODELS[kind].state_dict()), **more}, path)


def nested_weight(path: Path) -> None:
    state = dict(MODELS["classifier"].state_dict())
    with warnings.catch_warnings():
        # torch calls this layout a prototype.
        warnings.simplefilter("ignore")
        parts = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.strided)
        torch.save({"model": {**state, "head.bias": parts}}, path)


def nested_metadata(path: Path) -> None:
    save_tensors(path, {"a": torch.ones(1)}, {OURS: NESTED})


def nested_config(path: Path) -> None:
    path.mkdir()
    write_tensors(path / "model.safetensors", MODELS["classifier"].state_dict(), {})
    (path / "config.json").write_text(NESTED)


def write_meta(path: Path, text: str) -> None:
    path.mkdir()
    (path / "meta.json").write_text(text)
    (path / "model.safetensors").write_bytes(b"no weights")


def sealed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return a writer of a checkpoint whose changed ``meta.json`` has its own checksum; a liar can compute it, too."""

    def write(path: Path) -> None:
        (path.parent / "run").mkdir()
        saved = CheckpointStore(path.parent / "run").save(3, MODELS["classifier"].state_dict(), {}, {})
        (saved / "model.safetensors").write_bytes(b"no weights")
        content = json.loads((saved / "meta.json").read_text())["content"]
        digest = hashlib.sha256(b"no weights").hexdigest()
        content["files"]["model.safetensors"] = {"size": 10, "sha256": digest}
        content = change(content)
        seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        write_meta(path, json.dumps({"content": content, "sha256": seal}))
        shutil.copy(saved / "training.pt", path)

    return write


def configured(constants: Any = None, **options: Any) -> Callable[[Path], None]:
    """Return a writer of our own file of a classifier with a changed config, under a right checksum."""
    model = {"options": {**CLASSIFIER, **options}, **({"constants": constants} if constants else {})}
    return lambda path: write_tensors(path, MODELS["classifier"].state_dict(), {"model": model})


def swin_of_depth(path: Path) -> None:
    options = {"img_size": 64, "embed_dim": (8, 8, 16, 16), "depth": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    state = swin_classifier(**options, num_classes=5).state_dict()
    write_tensors(path, state, {"model": {"options": {**options, "depth": (10**7, 1, 1, 1)}, "family": "swin"}})


CRAFTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "args in themselves": (own_args, "its options are nested too deeply, or there are too many"),
    "args of 2^30 values": (doubled_args, "its options are nested too deeply, or there are too many"),
    "deep args": (lambda path: write_pth(path, args={"x": LISTS}), "its options are nested too deeply"),
    "deep config in a .pth": (lambda path: write_pth(path, adamae=NESTED), "the config cannot be read"),
    "deep config in safetensors": (nested_metadata, "the config cannot be read"),
    "deep config.json": (nested_config, "nested too deeply"),
    "deep meta.json": (lambda path: write_meta(path, NESTED), "is truncated or not the metadata"),
    "a list as meta.json": (sealed(lambda content: []), "is not the metadata of a checkpoint"),
    "no files": (sealed(lambda content: {**content, "files": {}}), "is not the metadata of a checkpoint"),
    "files is a list": (sealed(lambda content: {**content, "files": []}), "is not the metadata of a checkpoint"),
    "no step": (sealed(lambda content: {**content, "step": None}), "is not the metadata of a checkpoint"),
    "no safetensors": (sealed(lambda content: content), "model.safetensors: is not a safetensors file"),
    "a nested tensor": (nested_weight, "head.bias is a nested tensor"),
    "less than a token": (
        lambda path: write_pth(path, "pretrain", args=argparse.Namespace(num_frames=1)),
        "its options have num_frames = 1; expected at least 2",
    ),
    "an option of a newer version": (configured(new_option=1), "new_option, unknown to this version of adamae"),
    "one side": (configured(img_size=[16]), "img_size = [16]; expected int | tuple[int, int]"),
    "no ratio": (configured(mlp_ratio=None), "mlp_ratio = None; expected float"),
    "a width as text": (configured(embed_dim="32"), "embed_dim = '32'; expected int"),
    "a truth as a width": (configured(embed_dim=True), "embed_dim = True; expected int"),
    "deep width": (configured(embed_dim=LISTS), "expected int"),
    "no channels": (configured(in_chans=0), "in_chans = 0; expected, from its weights, 3"),
    "another depth": (configured(depth=10**9), "depth = 1000000000; expected, from its weights, 2"),
    "another depth of a pyramid": (
        swin_of_depth,
        "depth = [10000000, 1, 1, 1]; expected, from its weights, (1, 1, 1, 1)",
    ),
    "text as LayerScale": (configured(init_values="a"), "init_values = 'a'; expected float | None"),
    "unknown positions": (configured(position_embedding="none"), "position_embedding = 'none'"),
    "text as epsilon": (configured({"norm_eps": "x"}), "norm_eps = 'x'; expected a small positive number"),
    "no epsilon": (configured({"last_norm_eps": -1.0}), "last_norm_eps = -1.0; expected a small positive number"),
    "text as mean": (
        configured({"pixel_mean": ["a"] * 3, "pixel_std": [1] * 3}),
        "pixel_mean = ['a', 'a', 'a'] and pixel_std = [1, 1, 1]; expected a number for each channel",
    ),
    "a mean alone": (configured({"pixel_mean": [1, 1, 1]}), "and pixel_std = None; expected a number for each"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_content_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write, message = CRAFTED[name]
    write(tmp_path / "checkpoint")
    assert main(["inspect", str(tmp_path / "checkpoint")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith(f"adamae: error: {tmp_path}")
    assert told.count("\n") == 1


def test_options_of_options_are_values(tmp_path: Path) -> None:
    options = argparse.Namespace(optimizer={"betas": (0.9, 0.95), 2: {"a"}}, inner=argparse.Namespace(a=1))
    write_pth(tmp_path / "file.pth", args=options)
    assert open_checkpoint(tmp_path / "file.pth").args == {
        "optimizer": {"betas": [0.9, 0.95], "2": ["a"]},
        "inner": {"a": 1},
    }


def test_whole_numbers_and_truths_are_numbers(tmp_path: Path) -> None:
    """What Python takes for a float or a truth, a file of the same arguments may hold."""
    configured(mlp_ratio=2, qkv_bias=1, init_values=None)(tmp_path / "checkpoint")
    build_classifier(open_checkpoint(tmp_path / "checkpoint"))
