"""DeepSpeed really initialised, against the plain engine; and its settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from adamae.benchmark.distribution import Distribution, ddp_buckets, deepspeed_buckets
from adamae.distributed import World
from adamae.errors import UserError
from adamae.models import create_model
from adamae.training.deepspeed import OLDEST, _import_deepspeed, read_config, resolve_config
from adamae.training.run_logger import StepLines
from tests.launching import ROOT, launch
from tests.training.collectives import BUCKET, MODEL
from tests.training.toy import Toy, build, losses

deepspeed = pytest.importorskip("deepspeed")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    output = tmp_path_factory.mktemp("two")
    texts = launch(["-m", "tests.training.compare_engines", output], size=2)
    return json.loads(texts[0].splitlines()[-1]), output


def expected(steps: range) -> list[Any]:
    world = World()
    engine = build("plain", world)
    losses(engine, world, range(steps.start), poison=6)
    return [pytest.approx(row, rel=1e-5) for row in losses(engine, world, steps)]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["plain", "zero0", "zero1", "zero2"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_processes_equal_one_in_every_engine(two_processes: Any, engine: str, accumulation: int) -> None:
    rows = two_processes[0][f"{engine}/{accumulation}"]
    assert rows[:6] == expected(range(6))
    assert rows[6][2] == 1  # one rank's input was infinite; both left out the step
    assert rows[7:] == expected(range(7, 10))
    # Not once per micro-batch.
    assert two_processes[0][f"{engine}/{accumulation}/begun"] == 14


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "stage", "passes"), [("plain", 0, 1), ("zero0", 0, 1), ("zero1", 1, 2), ("zero2", 2, 1), ("zero2", 2, 2)]
)
def test_the_estimate_is_what_two_processes_exchange(two_processes: Any, engine: str, stage: int, passes: int) -> None:
    parameters = [one.numel() for one in create_model("adamae_tiny", **MODEL).parameters()]
    bucket = BUCKET if stage else sum(parameters)
    buckets = ddp_buckets(parameters) if engine == "plain" else deepspeed_buckets(parameters, bucket)
    spread = Distribution(sum(parameters), 0, 2, nodes=1, zero_stage=stage, buckets=buckets, passes=passes)
    total: Counter[str] = Counter()
    seen = two_processes[0]["collectives"][f"{engine}/{passes}"]
    for operation, size in seen:
        total[operation] += size
    assert Counter(operation for operation, _ in seen)["allreduce_"] == spread.all_reduces
    assert total["allreduce_"] == pytest.approx(spread.exchanged, rel=0.05)
    assert total["_allgather_base_"] == pytest.approx(spread.gathered, rel=0.05)
    # A ring of two sends half of what is added up, half of its result, and half of everything else.
    ring = total["allreduce_"] + (sum(total.values()) - total["allreduce_"]) / 2
    assert spread.sent == pytest.approx(ring, rel=0.05)


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def spoilt_steps(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    texts = launch(["-m", "tests.training.spoilt_gradients"], size=request.param)
    return [json.loads(text.splitlines()[-1]) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["plain", "zero0", "zero1", "zero2"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_gradient_that_is_not_finite_on_one_rank_leaves_all_as_they_were(
    spoilt_steps: list[dict[str, Any]], engine: str, accumulation: int
) -> None:
    for rank in spoilt_steps:
        unharmed, reports = rank[f"{engine}/{accumulation}"]
        assert [report for report in reports if report[2:] != [1.0, False]] == []
        assert len(reports) == len(list(Toy().parameters())) * 3
        assert unharmed


WAITS = """
import json, traceback
from torch.utils._python_dispatch import TorchDispatchMode
from adamae import distributed
from tests.training.toy import build, micro_batches

class Waits(TorchDispatchMode):
    # What makes the host wait for a GPU: a number that the host asks for, or a tensor made of one.
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function._schema.name in ("aten::_local_scalar_dense", "aten::lift_fresh", "aten::nonzero"):
            found.append([engine, function._schema.name, *map(str, traceback.extract_stack(limit=8))])
        return function(*args, **(kwargs or {}))

found = []
world = distributed.start("cpu", group_of_one=True)
for engine in ("zero0", "zero1", "zero2"):
    trained = build(engine, world, accumulation=2)
    steps = [micro_batches(step, 2, world) for step in range(2)]
    trained.step(steps[0], 1e-2, 0.05)
    with Waits():
        trained.step(steps[1], 1e-2, 0.05)
    trained.close()
world.close()
print(json.dumps(found))
"""


@pytest.mark.slow
def test_nothing_in_a_step_makes_the_host_wait() -> None:
    (text,) = launch(["-c", WAITS], size=1)
    assert json.loads(text.splitlines()[-1]) == []


PRIVATE = """
import datetime, json, torch
from adamae import distributed
from adamae.errors import UserError
from adamae.training.adam_state import build_optimizer
from adamae.training.deepspeed import DeepSpeedEngine
from adamae.training.parameter_groups import parameter_groups
from tests.training.toy import Toy, build, micro_batches, objective

# Not torch's default.
distributed._PATIENCE = datetime.timedelta(minutes=7)
world = distributed.start("cpu", group_of_one=True)
missing = []
# What its classes raise, what is raised for what it has not got, and a section that is none.
for settings in ({"sparse_gradients": True}, {"data_types": {"grad_accum_dtype": "bf16"}}, {"flops_profiler": 5}):
    model = Toy()
    try:
        DeepSpeedEngine(
            model, objective, build_optimizer(parameter_groups(model, 0.0)), world=world, config=settings, batch_size=16
        )
        missing.append(f"{settings}: is accepted")
    except UserError as error:
        if not str(error).startswith("DeepSpeed rejects its settings: "):
            missing.append(f"{settings}: {error}")
