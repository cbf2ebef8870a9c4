"""Any combination of options either runs a step or ends with one line and code 2."""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import shlex
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from functools import cache
from itertools import count
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
# Processor time, because a shared machine may provide little of it per second.
SECONDS = 90
# Options whose value is a number of repetitions: 2**60 repetitions would be executed.
REPETITIONS = {
    *("rounds", "passes", "num_videos", "loader_videos", "videos_per_class", "val_per_class", "test_per_class"),
    *("draws", "max_steps", "update_freq", "num_workers", "workers", "test_num_segment", "test_num_crop", "num_sample"),
    *("frames", "objects", "recount"),
}
# torch.compile calls a C++ compiler for minutes; it has its own tests.
NEVER_TRUE = {"compile"}
_WORDS = [
    *("", "none", "nan", "inf", "-1", "0", "1e9", "1e400", "9" * 5000, "x" * 300, "\u2028", "..", ".", "/dev/null"),
    *("1,2", "'", '"', "%s", "{", "--", "\udcff", "a\nb", "~", "$HOME", "*"),
]


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials of examples over all commands, each in a fork of its own."""
    material(shared)
    return [
        Trial(f"{number}: adamae {command} {shlex.join(words)}", trial(command, words, shared), 10.0 * SECONDS)
        for number, (command, words) in enumerate(examples(seed, max(10, round(EXAMPLES * scale))))
    ]


@cache
def parsers() -> Mapping[str, OptionParser[Any]]:
    """Return the parser of each command; that of ``adamae bench step`` has the key "bench step"."""
    found: dict[str, OptionParser[Any]] = {}
    for command, (module, _) in COMMANDS.items():
        loaded = importlib.import_module(module)
        names = [name for name in vars(loaded) if name.endswith("_parser")]
        for name in names:
            key = command if len(names) == 1 else " ".join(name.split("_")[:2])
            found[key] = getattr(loaded, name)()
    return found


def options_of(parser: OptionParser[Any]) -> dict[str, st.SearchStrategy[list[str]]]:
    """Return every option of a command's argparse parser, with a strategy for the words that follow it."""
    flags = {flag.name: flag for group in groups_of(parser._options).values() for flag in flags_of(group)}
    found = {}
    for name, action in parser._parser.option_names.items():
        if action.dest == "help":
            continue
        flag = flags.get(action.dest)
        found[name] = _words_of_another_program(action) if flag is None else values(flag)
    return found


def examples(seed: int, wanted: int) -> list[tuple[str, list[str]]]:
    """Return ``wanted`` distinct command lines of up to four options and their values, determined by the seed."""
    options = {command: options_of(parser) for command, parser in parsers().items()}
    every = [(command, name) for command, known in options.items() for name in known]
    found: dict[tuple[str, ...], tuple[str, list[str]]] = {}

    def draw(data: st.DataObject) -> None:
        command, first = data.draw(st.sampled_from(every))
        known = options[command]
        others = data.draw(st.lists(st.sampled_from(list(known)), max_size=3, unique=True))
        words = [word for name in dict.fromkeys((first, *others)) for word in (name, *data.draw(known[name]))]
        found[(command, *words)] = command, words

    # hypothesis draws some examples more than once.
    for part in count():
        if len(found) >= wanted:
            break
        drawing = settings(
            max_examples=wanted,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[*HealthCheck],
        )
        drawing(seeded(seed + part)(given(st.data())(draw)))()
    return list(found.values())[:wanted]


def values(flag: Flag) -> st.SearchStrategy[list[str]]:
    """Return a strategy for an option's words: mostly of its type, near or far from its bounds, rarely any word."""
    own: st.SearchStrategy[str]
    if flag.choices:
        own = st.sampled_from(flag.choices)
    elif flag.kind is bool:
        own = st.sampled_from(["false"] if flag.name in NEVER_TRUE else ["true", "false"])
    elif flag.kind is int:
        own = st.one_of(st.integers(-1, 4), st.integers(1, 9)).map(str)
        if flag.name not in REPETITIONS:
            own = st.one_of(own, st.integers(0, 70).map(lambda power: str(2**power)), st.integers().map(str))
    elif flag.kind is float:
        own = st.one_of(st.floats(0, 1), st.floats(allow_nan=True)).map(str)
    else:
        own = _texts()
    usual = [] if flag.default is MISSING else flag.words(flag.default)[:1]
    word = st.one_of(own, own, own, st.sampled_from([word for word in _WORDS + usual if _is_meant(flag, word)]))
    least, most = (1, 3) if flag.count == 0 else (flag.count, flag.count)
    return st.lists(word, min_size=least, max_size=most)


def _is_meant(flag: Flag, word: str) -> bool:
    return flag.name not in REPETITIONS or not word.isdigit() or len(word) < 2


