"""Read weights and their metadata from a file, a directory or a run's output."""

from __future__ import annotations

import argparse
import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from adamae.checkpoints.pickled import read_pickled
from adamae.checkpoints.run_checkpoint import META, TRAINING, WEIGHTS, Checkpoint
from adamae.checkpoints.store import CheckpointStore
from adamae.checkpoints.tensor_files import read_tensors
from adamae.errors import UserError

DEEPSPEED_FILE = "mp_rank_00_model_states.pt"
CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
# Files of Transformers with the pixel statistics, in the order in which its video processors look for them. Version 5
# writes the second, also for VideoMAE, and the first for processors of several kinds of input.
_PROCESSORS, _VIDEO_PREPROCESSOR = "processor_config.json", "video_preprocessor_config.json"
_STAGE_3 = "ZeRO stage 3 partitions the weights; gather them with DeepSpeed's zero_to_fp32.py first"
# Keys under which programs store the state dict in their dict, in the order in which they are tried.
STATE_KEYS = ("model", "module", "model_state", "state_dict")
# Far beyond the options of any program.
_MOST_LEVELS, _MOST_VALUES = 32, 100_000
# Key of the averaged weights, in official files and in a run's checkpoints.
EMA_KEY = "model_ema"


@dataclass(frozen=True)
class RawCheckpoint:
    """A state dict and its metadata as stored, before any translation.

    Attributes:
        path: The path passed to :func:`read_raw`.
        state: Entries under the names in the file, not validated.
        container: "torch", "safetensors", "deepspeed" or "run".
        epoch: Last completed epoch, "best", or None if unknown.
        step: Completed steps, or None if unknown.
        args: Options of the program that wrote the checkpoint.
        config: Constructor arguments and constants of our model.
        hf_config: Content of Transformers' ``config.json``.
        hf_preprocessor: How Transformers prepares clips, as in its ``preprocessor_config.json``.
        hf_preprocessor_name: Name of the file with ``hf_preprocessor``.
        others: Other entries of the file, which are not read.
    """

    path: Path
    state: dict[str, Any]
    container: str
    epoch: int | str | None = None
    step: int | None = None
    args: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    hf_config: dict[str, Any] = field(default_factory=dict)
    hf_preprocessor: dict[str, Any] = field(default_factory=dict)
    hf_preprocessor_name: str = PREPROCESSOR
    others: tuple[str, ...] = ()


def read_raw(path: str | Path, key: str | None = None) -> RawCheckpoint:
    """Read a checkpoint of any kind.

    Args:
        path: A ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file (recognised by its content, not its name), a
            directory of Transformers or DeepSpeed, one of our checkpoints, or a run's output (its newest valid
            checkpoint is read).
        key: Key of the weights in the file's dict, alternatives separated by ``|``; None for the usual keys. A run's
            checkpoint has its weights under the usual keys, and the EMA of a run with ``--model_ema`` under
            ``model_ema``; a safetensors file has one set of weights, under the usual keys.

    Raises:
        UserError: If there is no checkpoint, it has nothing under ``key``, it is damaged, or reading it would execute
            code.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _read_directory(path, key)
        if not path.is_file():
            raise UserError(f"{path}: no such file or directory; expected a checkpoint")
        if path.name == WEIGHTS and (path.parent / META).is_file():
            return _read_own(Checkpoint.open(path.parent), path, key)
        raw = _read_file(path, key)
        if raw.path.name.startswith(("model", "pytorch_model")) and (path.parent / CONFIG).is_file():
            return _with_transformers(raw, path.parent)
        return raw
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_directory(path: Path, key: str | None) -> RawCheckpoint:
    if (path / META).is_file():
        return _read_own(Checkpoint.open(path), path, key)
    if (path / CONFIG).is_file():
        return _with_transformers(replace(_read_shards(path, key), path=path), path)
    tag = (path / "latest").read_text(errors="replace").strip() if (path / "latest").is_file() else "."
    for folder in (path, path / tag):
        if (folder / DEEPSPEED_FILE).is_file():
            return replace(_read_file(folder / DEEPSPEED_FILE, key), path=path)
        if any(folder.glob("zero_pp_rank_*_model_states.pt")):
            raise UserError(f"{path}: {_STAGE_3}")
    newest = CheckpointStore(path / "checkpoints").newest() or CheckpointStore(path).newest()
    if newest is not None:
        return _read_own(newest, path, key)
    raise UserError(
        f"{path}: no valid checkpoint found; expected a run's output, one of its checkpoints, or a directory of "
        f"Transformers ({CONFIG} and weights) or DeepSpeed ({DEEPSPEED_FILE})"
    )


def _with_transformers(raw: RawCheckpoint, folder: Path) -> RawCheckpoint:
    """Add the config files that Transformers stores beside the weights."""
    name, preprocessor = _read_preprocessor(folder)
    return replace(raw, hf_config=_read_json(folder / CONFIG), hf_preprocessor=preprocessor, hf_preprocessor_name=name)


def _read_preprocessor(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return how Transformers prepares clips, and the name of the file; an empty dict without one."""
    if (folder / _PROCESSORS).is_file():
        nested = _read_json(folder / _PROCESSORS).get("video_processor")
        if isinstance(nested, dict):
            return _PROCESSORS, nested
    for name in (_VIDEO_PREPROCESSOR, PREPROCESSOR):
        if (folder / name).is_file():
            return name, _read_json(folder / name)
    return PREPROCESSOR, {}


