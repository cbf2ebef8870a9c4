"""A command that has loader workers and fails leaves no process behind: its traceback, a code, and silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adamae.cli.main import main
from tests.cli.test_pretrain import TINY
from tests.launching import ROOT, free_port, ranks_environment

# From the moment at which something fails until the last process is gone.
# Where others want the cores too, leaving takes longer.
LIMIT = 10.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 1)
# Fails in the way of a card without memory: an error that is none of ours, in the middle of the work. What it keeps
# is what a traceback keeps, and a process that was stopped here has read batches ahead.
SCRIPT = """
import importlib, itertools, os, sys, time
from pathlib import Path
from adamae.cli.main import main

def failing(*arguments, **named):
    if next(calls) < int(os.environ["FAIL_AFTER"]) or os.environ["FAILS"] not in (os.environ.get("RANK", "0"), "all"):
        return whole(*arguments, **named)
    Path(os.environ["DIARY"]).write_text(str(time.time()))
    raise RuntimeError("out of memory, as a card says it")

calls = itertools.count()
module, *path, name = os.environ["AT"].split("/")
owner = importlib.import_module(module)
for part in path:
    owner = getattr(owner, part)
whole = getattr(owner, name)
setattr(owner, name, failing)
sys.exit(main(sys.argv[1:]))
"""
STEP = "adamae.training.torch_engine/TorchEngine/step"
FORWARD = "adamae.evaluation.scoring/forward_in_batches"
WORKER = ["--num_workers", "1"]
# What a rank that ends by an error leaves with: its own code, or, where leaving took too long, that of its alarm.
ENDED = (1, -signal.SIGALRM)


def environment(process: Path) -> list[bytes]:
    """Of a process in /proc; none of one that is gone."""
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


class Failing:
    """Processes that run a command until a function of it raises.

    Args:
        folder: Holds what they leave.
        words: The command.
        at: "module/name/name" of the function.
        after: Calls that are spared.
        size: Processes.
        fails: The rank that fails, or "all".
        launcher: Goes before the script; by default the processes are started one by one.
    """

    def __init__(
        self,
        folder: Path,
        words: Sequence[str | Path],
        at: str,
        after: int = 2,
        size: int = 1,
        fails: str = "all",
        launcher: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        (folder / "script.py").write_text(SCRIPT)
        command = [sys.executable, *launcher, str(folder / "script.py"), *map(str, words)]
        common = {"AT": at, "FAIL_AFTER": str(after), "FAILS": fails, "DIARY": str(folder / "diary")}
        alone = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        ranks = [alone] if launcher or size == 1 else ranks_environment(size)
        self.processes = []
        for number, rank in enumerate(ranks):
            with (folder / f"errors{number}").open("w") as errors:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env=rank | common,
                        stdout=subprocess.DEVNULL,
                        stderr=errors,
                    )
                )

    def codes(self) -> list[int]:
        """Exit codes, once all processes and all that they started are gone, which has to be soon after the failure."""
        deadline = time.time() + 120
        while not (self.folder / "diary").exists():
            assert time.time() < deadline and self.alive(), self.errors()
            time.sleep(0.05)
        while self.alive():
            failed = float((self.folder / "diary").read_text() or time.time())
            assert time.time() < failed + LIMIT, (self.alive(), self.errors())
            time.sleep(0.05)
        return [process.wait() for process in self.processes]

    def alive(self) -> list[int]:
        """Our processes and theirs, which carry our mark wherever a launcher put them."""
        for process in self.processes:
            process.poll()
        mark = f"DIARY={self.folder / 'diary'}".encode()
        return [int(each.name) for each in Path("/proc").glob("[0-9]*") if mark in environment(each)]

    def errors(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("errors*")))

    def kill(self) -> None:
        for process in self.alive():
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[type[Failing]]:
    """Makes :class:`Failing`, and cleans up."""
    made: list[Failing] = []

    class Made(Failing):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(tmp_path, *arguments, **named)  # type: ignore[arg-type]
            made.append(self)

    yield Made
    for each in made:
        each.kill()


def pretrain_words(videos: Path, output: Path) -> list[str | Path]:
    words = [*TINY, *WORKER, "--engine", "plain"]
    return ["pretrain", "--data_path", videos / "train.csv", "--output_dir", output, *words]


def finetune_words(videos: Path, output: Path) -> list[str | Path]:
    network = "--model vit_tiny_patch16_224 --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1"
    run = "--patch_size 8 --input_size 32 --num_frames 4 --sampling_rate 1 --batch_size 2 --epochs 2 --device cpu"
    words = [*network.split(), *run.split(), *WORKER, "--engine", "plain"]
    return ["finetune", "--data_path", videos, "--output_dir", output, *words]


COMMANDS = {"pretrain": pretrain_words, "finetune": finetune_words}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_ends_training(failing: type[Failing], command: str, videos: Path, tmp_path: Path) -> None:
    run = failing(COMMANDS[command](videos, tmp_path / "run"), STEP)
    assert run.codes() == [1]
    assert "Traceback" in run.errors()
    assert "RuntimeError: out of memory, as a card says it" in run.errors()


@pytest.mark.slow
@pytest.mark.parametrize(("command", "rank"), [("pretrain", "1"), ("finetune", "0")])
def test_an_error_of_one_rank_ends_both(
    failing: type[Failing], command: str, rank: str, videos: Path, tmp_path: Path
) -> None:
    run = failing(COMMANDS[command](videos, tmp_path / "run"), STEP, size=2, fails=rank, after=1)
    codes = run.codes()
    assert codes[int(rank)] in ENDED
    assert 0 not in codes
    assert "RuntimeError: out of memory, as a card says it" in run.errors()


@pytest.mark.slow
def test_an_error_of_one_rank_ends_torchrun(failing: type[Failing], videos: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    run = failing(pretrain_words(videos, tmp_path / "run"), STEP, fails="1", after=1, launcher=launcher)
    assert run.codes() == [1]
    assert "RuntimeError: out of memory, as a card says it" in run.errors()


@pytest.fixture(scope="module")
def checkpoints(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pre-trained and a fine-tuned one."""
    output = tmp_path_factory.mktemp("checkpoints")
    for name, words in COMMANDS.items():
        line = [str(word) for word in words(videos, output / name)]
        assert main([*line, "--num_workers", "0", "--max_steps", "1"]) == 0
    return {name: output / name for name in COMMANDS}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "predict", "probe"])
