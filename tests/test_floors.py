"""The house stands: a room imports only from floors below it, and some things are imported in one place only."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

FLOORS = (
    {
        "cores",
        "errors",
        "file_locks",
        "plain_text",
        "imagenet",
        "json_lines",
        "memory_errors",
        "network_interface",
        "peak_memory",
        "ranks",
        "removed_options",
        "time_limit",
        "version",
    },
    {"checks", "lookup"},
    {"files", "gpu_specs", "launch"},
    {"flags", "grid", "selection", "randomness", "distributed", "precision", "torchvision_import"},
    {"progress"},
    {"data", "layers"},
    {"samplers", "losses"},
    # A sampler brings its own options.
    {"options"},
    {"models"},
    # Reading a file builds the network that it describes, to know the shapes of its entries.
    {"checkpoints"},
    {"training", "evaluation"},
    {"visualize", "finetune_evaluation"},
    # Whole runs, each from top to bottom.
    {"pretrain", "finetune", "evaluate", "predict", "extract", "probe", "export"},
    # Measures the steps that training takes.
    {"benchmark", "doctor"},
    # Measurements from the options of a command.
    {"bench", "estimate"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = Path(__file__).resolve().parents[1] / "adamae"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What may be imported in these places alone.
KEPT_IN = {
    "deepspeed": ("training/deepspeed.py",),
    "av": ("data/decoding/", "data/h264_encoder.py", "data/preparation/transcoding.py"),
    "decord": ("data/decoding/",),
    "torchcodec": ("data/decoding/",),
    "webdataset": ("data/shards/fetching.py",),
    "onnxruntime": ("export/",),
    "onnxscript": ("export/",),
    # The published checkpoints carry a Namespace, which the reader admits as data.
    "argparse": ("options/", "cli/", "checkpoints/"),
}


def place(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


@cache
def imports(module: Path) -> tuple[str, ...]:
    """Full names of what a module imports anywhere in it, ``from a import b`` as ``a.b``."""
    return tuple(_imports(module))


def _imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(module)}:{node.lineno}: relative import, expected the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_floor() -> None:
    rooms = {entry.stem for entry in PACKAGE.iterdir() if entry.suffix == ".py" or any(entry.glob("**/*.py"))}
    assert rooms - {"__init__"} <= FLOOR_OF.keys()


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_imports_point_down(module: Path) -> None:
    room = place(module).removesuffix(".py").partition("/")[0]
    if room == "__init__":
        return
    for name in imports(module):
        if name.partition(".")[0] != "adamae":
            continue
        other = name.split(".")[1] if "." in name else "__init__"
        if other == "__init__":
            assert room == "cli", f"{place(module)} imports the package's front, which is for others"
        elif other != room:
            assert FLOOR_OF[other] < FLOOR_OF[room], f"{place(module)} imports {name}, which is not on a floor below"


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_what_has_one_place_is_imported_there_alone(module: Path) -> None:
    for name in {name.partition(".")[0] for name in imports(module)} & KEPT_IN.keys():
        assert place(module).startswith(KEPT_IN[name]), f"{place(module)} imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_torchvision_is_mended_before_it_is_imported(module: Path) -> None:
    names = imports(module)
    if any(name.partition(".")[0] in ("torchvision", "timm") for name in names):
        assert "adamae.torchvision_import" in names


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    declared = {
        requirement.partition(">")[0].replace("pyyaml", "yaml").replace("pillow", "PIL") for requirement in requirements
    }
    used = {name.partition(".")[0] for module in MODULES for name in imports(module)}
    assert used - set(sys.stdlib_module_names) - {"adamae"} <= declared
    through_others = {"tensorboard", "torchvision"}
    assert declared - through_others <= used


@pytest.mark.parametrize("module", sorted((PACKAGE / "data" / "decoding").glob("*.py")), ids=place)
def test_decoding_knows_nothing_of_what_becomes_of_frames(module: Path) -> None:
    ours = {name for name in imports(module) if name.startswith("adamae.")}
    below = ("adamae.data.decoding", "adamae.data.decoders", "adamae.errors")
    assert {name for name in ours if not name.startswith(below)} == set()
