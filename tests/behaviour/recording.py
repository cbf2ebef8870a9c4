"""Run the command lines, each in a fork of a process that has imported the libraries, and record their behaviour."""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import shlex
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.behaviour.lines import LINES
from tests.behaviour.texts import normal_lines, normal_value, without_measured

ROOT = Path(__file__).resolve().parents[2]
# Commands whose output consists mostly of times.
_MEASURING = ("bench-step", "bench-loader", "bench-eval", "estimate")
_LIMIT = 240.0
# Keeps modules that declare operators, which are unregistered when their module is deleted.
_kept: list[ModuleType] = []


def record(work: Path, tree: Path = ROOT, only: str = "", tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Run the lines and describe their output.

    Args:
        work: Working folder: new or empty.
        tree: Repository whose ``adamae`` is run.
        only: Regular expression; selects the lines with a match in their name, and the lines whose files they read.
        tell: Function that prints a line after each command.
    """
    work.mkdir(parents=True, exist_ok=True)
    work = work.resolve()
    if any(work.iterdir()):
        raise SystemExit(f"{work}: expected a new or empty folder")
    _import_libraries(tree.resolve())
    given = work / "given"
    # The inputs are always written by the code of this repository, not of ``tree``.
    if code := _in_fork(lambda: _write_inputs(given), [sys.stdout.fileno(), sys.stderr.fileno()], work, {}, ROOT):
        raise SystemExit(f"the inputs could not be written: exit code {code}")
    found = {}
    for name in needed(only):
        begin, computed = time.perf_counter(), _computed()
        found[name] = _run_line(name, work, tree.resolve())
        codes = [step["exit"] for step in found[name]["steps"]]
        seconds = f"{time.perf_counter() - begin:.1f} s, {_computed() - computed:.1f} of them computing"
        tell(f"{name}: {seconds}, exit {' '.join(map(str, codes))}")
    return {"tree": str(tree), "lines": found}


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def needed(only: str) -> list[str]:
    """Return the names that match the pattern and those whose files they read, in an order that they can run in."""
    order: dict[str, None] = {}

    def take(name: str) -> None:
        for other in sorted(set(re.findall(r"\.\./([\w-]+)/", " ".join(LINES[name]))) - {"given", name}):
            if other not in order:
                take(other)
        order[name] = None

    for name in LINES:
        if name not in order and re.search(only, name):
            take(name)
    return list(order)


def _write_inputs(folder: Path) -> int:
    from tests.behaviour.inputs import write_inputs

    write_inputs(folder)
    return 0


def _run_line(name: str, work: Path, tree: Path) -> dict[str, Any]:
    folder = work / name
    folder.mkdir()
    places = {str(work): "<work>", str(tree): "<tree>", str(ROOT): "<tree>", sys.prefix: "<python>"}
    before = _stamps(work)
    steps = [_run_step(line, folder, tree, places, measures=name in _MEASURING) for line in LINES[name]]
    after = _stamps(work)
    changed = sorted(path for path, stamp in after.items() if before.get(path) != stamp)
    # Files in another line's folder are named from the working folder.
    names = [path.removeprefix(f"{name}/") if path.startswith(f"{name}/") else f"/{path}" for path in changed]
    described = _describe([work / path for path in changed], work, places)
    files: dict[str, Any] = {}
    for path, found in zip(map(_without_moments, names), described, strict=True):
        # TensorBoard files that start at different times, in their order.
        again = sum(other.startswith(path) for other in files) if path.endswith("tfevents") else 0
        files[f"{path}.{again + 1}" if again else path] = without_measured(found) if name in _MEASURING else found
    return {"steps": steps, "files": files, "removed": sorted(set(before) - set(after))}


def _describe(paths: list[Path], work: Path, places: dict[str, str]) -> list[Any]:
    """Describe the files in a fork, because some libraries that read videos cannot be loaded together."""
    out = work.with_name(f"{work.name}.contents")

    def describe() -> int:
        from tests.behaviour.contents import contents_of

        out.write_text(json.dumps([contents_of(path, places) for path in paths]))
        return 0

    if code := _in_fork(describe, [sys.stdout.fileno(), sys.stderr.fileno()], work, {}, ROOT):
        raise SystemExit(f"what was written could not be read: exit code {code}")
    found: list[Any] = json.loads(out.read_text())
    out.unlink()
    return found


def _without_moments(path: str) -> str:
    return re.sub(r"tfevents\.\d+\.[^/]*", "tfevents", path)


def _stamps(work: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for folder, _, names in os.walk(work):
        for name in names:
            path = Path(folder, name)
            if not name.endswith((".stdout", ".stderr")):
                status = path.lstat()
                found[str(path.relative_to(work))] = (status.st_mtime_ns, status.st_size)
    return found


def _run_step(line: str, folder: Path, tree: Path, places: dict[str, str], *, measures: bool) -> dict[str, Any]:
    words = shlex.split(line)
    launcher = words.pop(0)[1:-1] if words and words[0].startswith("[") else "1"
    said = [(Path(f"{folder}.{rank}.stdout"), Path(f"{folder}.{rank}.stderr")) for rank in range(2)]
    if launcher == "torchrun":
        code = _by_torchrun(words, folder, tree, said[0])
        said = said[:1]
    else:
        said = said[: int(launcher)]
        code = _by_forks(words, folder, tree, said)
    outputs, errors = (
        [path.read_text(errors="backslashreplace") for path in paths] for paths in zip(*said, strict=True)
    )
    for path in (path for pair in said for path in pair):
        path.unlink()
    shown = _output("".join(outputs), places, measures=measures)
    return {"line": line, "exit": code, "stdout": shown, "stderr": {"text": normal_lines("".join(errors), places)}}


def _output(text: str, places: dict[str, str], *, measures: bool) -> dict[str, Any]:
    """Describe JSON by its value and any other output by its lines."""
    try:
        found: dict[str, Any] = {"json": normal_value(json.loads(text), places)}
    except ValueError:
        found = {"text": normal_lines(text, places)}
    return without_measured(found) if measures else found


def _environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    fixed = {"OMP_NUM_THREADS": "1", "COLUMNS": "100", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TZ": "UTC"}
    # Instead of the terminal's own type, as in the tests.
    return {**kept, **fixed, "TERM": "dumb", **more}


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def _by_torchrun(words: list[str], folder: Path, tree: Path, said: tuple[Path, Path]) -> int:
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", _free_port(), "-m", "adamae"]
    with said[0].open("w") as out, said[1].open("w") as err:
        done = subprocess.run(
            [sys.executable, *launch, *words],
            cwd=folder,
            env=_environment(PYTHONPATH=str(tree)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=_LIMIT,
            check=False,
        )
    return done.returncode


def _by_forks(words: list[str], folder: Path, tree: Path, said: Iterable[tuple[Path, Path]]) -> int:
    """Run one process for each pair of files in ``said``; return the largest exit code."""
    said, port, children = list(said), _free_port(), []
    for rank, paths in enumerate(said):
        more = {}
        if len(said) > 1:
            more = {"WORLD_SIZE": str(len(said)), "RANK": str(rank), "LOCAL_RANK": str(rank)}
            more |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        streams = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in paths]
        children.append(_fork(lambda: _main(words, tree), streams, folder, more, tree))
        for stream in streams:
            os.close(stream)
    return max(_wait(child) for child in children)


def _main(words: list[str], tree: Path) -> int:
    sys.argv = ["adamae", *words]
    import adamae
    from adamae.cli.main import main

    if not Path(adamae.__file__).is_relative_to(tree):
        raise RuntimeError(f"{adamae.__file__} runs, not what lies in {tree}")
    return main()


def _in_fork(act: Callable[[], int], streams: list[int], folder: Path, more: dict[str, str], tree: Path) -> int:
    return _wait(_fork(act, streams, folder, more, tree))


def _wait(child: int) -> int:
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -9


def _fork(act: Callable[[], int], streams: list[int], folder: Path, more: dict[str, str], tree: Path) -> int:
    """Fork this process to run ``act`` and exit; return the process id of the fork."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _become(streams, folder, more, tree)
        code = act()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(code)
    return 0


def _become(streams: list[int], folder: Path, more: dict[str, str], tree: Path) -> None:
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
    os.chdir(folder)
    environment = _environment(**more)
    os.environ.clear()
    os.environ.update(environment)
    if any(name.partition(".")[0] == "adamae" for name in sys.modules):
        raise RuntimeError("adamae is imported before the fork, so its own imports would go untested")
    sys.path.insert(0, str(tree))


def _leave(code: int) -> None:
    import atexit

    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code & 255)


def _import_libraries(tree: Path) -> None:
    """Import libraries once for all forks, but none of our modules, whose imports are part of the recorded behaviour.

    Libraries that read videos are not imported either, because some of them cannot be loaded together.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    import torch._dynamo
    import torch.distributed
    import torch.utils.data
    import torch.utils.tensorboard

    torch.set_num_threads(1)
    # timm imports torchvision, which needs our import helper with a torch without CUDA.
    sys.path.insert(0, str(tree))
    _kept.append(importlib.import_module("adamae.torchvision_import"))
    sys.path.remove(str(tree))
    for name in [name for name in sys.modules if name.partition(".")[0] == "adamae"]:
        del sys.modules[name]
    importlib.import_module("timm.data")
    importlib.import_module("timm.layers")