def patience(group):
    return group._get_backend(torch.device("cpu")).options._timeout
for stage in ("zero1", "zero2"):
    engine = build(stage, world)
    zero = engine._engine.optimizer
    for name in ("averaged_gradients", "refresh_fp32_params", "_lazy_init_hp_params_optimizer_state"):
        if not hasattr(zero, name):
            missing.append(f"{stage}: {type(zero).__name__}.{name}")
    if patience(zero.dp_process_group) != distributed._PATIENCE:
        missing.append(f"{stage}: its group waits {patience(zero.dp_process_group)}")
    if not missing:
        losses = engine._engine(micro_batches(0, 1, world)[0], False)
        engine._engine.backward(losses["loss"])
        shards = [part for group in zero.averaged_gradients.values() for part in group]
        count = sum(part.numel() for part in shards)
        held = sum(parameter.numel() for parameter in engine.model.parameters())
        if count < held:
            missing.append(f"{stage}: averaged_gradients hold {count} numbers of {held} after the backward pass")
    engine.close()
world.close()
print(json.dumps(missing))
"""


@pytest.mark.slow
def test_this_release_has_the_private_names_that_we_use() -> None:
    (text,) = launch(["-c", PRIVATE], size=1)
    missing = json.loads(text.splitlines()[-1])
    assert missing == [], f"DeepSpeed {deepspeed.__version__} has changed: mend adamae/training/deepspeed.py"


@pytest.mark.parametrize(
    ("version", "refused"), [("0.19.7", True), ("0.9.9", True), ("0.19.8", False), ("0.20.0", False)]
)
def test_a_release_that_destroys_weights_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str, refused: bool
) -> None:
    monkeypatch.setattr(deepspeed, "__version__", version)
    if not refused:
        assert _import_deepspeed(torch.device("cpu")) is deepspeed
        return
    with pytest.raises(UserError, match=f"DeepSpeed {version} is installed, expected 0.19.8 or newer"):
        _import_deepspeed(torch.device("cpu"))


def test_the_oldest_release_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = project["optional-dependencies"]["deepspeed"]
    assert wanted.startswith(f"deepspeed>={OLDEST},")


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
@pytest.mark.parametrize("network", ["vit", "swin"])
@pytest.mark.parametrize("engine", ["plain", "zero1"])
def test_the_loop_in_two_processes_equals_one(two_processes: Any, tmp_path: Path, engine: str, network: str) -> None:
    from tests.training.tiny_run import run

    rows, output = two_processes
    assert rows[f"{engine}/{network}/run"] == 6
    run(tmp_path, network=network, max_steps=6)
    names = ("step", "loss", "reconstruction", "sampling", "grad_norm", "lr")
    one = [[record[name] for name in names] for record in StepLines(tmp_path / "log.jsonl").read()]
    two = [[record[name] for name in names] for record in StepLines(output / engine / network / "log.jsonl").read()]
    assert two == [pytest.approx(row, rel=1e-5) for row in one]
    assert len(StepLines(output / engine / network / "bad_videos.jsonl").read()) == 1


@pytest.mark.slow
def test_one_process_without_a_launcher_or_a_compiler_and_one_run_after_another(tmp_path: Path) -> None:
    script = (
        "from adamae import distributed; from tests.training.toy import Toy, build, losses\n"
        "for stage in ('zero0', 'zero2'):\n"
        "    world = distributed.start('cpu', group_of_one=True); engine = build(stage, world, accumulation=2)\n"
        "    print(losses(engine, world, range(3))); engine.close(); world.close()"
    )
    env = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "CXX")}
    env |= {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT), "TORCH_EXTENSIONS_DIR": str(tmp_path / "none")}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    world = World()
    expected = losses(build("plain", world), world, range(3))
    rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[[")]
    assert rows == [[pytest.approx(row, rel=1e-5) for row in expected]] * 2


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
        ({"bf16": {"enabled": True}}, "set by --precision"),
        ({"train_batch_size": 7}, "set by --batch_size"),
        ({"optimizer": {"type": "Lamb"}}, "set by --opt"),
        ({"zero_optimization": {"stage": 3}}, r"stage = 3: expected 0, 1 or 2"),
        ({"zero_optimization": True}, "zero_optimization = True: expected an object"),
        ({"zero_optimization": None}, "zero_optimization = None: expected an object"),
        ({"zero_optimization": "auto"}, "zero_optimization = 'auto': expected an object"),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
            "offloading the optimizer is not",
        ),
        ({"zero_optimization": {"stage": 1, "offload_optimizer": "cpu"}}, "offloading the optimizer is not supported"),
        ({"zero_optimization": {"stage": 1, "cpu_offload": True}}, "zero_optimization.cpu_offload = True: offloading"),
        ({"managed_gradient_accumulation": False}, "set by --update_freq"),
        ({"steps_per_print": 0}, "steps_per_print = 0: expected a positive integer or null"),
    ],
)
def test_settings_that_contradict_the_run(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_config(config, batch_size=4, accumulation=1, world_size=1)


def test_an_optimizer_that_is_not_offloaded() -> None:
    zero = {"stage": 2, "offload_optimizer": {"device": "none"}, "cpu_offload": False}
    resolved = resolve_config({"zero_optimization": zero}, batch_size=4, accumulation=1, world_size=1)
    assert resolved["zero_optimization"].items() >= zero.items()


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