def _last_whole_epoch(done: Any) -> int | None:
    """Return the last completed epoch, zero-based as in the official code; a run stores a fraction of epochs done."""
    return int(done) - 1 if isinstance(done, int | float) and done >= 1 else None


def _read_own(checkpoint: Checkpoint, asked: Path, key: str | None) -> RawCheckpoint:
    meta = checkpoint.meta
    state = _chosen(checkpoint, asked, key.split("|") if key else STATE_KEYS)
    return RawCheckpoint(
        asked,
        state,
        "run",
        epoch=_last_whole_epoch(meta.get("epoch")),
        step=checkpoint.step,
        args=_plain(asked, meta.get("args")),
        config=meta.get("model") or {},
    )


def _is_usual(key: str) -> bool:
    """Whether a key names a usual place of the weights, which stands for the only weights of a file without keys."""
    return not {*key.split("|")}.isdisjoint(STATE_KEYS)


def _chosen(checkpoint: Checkpoint, asked: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the weights of a run's checkpoint under the first of ``names`` that it has.

    Raises:
        UserError: If it has none of them.
    """
    weights = dict(checkpoint.weights())
    for name in names:
        if name in STATE_KEYS:
            return weights
        ema = _ema_of(checkpoint) if name == EMA_KEY else {}
        if ema:
            return weights | ema
    raise UserError(
        f"{asked}: has no {'|'.join(names)!r}; it holds model; of a run with --model_ema, this is the EMA in best/, "
        f"and elsewhere {EMA_KEY} is beside it"
    )


def _ema_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the EMA by official parameter name, which a run stores to be resumed; empty without one."""
    training = read_pickled(checkpoint.directory / TRAINING)
    states = training.get("companions") if isinstance(training, Mapping) else None
    # The name of its callback in adamae.finetune.
    ema = states.get("average") if isinstance(states, Mapping) else None
    return dict(ema) if isinstance(ema, Mapping) else {}


def _read_shards(path: Path, key: str | None) -> RawCheckpoint:
    """Read the weights beside a ``config.json``: one file, or several shards with an index."""
    for name in (WEIGHTS, "pytorch_model.bin"):
        if (path / name).is_file():
            return _read_file(path / name, key)
        index = path / f"{name}.index.json"
        if index.is_file():
            shards = _read_json(index).get("weight_map")
            if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
                raise UserError(f"{index}: damaged: expected a weight_map of names to files")
            # Only the file name: a path in the index could point outside the checkpoint.
            files = [path / Path(shard).name for shard in sorted(set(shards.values()))]
            state: dict[str, Any] = {}
            for file in files:
                state |= _read_file(file, key).state
            return RawCheckpoint(path, state, "safetensors")
    raise UserError(f"{path}: has {CONFIG} but no weights; expected {WEIGHTS} or pytorch_model.bin")


def _read_file(path: Path, key: str | None) -> RawCheckpoint:
    if not path.stat().st_size:
        raise UserError(f"{path}: is empty; expected a checkpoint")
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file begins with the length of its header and the header's brace.
    if start[8:] == b"{" or path.suffix == ".safetensors":
        if key is not None and not _is_usual(key):
            raise UserError(f"{path}: has no {key!r}; it holds one set of weights, as all safetensors files")
        tensors, description = read_tensors(path)
        return RawCheckpoint(
            path,
            dict(tensors),
            "safetensors",
            description.get("epoch"),
            description.get("step"),
            args=_plain(path, description.get("args")),
            config=description.get("model") or {},
        )
    return _from_dict(path, read_pickled(path), key)


def _from_dict(path: Path, content: Any, key: str | None) -> RawCheckpoint:
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}; expected a dict of weights")
    names = key.split("|") if key else STATE_KEYS
    found = next((name for name in names if name in content), None)
    if found is None:
        # Old launch commands pass the usual keys explicitly, also for files that are a bare state dict.
        bare = all(isinstance(value, Tensor) for value in content.values()) and (not key or _is_usual(key))
        if key and not bare:
            raise UserError(f"{path}: has no {key!r}; it holds {', '.join(sorted(map(str, content))[:12])}")
        return RawCheckpoint(path, _named(path, content), "torch")
    state = _named(path, content[found])
    others = tuple(sorted(str(name) for name in content if name not in {found, "epoch", "args", "adamae", "step"}))
    deepspeed = found == "module" and any(str(name).startswith("ds_") for name in content)
    if deepspeed:
        _check_deepspeed(path, content, state)
    epoch, step = content.get("epoch"), content.get("global_steps", content.get("step"))
    return RawCheckpoint(
        path,
        state,
        "deepspeed" if deepspeed else "torch",
        epoch=epoch if isinstance(epoch, int | str) else None,
        step=step if isinstance(step, int) else None,
        args=_plain(path, content.get("args")),
        config=_read_config(path, content.get("adamae")),
        others=others,
    )


