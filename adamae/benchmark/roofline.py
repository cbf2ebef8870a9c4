"""What a step would take on a device that is not there: a lower bound from its operations.

A kernel takes at least the time of its arithmetic at the device's peak, that of its bytes at the bandwidth, and, where
it is attention, that of its exponentials; the longest of the three counts. Kernels run one after another, and each adds
a launch. No kernel is that good, so a measured step is longer; two predictions compare better than a prediction and a
measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from adamae.benchmark.contenders import DEFAULT_PART, OUR_PARTS, OURS, BuildContender, Setting, variants
from adamae.benchmark.fusion import fusing_backend
from adamae.benchmark.gpu_choices import gpu_choices
from adamae.benchmark.operations import BACKWARD, OPTIMIZER, Operation, OperationRecorder
from adamae.errors import UserError
from adamae.gpu_specs import Gpu
from adamae.models import Pretrainer, create_model
from adamae.precision import matmul_dtype

_PRECISION_OF = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


def seconds(operation: Operation, gpu: Gpu) -> float:
    """The least time of one operation on a device."""
    work = operation.moved / gpu.bandwidth
    if operation.flop:
        precision = _PRECISION_OF[operation.dtype]
        # Torch's convolutions use TF32 unless it is switched off; its matrix products do not.
        if operation.name.startswith("convolution") and precision == "fp32" and "tf32" in gpu.flops:
            precision = "tf32"
        work = max(work, operation.flop / gpu.peak(precision), operation.exponentials / gpu.exponentials)
    return work + operation.launches * gpu.launch


@dataclass(frozen=True)
class Cost:
    """Of some operations together.

    Attributes:
        launches: Kernels.
        flop: Operations of products and attention.
        read: Bytes.
        written: Bytes.
        seconds: The least time.
    """

    launches: int
    flop: int
    read: int
    written: int
    seconds: float


@dataclass(frozen=True)
class PredictedStep:
    """A step on a device.

    Attributes:
        total: Of the whole step.
        parts: By part, in the order in which they run: of the forward pass, "backward", "optimizer".
        kinds: By :attr:`~adamae.benchmark.operations.Operation.kind`.
        share_of_peak: Operations that the step needs in its time, over the peak; a backward pass counts as two forward
            passes, whatever is computed again.
    """

    total: Cost
    parts: dict[str, Cost]
    kinds: dict[str, Cost]
    share_of_peak: float


@dataclass(frozen=True)
class Prediction:
    """What :func:`predict_steps` found.

    Attributes:
        model: Name of the model.
        gpu: The device.
        precision: "fp32", "bf16" or "fp16".
        batch_size: Clips in a step.
        steps: Our step, "ours", and what is compared with it.
    """

    model: str
    gpu: Gpu
    precision: str
    batch_size: int
    steps: dict[str, PredictedStep]

    parts_title = ""

    @property
    def title(self) -> str:
        """What was predicted."""
        return f"{self.model} predicted for {self.gpu.title}, {self.precision}, batch {self.batch_size}"

    @property
    def rates(self) -> dict[str, float]:
        """Clips per second of each step, at best."""
        return {name: self.batch_size / step.total.seconds for name, step in self.steps.items()}

    @property
    def part_seconds(self) -> dict[str, float]:
        """Of each part of our step."""
        return {name: part.seconds for name, part in self.steps[OURS].parts.items()}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "clips_per_second": self.rates}

    def render(self) -> str:
        """The prediction as tables."""
        lines = [
            f"{self.title}; nothing was run",
            f"  peak {self.gpu.peak(self.precision) / 1e12:.0f} TFLOP/s, {self.gpu.bandwidth / 1e12:.2f} TB/s, "
            f"{self.gpu.launch * 1e6:.0f} us for a kernel; no kernel reaches these, so a real step takes longer",
        ]
        for name, step in self.steps.items():
            lines += ["", f"  {name}: {_summary(self, name)}", f"    {_HEADER}"]
            rows = {**step.parts, **{f"all {kind}": cost for kind, cost in step.kinds.items()}, "step": step.total}
            lines += [f"    {_row(part, cost, step.total.seconds)}" for part, cost in rows.items()]
        return "\n".join(lines)


_HEADER = f"{'':<16}{'kernels':>8}{'GFLOP':>10}{'GB read':>10}{'written':>10}{'ms':>9}{'share':>8}"


def _row(part: str, cost: Cost, total: float) -> str:
    numbers = f"{cost.launches:>8}{cost.flop / 1e9:>10.1f}{cost.read / 1e9:>10.2f}{cost.written / 1e9:>10.2f}"
    return f"{part:<16}{numbers}{cost.seconds * 1e3:>9.2f}{cost.seconds / total:>8.1%}"


def _summary(prediction: Prediction, name: str) -> str:
    step, rate = prediction.steps[name], prediction.rates[name]
    text = f"{step.total.seconds * 1e3:.1f} ms, {rate:.0f} clips/s, {step.share_of_peak:.1%} of the peak"
    if name == OURS:
        return text
    return f"{text}, {rate / prediction.rates[OURS]:.2f} of our clips/s"


def predict_steps(
    *,
    model: str = "adamae_base",
    batch_size: int = 32,
    precision: str = "bf16",
    gpu: Gpu,
    compare: Mapping[str, BuildContender] | None = None,
    compile_model: bool = False,
    **options: Any,
) -> Prediction:
    """Predict our step on a device, and those that it is compared with.

    Args:
        model: Name of a pre-train model.
        batch_size: Clips in a step.
        precision: "fp32", "bf16" or "fp16".
        gpu: The device.
        compare: Contenders by name, such as some of :func:`~adamae.benchmark.contenders.variants`.
        compile_model: Our step goes through ``torch.compile``.
        **options: Arguments of the model.

    Raises:
        UserError: If the model is not a pre-train model, a contender cannot be built, or the device has no such
            precision.
    """
    dtype, peak = matmul_dtype(precision), gpu.peak(precision)
    with torch.device("meta"):
        built = create_model(model, **options)
    if not isinstance(built, Pretrainer):
        raise UserError(f"{model} is not supported: expected a pre-training model, as for `adamae pretrain`")
    shape = (batch_size, *built.frame_choice.candidates.clip_shape, built.pixel_values.mean.numel())
    steps = {}
    for name, build in {OURS: variants()[OURS], **(compare or {})}.items():
        with gpu_choices(), without_values():
            setting = Setting(model, options, torch.zeros(shape, dtype=torch.uint8), dtype, compile_model)
            steps[name] = predict(step_operations(build, setting), gpu, peak)
    return Prediction(model, gpu, precision, batch_size, steps)


def predict(operations: Iterable[Operation], gpu: Gpu, peak: float) -> PredictedStep:
    """The least time of a step.

    Args:
        operations: In their order.
        gpu: The device.
        peak: Operations per second to hold the step against.
    """
    listed = list(operations)
    total = _cost(listed, gpu)
    needed = 3 * sum(one.flop for one in listed if one.part not in (BACKWARD, OPTIMIZER))
    return PredictedStep(
        total=total,
        parts={name: _cost((one for one in listed if one.part == name), gpu) for name in _ordered(listed)},
        kinds={
            kind: _cost((one for one in listed if one.kind == kind), gpu) for kind in ("product", "attention", "other")
        },
        share_of_peak=needed / total.seconds / peak,
    )


def _ordered(operations: Iterable[Operation]) -> list[str]:
    last = {BACKWARD: 1, OPTIMIZER: 2}
    return sorted(dict.fromkeys(one.part for one in operations), key=lambda part: last.get(part, 0))


def _cost(operations: Iterable[Operation], gpu: Gpu) -> Cost:
    listed = list(operations)
    return Cost(
        launches=sum(one.launches for one in listed),
        flop=sum(one.flop for one in listed),
        read=sum(one.read for one in listed),
        written=sum(one.written for one in listed),
        seconds=sum(seconds(one, gpu) for one in listed),
    )


@contextmanager
def without_values() -> Iterator[None]:
    """Inside, tensors are made and computed without values: networks of any size cost nothing."""

    def unchanged(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return x

    # It looks at what it has drawn.
    with patch("torch.nn.init.trunc_normal_", unchanged), FakeTensorMode(allow_non_fake_inputs=True):
        yield


def step_operations(build: BuildContender, setting: Setting) -> list[Operation]:
    """The operations of one step of a contender, its compiled part as kernels; call inside of :func:`without_values`.

    Args:
        build: The contender.
        setting: Its clips have no values.
    """
    kernels: list[Operation] = []
    modules = {path.rpartition(".")[0]: part for path, part in OUR_PARTS.items() if "." in path}
    backend = fusing_backend(kernels, DEFAULT_PART, modules)
    contender = build(replace(setting, compiler=partial(torch.compile, backend=backend)))
    # The first step compiles, and makes the optimiser's state.
    contender.step()
    compiled = list(kernels)
    recorder = OperationRecorder(DEFAULT_PART)
    with recorder, _named(contender.network, contender.parts, recorder):
        contender.step()
    if compiled:
        # The compiler stands aside for a recorder, and the update is not compiled anyway.
        return compiled + [one for one in recorder.operations if one.part == OPTIMIZER]
    return recorder.operations


@contextmanager
def _named(network: nn.Module, parts: Mapping[str, str], recorder: OperationRecorder) -> Iterator[None]:
    """Let methods of a network and its modules tell the recorder which part they are."""

    def inside(part: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with recorder.part(part):
            return method(*args, **kwargs)

    changed = []
    for path, part in parts.items():
        owner_path, _, name = path.rpartition(".")
        owner = network.get_submodule(owner_path)
        setattr(owner, name, partial(inside, part, getattr(owner, name)))
        changed.append((owner, name))
    try:
        yield
    finally:
        for owner, name in changed:
            delattr(owner, name)
