"""Any combination of options either runs a step or ends with one line and code 2."""

from __future__ import annotations

import importlib
import resource
from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from adamae.cli.main import COMMANDS, main
from adamae.flags import Flag, flags_of
from adamae.options.parser import OptionParser, groups_of
from tests.evaluation.tiny import write_classifier, write_pretrainer
from tests.faults.processes import Process, expect
from tests.faults.runs import finetune_words, pretrain_words, videos
from tests.faults.trial import MEMORY_LIMIT_BYTES, LostError, Trial

PROMISE = "Fuzzed options of every command: one step, or one line and code 2, within limits of time and memory"
EXAMPLES = 5000
SECONDS = 60.0
# What decides where files go, or starts other machines, is not fuzzed; the rest of an option's values are.
KEPT = {"output_dir", "out", "data_path", "rendezvous_timeout", "num_workers", "workers", "device", "max_steps"}
_WORDS = [
    "",
    "none",
    "nan",
    "inf",
    "-1",
    "0",
    "1e9",
    "x" * 300,
    "\u2028",
    "..",
    "/dev/null",
    "1,2",
    "'",
    "%s",
    "{",
    "--",
]


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Examples over all commands, each in a fork of its own."""
    data = videos(shared)
    for name, write in (("network", write_pretrainer), ("classifier", write_classifier)):
        path = shared / f"{name}.safetensors"
        if not path.exists():
            expect([Process(lambda write=write, path=path: int(write(path) is None), shared, name).wait()])  # type: ignore[misc]
    examples = _examples(seed, max(10, round(EXAMPLES * scale)))
    return [
        Trial(
            f"{number}: adamae {command} {' '.join(map(repr, words))}",
            _trial(command, words, data, shared),
            SECONDS + 5,
        )
        for number, (command, words) in enumerate(examples)
    ]


def parsers() -> dict[str, OptionParser[Any]]:
    """The parser of each command that has one."""
    found = {}
    for command, (module, _) in COMMANDS.items():
        names = [name for name in vars(importlib.import_module(module)) if name.endswith("_parser")]
        for name in names:
            key = command if len(names) == 1 else f"{command} {name.split('_')[1]}"
            found[key] = getattr(importlib.import_module(module), name)()
    return found


def _examples(seed: int, count: int) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    flags = {
        command: [flag for group in groups_of(parser._options).values() for flag in flags_of(group)]
        for command, parser in parsers().items()
    }

    @seeded(seed)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        command = data.draw(st.sampled_from(sorted(flags)))
        known = [flag for flag in flags[command] if flag.name not in KEPT and not flag.metadata["positional"]]
        words: list[str] = []
        for flag in data.draw(st.lists(st.sampled_from(known), max_size=4, unique_by=lambda flag: flag.name)):
            words += [f"--{flag.name}", *data.draw(_values(flag))]
        found.append((command, words))

    draw()
    return found[:count]


def _values(flag: Flag) -> st.SearchStrategy[list[str]]:
    """Words of an option: mostly its own kind, near its bounds or far from them, and now and then any word."""
    own: st.SearchStrategy[str]
    if flag.choices:
        own = st.sampled_from(flag.choices)
    elif flag.kind is bool:
        own = st.sampled_from(["true", "false"])
    elif flag.kind is int:
        own = st.one_of(st.integers(-1, 9), st.integers(-(2**70), 2**70)).map(str)
    elif flag.kind is float:
        own = st.one_of(st.floats(0, 1), st.floats(allow_nan=True)).map(str)
    else:
        own = st.text(max_size=8).filter(lambda word: "\0" not in word and word.isprintable())
    usual = [] if flag.default is MISSING else flag.words(flag.default)[:1]
    word = st.one_of(own, own, own, st.sampled_from(_WORDS + usual))
    least, most = (1, 3) if flag.count == 0 else (flag.count, flag.count)
    return st.lists(word, min_size=least, max_size=most)


def _base(command: str, data: Path, shared: Path, folder: Path) -> list[str | Path]:
    """A command line that works, to which options are added."""
    video = sorted(data.rglob("*.mp4"))[0]
    network, classes = shared / "network.safetensors", shared / "classifier.safetensors"
    frames: list[str | Path] = ["--sampling_rate", "1", "--device", "cpu"]
    lines: dict[str, list[str | Path]] = {
        "pretrain": [*pretrain_words(data, folder / "run", "--max_steps", "1")],
        "finetune": [*finetune_words(data, folder / "run", "--max_steps", "1")],
        "prepare": ["prepare", "folder", video.parent, "-o", folder / "out", "--workers", "0"],
        "scan": ["scan", data / "val.csv", "-o", folder / "out", "--workers", "0"],
        "pack": ["pack", data / "val.csv", "-o", folder / "out"],
        "synthesize": ["synthesize", folder / "out", "--videos_per_class", "1", "--size", "32", "--workers", "0"],
        "evaluate": ["evaluate", classes, "--data_path", data / "val.csv", *frames],
        "predict": ["predict", classes, video, *frames],
        "extract": ["extract", network, video, "-o", folder / "out.npz", *frames],
        "report": ["report", shared, "-o", folder / "out.html"],
        "probe": ["probe", network, "--data_path", data, *frames],
        "inspect": ["inspect", network],
        "convert": ["convert", network, "-o", folder / "out.pth"],
        "estimate": ["estimate", "--model", "adamae_tiny"],
        "bench step": ["bench", "step", "--model", "adamae_tiny", "--device", "cpu", "--steps", "1"],
        "bench memory": ["bench", "memory", "--model", "adamae_tiny"],
        "bench loader": ["bench", "loader", data / "val.csv", "--num_videos", "2", "--num_workers", "0"],
        "bench eval": ["bench", "eval", data / "val.csv", "--device", "cpu"],
    }
    for name in ("visualize", "saliency", "timeline"):
        lines[name] = [name, network, video, "-o", folder / "out", *frames]
    return lines[command]


def _trial(command: str, words: list[str], data: Path, shared: Path) -> Callable[[Path], None]:
    def body(folder: Path) -> None:
        line = [str(word) for word in _base(command, data, shared, folder)] + words

        def limited() -> int:
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 2 * MEMORY_LIMIT_BYTES,) * 2)
            return main(line)

        ended = Process(limited, folder).wait(SECONDS)
        errors = [entry for entry in ended.told.splitlines() if entry.startswith("adamae: error: ")]
        if ended.code not in (0, 2) or "Traceback" in ended.told or len(errors) != (ended.code == 2):
            raise LostError(f"ended with {ended.code}: {ended.told[-1500:]}")

    return body


def _address_space() -> int:
    (line,) = (entry for entry in Path("/proc/self/status").read_text().splitlines() if entry.startswith("VmSize"))
    return int(line.split()[1]) * 1024