def _named(path: Path, state: Any) -> dict[str, Any]:
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise UserError(f"{path}: its weights are a {type(state).__name__}; expected a dict from names to tensors")
    if not state:
        raise UserError(f"{path}: holds no weights")
    return dict(state)


def _check_deepspeed(path: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    if content.get("mp_world_size", 1) not in (1, None):
        raise UserError(f"{path}: one of {content['mp_world_size']} model-parallel parts; expected the whole model")
    if any(isinstance(value, Tensor) and not value.numel() for value in state.values()):
        raise UserError(f"{path}: {_STAGE_3}")


def _read_config(path: Path, text: Any) -> dict[str, Any]:
    """Parse our config in a ``.pth``; it is stored as JSON so that other programs can load the file."""
    if text is None:
        return {}
    try:
        config = json.loads(text)["model"]
        if not isinstance(config, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: damaged: the config cannot be read") from error
    return config


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged: not JSON") from error
    except RecursionError as error:
        raise UserError(f"{path}: damaged: nested too deeply") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged: expected a JSON object, got a {type(content).__name__}")
    return content


def _plain(path: Path, args: Any) -> dict[str, Any]:
    """Convert options to JSON values; values that JSON cannot represent become strings.

    Raises:
        UserError: If they are nested too deeply, such as a list that contains itself, or there are too many.
    """
    left = iter(range(_MOST_VALUES))

    def plain(value: Any, level: int) -> Any:
        if level > _MOST_LEVELS or next(left, None) is None:
            raise UserError(f"{path}: damaged: its options are nested too deeply, or there are too many")
        if isinstance(value, argparse.Namespace):
            value = vars(value)
        if isinstance(value, Mapping):
            return {
                name if isinstance(name, str) else reprlib.repr(name): plain(item, level + 1)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [plain(item, level + 1) for item in value]
        if hasattr(value, "item") and not isinstance(value, Tensor):
            value = value.item()
        return value if isinstance(value, bool | int | float | str | None) else repr(value)

    return plain(args, 0) if isinstance(args, Mapping | argparse.Namespace) else {}
