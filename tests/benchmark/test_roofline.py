"""Predicted steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adamae.benchmark.contenders import choose, variants
from adamae.benchmark.operations import Operation
from adamae.benchmark.roofline import predict, predict_steps, seconds
from adamae.benchmark.step_picture import write_step_picture
from adamae.errors import UserError
from adamae.gpu_specs import GPUS, Gpu

TINY = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}
GPU = Gpu("round numbers", {"bf16": 1e12, "fp32": 1e11}, bandwidth=1e9, exponentials=1e6, launch=1e-3)


def operation(**changes: object) -> Operation:
    given = {
        "name": "mm",
        "part": "encoder",
        "kind": "product",
        "dtype": torch.bfloat16,
        "flop": 10**12,
        "exponentials": 0,
        "read": 10**9,
        "written": 10**9,
        "launches": 2,
    }
    return Operation(**{**given, **changes})  # type: ignore[arg-type]


def test_the_longest_of_arithmetic_bytes_and_exponentials_counts() -> None:
    assert seconds(operation(), GPU) == pytest.approx(2 + 2e-3)
    assert seconds(operation(flop=5 * 10**12), GPU) == pytest.approx(5 + 2e-3)
    assert seconds(operation(dtype=torch.float32), GPU) == pytest.approx(10 + 2e-3)
    assert seconds(operation(exponentials=7 * 10**6), GPU) == pytest.approx(7 + 2e-3)


def test_share_of_the_peak_counts_the_forward_pass_three_times() -> None:
    backward = operation(part="backward", flop=9 * 10**12)
    step = predict([operation(), backward], GPU, 1e12)
    assert step.total.seconds == pytest.approx(2 + 9 + 4e-3)
    assert step.share_of_peak == pytest.approx(3 / step.total.seconds)
    assert list(step.parts) == ["encoder", "backward"]


# Torch 2.6 compiles nothing whose inputs have no values.
needs_compiler = pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 cannot predict it")


@needs_compiler
@pytest.mark.slow
def test_a_tiny_step_and_its_variants(tmp_path: Path) -> None:
    names = ["compile", "economy", "checkpoint_all", "tube"]
    report = predict_steps(
        model="adamae_tiny", batch_size=2, gpu=GPUS["h100"], compare=choose(names, variants()), **TINY
    )
    assert list(report.steps) == ["ours", *names]
    ours, compiled = report.steps["ours"], report.steps["compile"]
    assert set(ours.parts) == {"tokens", "selection", "encoder", "decoder", "losses", "backward", "optimizer"}
    # The compiler changes no arithmetic, and moves and launches less: in so small a step weights are most of what is
    # read, and it folds those of the norms into those of the products.
    assert compiled.total.flop == pytest.approx(ours.total.flop, rel=0.02)
    for of in ("launches", "written"):
        assert getattr(compiled.kinds["other"], of) < getattr(ours.kinds["other"], of)
    assert compiled.total.read + compiled.total.written < ours.total.read + ours.total.written
    assert set(compiled.parts) == set(ours.parts)
    assert report.steps["checkpoint_all"].total.flop > ours.total.flop > report.steps["economy"].total.flop
    # 8 tokens, of which 4 are visible: tube masks embed those alone.
    assert report.steps["tube"].parts["tokens"].flop < ours.parts["tokens"].flop / 2
    text = report.render()
    assert "adamae_tiny predicted for H100 SXM, bf16, batch 2; nothing was run" in text
    assert json.loads(json.dumps(report.as_dict()))["clips_per_second"].keys() == report.steps.keys()
    write_step_picture(report, tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes().startswith(b"\x89PNG")


def test_a_gpu_has_its_precisions() -> None:
    with pytest.raises(UserError, match="precision 'bf16': V100 SXM2 has fp16, fp32"):
        predict_steps(model="adamae_tiny", gpu=GPUS["v100"], precision="bf16", **TINY)


def test_a_compiler_that_needs_values_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise AssertionError("fake mode 0 does not match\nmode 1")

    monkeypatch.setattr("adamae.benchmark.roofline.fusing_backend", lambda *_: failing)
    compiled = choose(["compile"], variants())
    with pytest.raises(
        UserError, match=r"^torch \S+ cannot compile a step without values: fake mode 0 does not match; "
    ):
        predict_steps(model="adamae_tiny", batch_size=2, gpu=GPUS["h100"], compare=compiled, **TINY)


@needs_compiler
@pytest.mark.slow
def test_a_compiled_step_is_predicted_anew_each_time() -> None:
    compiled = choose(["compile"], variants())
    one, again = (
        predict_steps(model="adamae_tiny", batch_size=2, gpu=GPUS["h100"], compare=compiled, **TINY) for _ in range(2)
    )
    assert one.steps["compile"].total == again.steps["compile"].total
    assert one.steps["compile"].total.launches < one.steps["ours"].total.launches
