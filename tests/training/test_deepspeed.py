"""DeepSpeed really initialised, against the plain engine; and its settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adamae.distributed import World
from adamae.errors import UserError
from adamae.training.deepspeed import read_config, resolve_config
from adamae.training.run_logger import StepLines
from tests.launching import ROOT, launch
from tests.training.toy import build, losses

pytest.importorskip("deepspeed")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    output = tmp_path_factory.mktemp("two")
    texts = launch(["-m", "tests.training.compare_engines", output], size=2)
    return json.loads(texts[0].splitlines()[-1]), output


def expected(steps: range) -> list[Any]:
    world = World()
    engine = build("plain", world)
    losses(engine, world, range(steps.start), poison=6)
    return [[pytest.approx(row[0], rel=1e-5), row[2]] for row in losses(engine, world, steps)]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["plain", "zero0", "zero1", "zero2"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_processes_equal_one_in_every_engine(two_processes: Any, engine: str, accumulation: int) -> None:
    rows = two_processes[0][f"{engine}/{accumulation}"]
    assert [[row[0], row[2]] for row in rows[:6]] == expected(range(6))
    assert rows[6][2] == 1  # one rank's input was infinite; both left out the step
    assert [[row[0], row[2]] for row in rows[7:]] == expected(range(7, 10))


@pytest.mark.slow
@pytest.mark.parametrize("saved_by", ["plain", "zero0", "zero1", "zero2"])
@pytest.mark.parametrize("engine", ["plain", "zero0", "zero2"])
def test_any_engine_goes_on_from_what_any_other_saved(two_processes: Any, saved_by: str, engine: str) -> None:
    rows = two_processes[0]
    went_on = rows[f"{saved_by}->{engine}"]
    assert went_on == [pytest.approx(row, rel=1e-5) for row in rows["plain/1/on"]]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["zero0", "zero1", "zero2"])
def test_fp16_scales_and_skips_alike(two_processes: Any, engine: str) -> None:
    rows = two_processes[0]
    for ours, plain in zip(rows[f"{engine}/fp16"], rows["plain/fp16"], strict=True):
        assert ours[2] == plain[2]
        assert ours[2] or ours[0] == pytest.approx(plain[0], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["plain", "zero1"])
def test_the_loop_in_two_processes_equals_one(two_processes: Any, tmp_path: Path, engine: str) -> None:
    from tests.training.tiny_run import run

    rows, output = two_processes
    assert rows[f"{engine}/run"] == 6
    run(tmp_path, max_steps=6)
    names = ("step", "loss", "reconstruction", "sampling", "grad_norm", "lr")
    one = [[record[name] for name in names] for record in StepLines(tmp_path / "log.jsonl").read()]
    two = [[record[name] for name in names] for record in StepLines(output / engine / "log.jsonl").read()]
    assert two == [pytest.approx(row, rel=1e-5) for row in one]
    assert len(StepLines(output / engine / "bad_videos.jsonl").read()) == 1


@pytest.mark.slow
def test_one_process_without_a_launcher_or_a_compiler(tmp_path: Path) -> None:
    script = (
        "from adamae import distributed; from tests.training.toy import build, losses\n"
        "world = distributed.start('cpu', group_of_one=True); engine = build('zero2', world, accumulation=2)\n"
        "print(losses(engine, world, range(3))); engine.close(); world.close()"
    )
    env = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "CXX")}
    env |= {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT), "TORCH_EXTENSIONS_DIR": str(tmp_path / "none")}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    world = World()
    expected = losses(build("plain", world), world, range(3))
    assert json.loads(ended.stdout.splitlines()[-1]) == [pytest.approx(row, rel=1e-5) for row in expected]


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_presets(stage: int) -> None:
    config = read_config(ROOT / f"configs/deepspeed/zero{stage}.json")
    resolved = resolve_config(config, batch_size=4, accumulation=2, world_size=8)
    assert resolved["zero_optimization"]["stage"] == stage
    assert resolved["train_batch_size"] == 64
    assert resolved["gradient_clipping"] == 0.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bf16": {"enabled": True}}, "decided by --precision"),
        ({"train_batch_size": 7}, "decided by --batch_size"),
        ({"optimizer": {"type": "Lamb"}}, "decided by --opt"),
        ({"zero_optimization": {"stage": 3}}, r"stage = 3: expected 0, 1 or 2"),
    ],
)
def test_settings_that_contradict_the_run(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_config(config, batch_size=4, accumulation=1, world_size=1)


def test_auto_stands_for_what_the_run_decides() -> None:
    resolved = resolve_config({"train_batch_size": "auto", "fp16": "auto"}, batch_size=4, accumulation=1, world_size=1)
    assert resolved["train_batch_size"] == 4
    assert "fp16" not in resolved


@pytest.mark.parametrize(("text", "message"), [(None, "cannot be read"), ("{", "is not JSON"), ("[]", "got a list")])
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "zero.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_config(path)
