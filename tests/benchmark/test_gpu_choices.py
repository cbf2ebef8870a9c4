"""Steps on CPU tensors without values have the operations of a GPU: against a pretended CUDA device."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.launching import ROOT

# A process of its own: torch's autograd engine counts the devices once, before the first backward pass.
_SCRIPT = """
import json, torch
from adamae.benchmark.contenders import Setting, contender, variants
from adamae.benchmark.gpu_choices import gpu_choices
from adamae.benchmark.operations import OperationRecorder
from adamae.benchmark.roofline import step_operations, without_values
from adamae.models import create_model
from tests.fake_cuda.device import DEVICE, fake_cuda

options = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}
shape = (2, 4, 32, 32, 3)

def summed(operations):
    of = {}
    for one in operations:
        total = of.setdefault(one.kind, [0, 0, 0, 0])
        # Attention's kernels differ in what they keep for the backward pass by some bytes.
        counts = (one.launches, one.flop, *((one.read, one.written) if one.kind != "attention" else (0, 0)))
        of[one.kind] = [a + b for a, b in zip(total, counts)]
    return of

with fake_cuda():
    model = create_model("adamae_tiny", **options).to(DEVICE).train()
    clips = torch.zeros(shape, dtype=torch.uint8, device=DEVICE)
    step = contender(model, lambda: model(clips).losses["loss"], torch.bfloat16).step
    step()
    with OperationRecorder("forward") as recorder:
        step()
with gpu_choices(), without_values():
    setting = Setting("adamae_tiny", options, torch.zeros(shape, dtype=torch.uint8), torch.bfloat16)
    here = step_operations(variants()["ours"], setting)
print(json.dumps([summed(recorder.operations), summed(here)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_the_operations_are_those_of_a_pretended_gpu() -> None:
    ended = subprocess.run([sys.executable, "-c", _SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    there, here = json.loads(ended.stdout.splitlines()[-1])
    assert here.keys() == there.keys()
    for kind, (launches, flop, *moved) in here.items():
        assert [launches, flop] == there[kind][:2]
        # The mean and the deviation of each row of a norm are float32 on a GPU alone.
        assert moved == pytest.approx(there[kind][2:], rel=1e-4)
    assert here["other"][0] > 100
