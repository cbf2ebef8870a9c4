"""On a GPU no tensor of a step lies on the wrong device, and the host never waits for the device within a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from tests.fake_cuda.device import find_compiler
from tests.fake_cuda.steps import CASES, SPOILT
from tests.launching import ROOT

# One process runs all cases; with several workers of pytest one of them has these tests.
pytestmark = [pytest.mark.xdist_group("fake_cuda"), pytest.mark.slow]
# To keep the average off the GPU is to copy the weights in each step.
WAITS_BY_DESIGN = {"averaged-on-host": "training/ema.py"}


# Not of the module: a worker may run tests of others between these.
@pytest.fixture(scope="session")
def outcomes() -> dict[str, dict[str, Any]]:
    if not torch.cuda.is_available() and find_compiler() is None:
        pytest.skip("no C++ compiler found, and no GPU")
    command = [sys.executable, "-m", "tests.fake_cuda.steps"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return {outcome["case"]: outcome for outcome in map(json.loads, done.stdout.splitlines())}


def check(outcome: dict[str, Any], by_design: str | None = None) -> None:
    """Fail unless all tensors lay where they belong and the host waited for nothing but what is read for the log."""
    assert "error" not in outcome, outcome.get("error")
    for precision, found in outcome["report"].items():
        waits = [wait for wait in found["step"] if by_design is None or by_design not in wait]
        assert not waits, f"{precision}: the host would wait within a step: {', '.join(dict.fromkeys(waits))}"


def test_one_worker_has_these_tests(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("loadgroup", False):
        assert request.node.nodeid.endswith("@fake_cuda")


@pytest.mark.parametrize("case", CASES)
def test_a_step_has_all_tensors_on_the_device_and_never_waits(case: str, outcomes: dict[str, dict[str, Any]]) -> None:
    check(outcomes[case], WAITS_BY_DESIGN.get(case))


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("evaluated")])
def test_the_host_waits_where_the_log_is_read(case: str, outcomes: dict[str, dict[str, Any]]) -> None:
    for found in outcomes[case]["report"].values():
        (place,) = {wait.rpartition(":")[0] for wait in found["reading"]}
        assert place == "_local_scalar_dense at training/metrics.py"


@pytest.mark.parametrize("case", CASES.keys() & WAITS_BY_DESIGN)
def test_what_waits_by_design_is_seen(case: str, outcomes: dict[str, dict[str, Any]]) -> None:
    for found in outcomes[case]["report"].values():
        assert found["step"]


@pytest.mark.parametrize(
    ("spoilt", "complaint"),
    [
        ("item", r"(?m)within a step: _local_scalar_dense at steps\.py:\d+$"),
        ("index", r"(?m)within a step: index of tensors on two devices at steps\.py:\d+$"),
        ("tensor", r"(?s)with_host_tensor.*two d\w+ devices|with_host_tensor.*at least two devices"),
    ],
)
def test_one_wait_or_one_tensor_on_the_wrong_device_fails(
    spoilt: str, complaint: str, outcomes: dict[str, dict[str, Any]]
) -> None:
    assert f"with_{'item' if spoilt == 'item' else 'host_' + spoilt}" in str(SPOILT[spoilt].keywords)
    with pytest.raises(AssertionError, match=complaint):
        check(outcomes[f"spoilt-{spoilt}"])


@pytest.mark.parametrize("case", ["deep-pretraining", "deep-finetuning"])
def test_the_noise_of_a_base_sized_step_is_less_than_a_hundred_operations(
    case: str, outcomes: dict[str, dict[str, Any]]
) -> None:
    assert 0 < outcomes[case]["report"]["bf16"]["noise"] < 100