def _texts() -> st.SearchStrategy[str]:
    """Return a strategy for texts that are not paths outside the folder of a trial."""
    return st.text(max_size=8).filter(lambda word: "\0" not in word and not word.startswith("/"))


def _words_of_another_program(action: argparse.Action) -> st.SearchStrategy[list[str]]:
    number = {None: (1, 1), "*": (0, 2), "?": (0, 1), "+": (1, 2)}.get(action.nargs) or (action.nargs, action.nargs)
    word = st.one_of(_texts(), st.sampled_from(_WORDS), st.sampled_from(["quickstart", "0.5", "cpu"]))
    return st.lists(word, min_size=int(number[0]), max_size=int(number[1]))


def line_that_works(command: str, shared: Path, folder: Path) -> list[str | Path]:
    """Return a valid command line that writes into ``folder``, to which options are added."""
    data = shared / "videos"
    video = min(data.rglob("*.mp4"), default=data / "none.mp4")
    network, classes = shared / "network.safetensors", shared / "classifier.safetensors"
    frames: list[str | Path] = ["--sampling_rate", "1", "--device", "cpu"]
    small = "--videos_per_class 1 --val_per_class 0 --test_per_class 1 --classes left,right --size 32"
    sizes = pretrain_words(data, folder)[5:-2]
    lines: dict[str, list[str | Path]] = {
        "pretrain": [*pretrain_words(data, folder / "run", "--max_steps", "1")],
        "finetune": [*finetune_words(data, folder / "run", "--max_steps", "1")],
        "prepare": ["prepare", "folder", video.parent, "-o", folder / "out", "--workers", "0"],
        "scan": ["scan", data / "val.csv", "-o", folder / "out", "--workers", "0"],
        "pack": ["pack", data / "val.csv", "-o", folder / "out"],
        "synthesize": ["synthesize", folder / "out", *small.split(), "--workers", "0"],
        "evaluate": ["evaluate", classes, "--data_path", data / "val.csv", "--num_workers", "0", *frames],
        "predict": ["predict", classes, video, "--num_workers", "0", *frames],
        "extract": ["extract", network, video, "-o", folder / "out.npz", "--num_workers", "0", *frames],
        "report": ["report", shared / "reported", "-o", folder / "out.html"],
        "probe": ["probe", network, "--data_path", data, "--num_workers", "0", *frames],
        "inspect": ["inspect", network],
        "convert": ["convert", network, "-o", folder / "out.pth"],
        "doctor": ["doctor", "--output_dir", folder, "--device", "cpu"],
        "estimate": ["estimate", *sizes[: sizes.index("--num_workers")], "--device", "cpu"],
        "bench step": ["bench", "step", *sizes[: sizes.index("--batch_size")], "--device", "cpu", "--rounds", "1"],
        "bench memory": ["bench", "memory", *sizes[: sizes.index("--batch_size")]],
        "bench loader": ["bench", "loader", data / "val.csv", "--num_videos", "2", "--num_workers", "0"],
        "bench eval": ["bench", "eval", data / "val.csv", "--device", "cpu"],
    }
    for name in ("visualize", "saliency", "timeline"):
        lines[name] = [name, network, video, "-o", folder / "out", *frames]
    return lines[command]


def material(shared: Path) -> None:
    """Make the files that the command lines use, once."""
    data = videos(shared)
    for name, write in (("network", write_pretrainer), ("classifier", write_classifier)):
        path = shared / f"{name}.safetensors"
        if not path.exists():
            expect([Process(lambda write=write, path=path: int(not write(path)), shared, name).wait()])  # type: ignore[misc]
    output = shared / "reported"
    if not output.exists():
        words = [str(word) for word in pretrain_words(data, output, "--max_steps", "1")]
        expect([Process(lambda: main(words), shared, "reported").wait()])


def trial(command: str, words: list[str], shared: Path) -> Callable[[Path], None]:
    """Run one example within the limits, in a folder of its own."""

    def body(folder: Path) -> None:
        place = folder / "a" / "b"
        place.mkdir(parents=True)
        line = [str(word) for word in line_that_works(command, shared, place)] + words

        def limited() -> int:
            os.chdir(place)
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 2 * MEMORY_LIMIT_BYTES,) * 2)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            return main(line)

        ended = Process(limited, folder, environment={**os.environ, "HOME": str(place)}).wait(9.0 * SECONDS)
        errors = [entry for entry in ended.told.split("\n") if entry.startswith("adamae: error: ")]
        codes = (0, 1, 2) if command == "doctor" else (0, 2)
        if ended.code not in codes or "Traceback" in ended.told or len(errors) != (ended.code == 2):
            raise LostError(f"ended with {ended.code}: {ended.told[-1500:]}")

    return body


def _address_space() -> int:
    (line,) = (entry for entry in Path("/proc/self/status").read_text().splitlines() if entry.startswith("VmSize"))
    return int(line.split()[1]) * 1024