def test_an_error_ends_looking(
    failing: type[Failing], command: str, checkpoints: dict[str, Path], videos: Path
) -> None:
    at = "adamae.evaluation.video_features/forward_in_batches" if command == "probe" else FORWARD
    some = sorted(videos.rglob("*.mp4"))[:8]
    words = {
        "evaluate": ["evaluate", checkpoints["finetune"], "--data_path", videos / "train.csv"],
        "predict": ["predict", checkpoints["finetune"], *some],
        "probe": ["probe", checkpoints["pretrain"], "--data_path", videos],
    }[command]
    run = failing([*words, *WORKER, "--batch_size", "1", "--device", "cpu"], at, after=1)
    assert run.codes() == [1]
    assert "RuntimeError: out of memory, as a card says it" in run.errors()


@pytest.mark.slow
def test_an_error_ends_the_measuring_of_a_loader(failing: type[Failing], videos: Path) -> None:
    words = "--num_videos 8 --batch_size 1 --num_frames 4 --sampling_rate 1 --input_size 32".split()
    run = failing(["bench", "loader", videos / "train.csv", *words, *WORKER], "adamae.benchmark.loader/islice", 0)
    assert run.codes() == [1]
    assert "RuntimeError: out of memory, as a card says it" in run.errors()


@pytest.mark.slow
def test_a_worker_at_a_video_that_never_ends_leaves_with_a_parent_that_was_killed(
    failing: type[Failing], tmp_path: Path
) -> None:
    (tmp_path / "list").mkdir()
    os.mkfifo(tmp_path / "list" / "pipe.mp4")
    (tmp_path / "list" / "train.csv").write_text("pipe.mp4 0\n" * 4)
    run = failing([*pretrain_words(tmp_path / "list", tmp_path / "run"), "--video_timeout", "0"], STEP)
    while len(run.alive()) < 2:
        assert run.processes[0].poll() is None, run.errors()
        time.sleep(0.05)
    time.sleep(1)
    run.processes[0].kill()
    deadline = time.time() + LIMIT
    while run.alive():
        assert time.time() < deadline
        time.sleep(0.05)
