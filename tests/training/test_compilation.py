"""``--compile``: in several processes, and refused where torch is too old."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.torch_version import TorchVersion

from adamae.distributed import World
from adamae.errors import UserError
from adamae.models import create_model
from adamae.training.adam_state import build_optimizer
from adamae.training.compilation import check_compiler
from adamae.training.engine import EngineSettings
from adamae.training.objectives import pretrain_objective
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
        TorchEngine(model, objective, optimizer, world=World(), settings=EngineSettings(compile_model=True))
    TorchEngine(model, objective, optimizer, world=World())


@pytest.mark.slow
def test_epochs_budgets_and_logging_steps_compile_nothing_anew() -> None:
    """Two graphs, of steps with and without what is logged; others come with a batch of another size alone."""
    torch.compiler.reset()
    counter = CompileCounter()
    small = {"img_size": 32, "num_frames": 4, "encoder_embed_dim": 48, "encoder_depth": 1, "decoder_depth": 1}
    heads = {"decoder_embed_dim": 48, "decoder_num_heads": 3, "mask_ratio": 0.5, "decoder_budget": 0.5}
    model = create_model("adamae_tiny", **small, **heads).train()
    model.compile(backend=counter, fullgraph=True)
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    engine = TorchEngine(model, pretrain_objective, optimizer, world=World())

    def step(number: int, size: int, diagnose: bool) -> int:
        clip = torch.randint(0, 256, (size, 4, 32, 32, 3), dtype=torch.uint8)
        seeds = 100 * number + torch.arange(size)
        losses = engine.step([{"clip": clip, "seed": seeds}], 1e-3 * number, 0.05, diagnose=diagnose)
        assert ("trivial" in losses) == diagnose
        graphs: int = counter.frame_count
        return graphs

    assert [step(number, 4, diagnose) for number, diagnose in enumerate((True, False, False, True))] == [1, 2, 2, 2]
    with_last_batch = step(4, 3, False)
    # Torch 2.6 compiles one for each size.
    sizes = with_last_batch + torch.__version__.startswith("2.6.")
    assert [step(5, 2, False), step(6, 4, False)] == [sizes, sizes]
