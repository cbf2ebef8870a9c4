"""What saving and resuming cost each process: one copy for the main rank, one file for all of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.launching import launch

# Two ranks save and resume a model of 1.05 million parameters: 8.4 MB of optimiser's state.
SCRIPT = """
import json, shutil, sys, torch
from pathlib import Path
from torch import nn
from adamae import distributed
from adamae.checkpoints.store import CheckpointStore
from adamae.training.adam_state import build_optimizer
from adamae.training.parameter_groups import parameter_groups
from tests.training.toy import objective

output = Path(sys.argv[1])
world = distributed.start("cpu", timeout_seconds=60, group_of_one=True)

def build(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 1024), nn.Linear(1024, 512))
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    if name == "plain":
        from adamae.training.torch_engine import TorchEngine
        return TorchEngine(model, objective, optimizer, world=world)
    from adamae.training.deepspeed import DeepSpeedEngine
    config = {"zero_optimization": {"stage": int(name[-1])}}
    return DeepSpeedEngine(model, objective, optimizer, config=config, batch_size=4, world=world)

def bytes_read():
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

def step(engine, number):
    noise = torch.Generator().manual_seed(number)
    x, y = torch.randn(4, 512, generator=noise), torch.randn(4, 512, generator=noise)
    return engine.step([{"x": x, "y": y}], 1e-3, 0.05)["loss"].item()

def tensors(value):
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(tensors, value.values())) if isinstance(value, dict) else 0

def measure(name):
    engine, store = build(name), CheckpointStore(output / name)
    for number in range(2):
        step(engine, number)
    state = engine.training_state()
    held = tensors(state)
    world.on_main(lambda: store.save(2, engine.model.state_dict(), {"engine": state}, {}) and None)
    expected = step(engine, 2)
    engine.close()
    checkpoint = world.on_main(store.newest)
    engine = build(name)
    before = bytes_read()
    engine.load(checkpoint.weights(), checkpoint.training()["engine"])
    read = bytes_read() - before
    # Nothing of the file is needed any more.
    world.barrier()
    world.on_main(lambda: shutil.rmtree(store.directory))
    went_on = step(engine, 2) == expected
    engine.close()
    return {"held": held, "read": read, "went on": went_on}

print(json.dumps({name: measure(name) for name in sys.argv[2:]}), flush=True)
world.close()
"""
MEGABYTES = 8 * 512 * 1024 * 2 / 1e6


@pytest.mark.slow
def test_the_main_rank_alone_holds_the_state_and_no_rank_reads_a_copy_of_the_file(tmp_path: Path) -> None:
    engines = ["plain", *(("zero0", "zero2") if importlib.util.find_spec("deepspeed") else ())]
    main, other = (json.loads(text.splitlines()[-1]) for text in launch(["-c", SCRIPT, tmp_path, *engines], size=2))
    print(main, other)
    for engine in engines:
        assert main[engine]["held"] / 1e6 == pytest.approx(MEGABYTES, rel=0.01)
        assert other[engine]["held"] == 0
        # Mapped, the 8.4 MB of training.pt and the 4.2 MB of the weights are not read into a process at all.
        assert max(main[engine]["read"], other[engine]["read"]) < 0.5e6
        assert main[engine]["went on"]
        assert other[engine]["went on"]
