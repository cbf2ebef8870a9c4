"""``--compile``: in several processes, and refused where torch is too old."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch
from torch.torch_version import TorchVersion

from adamae.distributed import World
from adamae.errors import UserError
from adamae.training.compilation import check_compiler
from adamae.training.engine import build_optimizer
from adamae.training.parameter_groups import parameter_groups
from adamae.training.torch_engine import TorchEngine
from tests.launching import launch
from tests.training.toy import Toy, objective


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["plain", "deepspeed"])
def test_two_processes_with_checkpointed_activations_train_as_without_the_compiler(engine: str) -> None:
    if engine == "deepspeed" and find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed")
    texts = launch(["-m", "tests.training.compiled_ranks", engine], size=2)
    for text in texts:
        plain, compiled = json.loads(text.splitlines()[-1])[engine]
        assert compiled == [pytest.approx(row, rel=1e-5) for row in plain]


def test_a_torch_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_compiler()
    for version in ("2.6.0", "2.6.0+cu124", "2.10.0"):
        monkeypatch.setattr(torch, "__version__", TorchVersion(version))
        check_compiler()
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.5.1"))
    model = Toy()
    optimizer = build_optimizer(parameter_groups(model, 0.0))
    with pytest.raises(UserError, match=r"--compile: torch 2\.5\.1 is installed, expected 2\.6 or newer"):
        TorchEngine(model, objective, optimizer, world=World(), compile_model=True)
    TorchEngine(model, objective, optimizer, world=World())
