"""Roofline model: a lower bound for the time of a step on a device that is not present.

A kernel takes at least the time of its arithmetic at the device's peak, of its memory traffic at the bandwidth, and,
for attention, of its exponentials; the longest of the three counts. Kernels run one after another, and each adds a
launch. No kernel reaches these limits, so a measured step takes longer. Comparing two predictions is more accurate than
comparing a prediction with a measurement.
"""

from __future__ import annotations

import warnings
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
from adamae.plain_text import first_line
from adamae.precision import matmul_dtype

_PRECISION_OF = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


def seconds(operation: Operation, gpu: Gpu) -> float:
    """Return the minimum time of one operation on a device."""
    work = operation.moved / gpu.bandwidth
    if operation.flop:
        precision = _PRECISION_OF[operation.dtype]
        # Torch's convolutions use TF32 by default; its matrix products do not.
        if operation.name.startswith("convolution") and precision == "fp32" and "tf32" in gpu.flops:
            precision = "tf32"
        work = max(work, operation.flop / gpu.peak(precision), operation.exponentials / gpu.exponentials)
    return work + operation.launches * gpu.launch


@dataclass(frozen=True)
class Cost:
    """Total cost of some operations.

    Attributes:
        launches: Number of kernels.
        flop: Floating-point operations of products and attention.
        read: Bytes read.
        written: Bytes written.
        seconds: Minimum time.
    """

    launches: int
    flop: int
    read: int
    written: int
    seconds: float


@dataclass(frozen=True)
class PredictedStep:
    """Predicted cost of a step on a device.

    Attributes:
        total: Cost of the complete step.
        parts: Cost by part, in order of execution: the parts of the forward pass, "backward", "optimizer".
        kinds: Cost by :attr:`~adamae.benchmark.operations.Operation.kind`.
        share_of_peak: Fraction of the peak throughput, from the operations that the step needs. A backward pass counts
            as two forward passes, regardless of recomputation.
    """

    total: Cost
    parts: dict[str, Cost]
    kinds: dict[str, Cost]
    share_of_peak: float


@dataclass(frozen=True)
class Prediction:
    """Result of :func:`predict_steps`.

    Attributes:
        model: Name of the model.
        gpu: The device.
        precision: "fp32", "bf16" or "fp16".
        batch_size: Clips in a step.
        steps: Our step, "ours", and those to compare.
    """

    model: str
    gpu: Gpu
    precision: str
    batch_size: int
    steps: dict[str, PredictedStep]

    parts_title = ""

    @property
    def title(self) -> str:
        """Description of the prediction."""
        return f"{self.model} predicted for {self.gpu.title}, {self.precision}, batch {self.batch_size}"

    @property
    def rates(self) -> dict[str, float]:
        """Maximum clips per second of each step."""
        return {name: self.batch_size / step.total.seconds for name, step in self.steps.items()}

    @property
    def part_seconds(self) -> dict[str, float]:
        """Seconds of each part of our step."""
        return {name: part.seconds for name, part in self.steps[OURS].parts.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**asdict(self), "clips_per_second": self.rates}

    def render(self) -> str:
        """Format the prediction as tables."""
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
    """Predict our step and those to compare on a device.

    Args:
        model: Name of a pre-train model.
        batch_size: Clips in a step.
        precision: "fp32", "bf16" or "fp16".
        gpu: The device.
        compare: Contenders by name, such as some of :func:`~adamae.benchmark.contenders.variants`.
        compile_model: Compile our step with ``torch.compile``.
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
    shape = (batch_size, *built.clip_shape)
    steps = {}
    for name, build in {OURS: variants()[OURS], **(compare or {})}.items():
        with gpu_choices(), without_values():
            setting = Setting(model, options, torch.zeros(shape, dtype=torch.uint8), dtype, compile_model)
            steps[name] = predict(step_operations(build, setting), gpu, peak)
    return Prediction(model, gpu, precision, batch_size, steps)


def predict(operations: Iterable[Operation], gpu: Gpu, peak: float) -> PredictedStep:
    """Predict the minimum time of a step.

    Args:
        operations: Operations of the step in order.
        gpu: The device.
        peak: Operations per second of the device's peak.
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
    """Context manager in which tensors have no values, so that networks of any size take no memory or time."""

    def unchanged(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return x

    with (
        # The function reads the values that it has drawn.
        patch("torch.nn.init.trunc_normal_", unchanged),
        warnings.catch_warnings(),
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        # Copies of weights look at where the values are.
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        yield


def step_operations(build: BuildContender, setting: Setting) -> list[Operation]:
    """Return the operations of one step of a contender, with its compiled part as kernels.

    Call it inside of :func:`without_values`.

    Args:
        build: Builds the contender.
        setting: Setting whose clips have no values.

    Raises:
        UserError: If this release of torch cannot compile such a step; 2.6 cannot, 2.13 can.
    """
    from torch._dynamo.exc import BackendCompilerFailed

    kernels: list[Operation] = []
    modules = {path.rpartition(".")[0]: part for path, part in OUR_PARTS.items() if "." in path}
    backend = fusing_backend(kernels, DEFAULT_PART, modules)
    contender = build(replace(setting, compiler=partial(torch.compile, backend=backend)))
    # Code that was compiled for an earlier prediction would be used again, and its kernels not be recorded.
    torch.compiler.reset()
    # The first step compiles and initialises the optimiser's state.
    try:
        contender.step()
    except BackendCompilerFailed as error:
        raise UserError(
            f"torch {torch.__version__} cannot compile a step without values: {first_line(error.inner_exception)}; "
            "predict it without the compiler, or with torch 2.13 or newer"
        ) from error
    compiled = list(kernels)
    recorder = OperationRecorder(DEFAULT_PART)
    with recorder, _named(contender.network, contender.parts, recorder):
        contender.step()
    if compiled:
        # Compiled code is not used under a recorder. The update is never compiled.
        return compiled + [one for one in recorder.operations if one.part == OPTIMIZER]
    return recorder.operations


@contextmanager
def _named(network: nn.Module, parts: Mapping[str, str], recorder: OperationRecorder) -> Iterator[None]:
    """Wrap methods of a network and its modules so that the recorder knows the part they belong to."""

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
