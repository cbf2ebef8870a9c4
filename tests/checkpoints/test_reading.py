"""Every container opens; nothing in any of them is run."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import time
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.pickled import read_pickled
from adamae.checkpoints.reading import read_raw
from adamae.checkpoints.store import CheckpointStore
from adamae.checkpoints.tensor_files import write_tensors
from adamae.errors import UserError
from tests.checkpoints.networks import CLASSIFIER, bits, classifier

STATE = dict(classifier().state_dict())
BITS = bits(STATE)


class Burglar:
    """Writes a file when it is unpickled."""

    def __init__(self, loot: Path) -> None:
        self.loot = loot

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.loot}",)


class Evaluator(Burglar):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.loot)!r}, 'w')",)


WRITERS: dict[str, Callable[[Any, Path], Any]] = {
    "archive": torch.save,
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "pickle": lambda content, path: path.write_bytes(pickle.dumps(content)),
    "old pickle": lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2)),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("thief", [Burglar, Evaluator])
@pytest.mark.parametrize("place", ["model", "args", "weight"])
def test_what_would_run_code_is_refused_by_name(writer: str, thief: type[Burglar], place: str, tmp_path: Path) -> None:
    loot, path = tmp_path / "loot", tmp_path / "checkpoint.pth"
    content: dict[str, Any] = {"model": dict(STATE)}
    if place == "args":
        content["args"] = argparse.Namespace(secret=thief(loot))
    elif place == "model":
        content["model"] = thief(loot)
    else:
        content["model"]["head.bias"] = thief(loot)
    WRITERS[writer](content, path)
    with pytest.raises(UserError) as caught:
        open_checkpoint(path)
    assert not loot.exists()
    message = str(caught.value)
    assert "refused, unpickling would execute code" in message
    assert ("system" if thief is Burglar else "eval") in message
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize("pickle_of_nothing", [b".", b"N."])
def test_the_search_for_names_takes_linear_time(pickle_of_nothing: bytes, tmp_path: Path) -> None:
    """Each byte or two are a pickle; a copy of the rest for each of them took half a minute."""
    (tmp_path / "dots.pth").write_bytes(pickle_of_nothing * (2_000_000 // len(pickle_of_nothing)))
    began = time.process_time()
    with pytest.raises(UserError, match="damaged, or not a file"):
        open_checkpoint(tmp_path / "dots.pth")
    assert time.process_time() - began < 10


def test_a_cut_download_is_not_read_as_a_whole(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "cut.pth")
    size = (tmp_path / "cut.pth").stat().st_size
    with (tmp_path / "cut.pth").open("r+b") as file:
        file.truncate(size // 2)
        # A sparse file: zeros that are not on the disk.
        file.truncate(2**30)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="damaged, or not a file"):
            open_checkpoint(tmp_path / "cut.pth")
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_names_behind_many_weights_are_found(tmp_path: Path) -> None:
    loot = tmp_path / "loot"
    content = [{f"{number}": torch.zeros(2) for number in range(2000)}, "text" * 100_000, Burglar(loot)]
    (tmp_path / "file.pth").write_bytes(pickle.dumps([1]) + pickle.dumps(content))
    with pytest.raises(UserError, match=r"it references .*system"):
        open_checkpoint(tmp_path / "file.pth")
    assert not loot.exists()


def test_options_and_numpy_numbers_are_data(tmp_path: Path) -> None:
    args = argparse.Namespace(num_frames=4, lr=np.float64(1e-3), window_size=(2, 2, 2), device="cuda", best=np.int64(3))
    content = {
        "model": OrderedDict(STATE),
        "epoch": 5,
        "args": args,
        "optimizer": {"state": {}},
        "scaler": {"scale": 2.0},
    }
    torch.save(content, tmp_path / "checkpoint-5.pth")
    raw = read_raw(tmp_path / "checkpoint-5.pth")
    assert raw.args == {"num_frames": 4, "lr": 1e-3, "window_size": [2, 2, 2], "device": "cuda", "best": 3}
    assert (raw.epoch, raw.container, raw.others) == (5, "torch", ("optimizer", "scaler"))
    json.dumps(raw.args)


def test_the_safe_list_is_put_back(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(a=1)}, tmp_path / "file.pth")
    before = set(torch.serialization.get_safe_globals())
    read_pickled(tmp_path / "file.pth")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"module": s}, lambda s: {"state_dict": s}]
)
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder.", "module.backbone.", "_orig_mod."])
def test_usual_places_and_prefixes(wrap: Callable[[Any], Any], prefix: str, tmp_path: Path) -> None:
    torch.save(wrap({prefix + name: value for name, value in STATE.items()}), tmp_path / "file.pth")
    assert bits(open_checkpoint(tmp_path / "file.pth").state) == BITS


def test_a_chosen_place(tmp_path: Path) -> None:
    ema = dict(classifier(seed=5).state_dict())
    torch.save({"model": STATE, "model_ema": ema, "epoch": "best"}, tmp_path / "file.pth")
    assert bits(open_checkpoint(tmp_path / "file.pth", key="model_ema|model").state) == bits(ema)
    assert open_checkpoint(tmp_path / "file.pth").epoch == "best"
    with pytest.raises(UserError, match="has no 'weights'; it holds epoch, model, model_ema"):
        open_checkpoint(tmp_path / "file.pth", key="weights")


def test_a_run_has_its_average_under_a_key(tmp_path: Path) -> None:
    ema = dict(classifier(seed=5).named_parameters())
    state = {**STATE, "constant": torch.ones(2)}
    store = CheckpointStore(tmp_path / "checkpoints")
    weights = store.save(3, state, {"companions": {"average": ema, "validation": {}}}, {}) / "model.safetensors"
    for place in (tmp_path, store.directory, weights.parent, weights):
        for key, expected in (
            ("model_ema", {**state, **ema}),
            ("model_ema|model", {**state, **ema}),
            ("model|model_ema", state),
            (None, state),
        ):
            assert bits(read_raw(place, key).state) == bits(expected), (place, key)
        with pytest.raises(UserError, match="has no 'weights'; it holds model; of a run with --model_ema"):
            read_raw(place, "weights")


@pytest.mark.parametrize("training", [{}, {"companions": {"average": {}}}, {"companions": [{}]}])
def test_a_run_without_an_average_says_so(training: dict[str, Any], tmp_path: Path) -> None:
    CheckpointStore(tmp_path / "checkpoints").save(3, STATE, training, {})
    assert bits(open_checkpoint(tmp_path, "model_ema|model").state) == BITS
    with pytest.raises(UserError, match="has no 'model_ema'; it holds model"):
        open_checkpoint(tmp_path, "model_ema")


@pytest.mark.parametrize("container", ["file", "directory", "shards"])
def test_safetensors_have_no_key(container: str, tmp_path: Path) -> None:
    path = tmp_path / ("part.safetensors" if container == "shards" else "model.safetensors")
    write_tensors(path, STATE, {})
    if container != "file":
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": path.name}}))
    source = path if container == "file" else tmp_path
    assert bits(read_raw(source, "model_ema|model").state) == BITS
    with pytest.raises(UserError, match="has no 'model_ema'; it holds one set of weights, as all safetensors files"):
        read_raw(source, "model_ema")


def test_the_usual_keys_spelt_out_also_mean_a_file_without_any(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "bare.pth")
    assert bits(open_checkpoint(tmp_path / "bare.pth", key="model|module").state) == BITS
    with pytest.raises(UserError, match="has no 'model_ema'; it holds"):
        open_checkpoint(tmp_path / "bare.pth", key="model_ema")


def test_files_without_checksums_open(tmp_path: Path) -> None:
    computed = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "file.pth")
    finally:
        torch.serialization.set_crc32_options(computed)
    assert bits(open_checkpoint(tmp_path / "file.pth").state) == BITS


def deepspeed_content(**more: Any) -> dict[str, Any]:
    """What ``engine.save_checkpoint`` puts into ``mp_rank_00_model_states.pt``, as far as it matters."""
    content = {"module": OrderedDict(STATE), "buffer_names": [], "optimizer": None, "param_shapes": [OrderedDict()]}
    facts = {"sparse_tensor_module_names": set(), "global_steps": 12, "dp_world_size": 1, "mp_world_size": 1}
    return {
        **content,
        **facts,
        "ds_config": {"zero_optimization": {"stage": 1}},
        "ds_version": "0.19.8",
        "epoch": 2,
        **more,
    }


@pytest.mark.parametrize("what", ["file", "tag", "folder"])
def test_deepspeed(what: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    file = tmp_path / "checkpoint-2" / "mp_rank_00_model_states.pt"
    torch.save(deepspeed_content(), file)
    (tmp_path / "latest").write_text("checkpoint-2")
    found = open_checkpoint({"file": file, "tag": file.parent, "folder": tmp_path}[what])
    assert (found.container, found.epoch, found.step) == ("deepspeed", 2, 12)
    assert bits(found.state) == BITS


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mp_world_size": 2}, "one of 2 model-parallel parts"),
        ({"module": {"head.weight": torch.zeros(0)}}, r"ZeRO stage 3.*zero_to_fp32\.py"),
    ],
)
def test_deepspeed_without_the_weights(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(deepspeed_content(**more), tmp_path / "mp_rank_00_model_states.pt")
    with pytest.raises(UserError, match=message):
        open_checkpoint(tmp_path)


def test_deepspeed_s_parts_of_stage_3(tmp_path: Path) -> None:
    (tmp_path / "zero_pp_rank_0_mp_rank_00_model_states.pt").write_bytes(b"parts")
    with pytest.raises(UserError, match=r"ZeRO stage 3.*zero_to_fp32\.py"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("what", ["run", "store", "checkpoint", "weights"])
def test_our_own_run(what: str, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    meta = {"model": {"options": CLASSIFIER, "class_names": list("abcde")}, "epoch": 2.5, "args": {"lr": 0.1}}
    assert open_checkpoint(store.save(3, classifier(seed=5).state_dict(), {}, {**meta, "epoch": 0.5})).epoch is None
    newest = store.save(6, STATE, {}, meta)
    places = {"run": tmp_path, "store": store.directory, "checkpoint": newest, "weights": newest / "model.safetensors"}
    file = open_checkpoint(places[what])
    assert (file.container, file.step, file.epoch, file.args) == ("run", 6, 1, {"lr": 0.1})
    assert file.class_names == tuple("abcde")
    assert file.architecture.guessed == ()
    assert CLASSIFIER.items() <= file.architecture.options().items()
    assert bits(file.state) == BITS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list; expected a dict of weights"),
        ({"model": [1]}, "its weights are a list"),
        ({"model": {}}, "holds no weights"),
        ({"model": {1: torch.zeros(1)}}, "expected a dict from names to tensors"),
        ({"model": {"a": torch.zeros(3)}}, r"no patch_embed\.proj\.weight among its 1 entries \(a\)"),
        ({"patch_embed.proj.weight": torch.zeros(4, 3, 8, 8)}, "expected 5 axes"),
        ({"model": {**STATE, "head.bias": torch.zeros(1).expand(5)}}, "but a different number of elements"),
        ({"model": {**STATE, "module.head.bias": STATE["head.bias"]}}, r"head\.bias is contained twice"),
        ({"model": STATE, "adamae": "{"}, "the config cannot be read"),
        ({"model": STATE, "adamae": '{"model": {"options": 3}}'}, "options = 3"),
        ({"model": STATE, "adamae": '{"model": {"constants": {"eps": 1}}}'}, "the metadata cannot be read"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match=message) as caught:
        open_checkpoint(tmp_path / "file.pth")
    assert str(caught.value).startswith(str(tmp_path / "file.pth"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.pth", None, "no such file or directory"),
        ("empty.pth", b"", "is empty"),
        ("text.pth", b"import torch\n" * 50, "damaged, or not a file of torch.save"),
        ("text.safetensors", b"import torch\n" * 50, "damaged, or not a safetensors file"),
        ("folder/readme.txt", b"nothing", "no valid checkpoint found"),
        ("folder/config.json", b"{}", "has config.json but no weights"),
        ("folder/config.json", b"{", "damaged: not JSON"),
        ("folder/config.json", b"[]", "expected a JSON object, got a list"),
    ],
)
def test_what_is_nothing_is_one_line(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if content is not None:
        path.write_bytes(content)
    if content in (b"{", b"[]"):
        torch.save(STATE, path.parent / "pytorch_model.bin")
    with pytest.raises(UserError, match=message) as caught:
        open_checkpoint(path.parent if path.parent != tmp_path else path)
    assert "\n" not in str(caught.value)
