"""Two hundred damaged checkpoints: one line each, never a traceback, never weights that nobody wrote."""

from __future__ import annotations

import argparse
import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adamae.checkpoints.constants import describe_network
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.store import CheckpointStore
from adamae.checkpoints.tensor_files import write_tensors
from adamae.errors import UserError
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
