"""Estimate of a run's duration and bottleneck, from a few passes and the loader's rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from adamae.benchmark.activation_memory import activation_memory
from adamae.benchmark.contenders import OURS, variants
from adamae.benchmark.distribution import NETWORKS, Distribution
from adamae.benchmark.memory_table import kept_in_memory
from adamae.benchmark.operations import OPTIMIZER
from adamae.benchmark.roofline import predict_steps
from adamae.benchmark.timing import take_turns
from adamae.gpu_specs import Gpu
from adamae.layers.recomputation import CheckpointActivations
from adamae.models import Pretrainer
from adamae.peak_memory import peak_memory
from adamae.plain_text import counted
from adamae.precision import autocast_to, matmul_dtype
from adamae.training.adam_state import build_optimizer
from adamae.training.compilation import compile_in_place
from adamae.training.parameter_groups import parameter_groups


@dataclass(frozen=True)
class PassCost:
    """Measured or predicted time and memory of one process.

    Attributes:
        clips: Clips in each measured pass.
        pass_seconds: Seconds of a forward and backward pass.
        update_seconds: Seconds of the optimiser, once per step.
        peak_memory: Bytes: allocated on a GPU, resident in the process on a CPU.
        kept_per_clip: Bytes of activations of each additional clip.
        total_memory: Memory of the GPU in bytes; 0 on a CPU.
        predicted: Whether the values are predicted: seconds are then a lower bound for a GPU, and peak_memory is that
            of activations only, without what is kept between steps.
    """

    clips: int
    pass_seconds: float
    update_seconds: float
    peak_memory: int
    kept_per_clip: int
    total_memory: int = 0
    predicted: bool = False


@dataclass(frozen=True)
class RunSize:
    """Amount of work of a run.

    Attributes:
        gpus: Training processes over all machines.
        clips_per_pass: Clips of one process in one micro-batch.
        passes_per_step: Micro-batches in a step.
        epochs: Epochs; a fraction if ``--max_steps`` ends the run earlier.
        steps_per_epoch: Updates in an epoch; None if the number of videos is unknown.
        workers: Loader workers of each training process.
    """

    gpus: int
    clips_per_pass: int
    passes_per_step: int
    epochs: float
    steps_per_epoch: int | None
    workers: int


@dataclass(frozen=True)
class Estimate:
    """Estimate of a run.

    Attributes:
        run: The run.
        cost: The measured or predicted cost.
        loader_rate: Clips per second of one core of the loader; None if unknown.
        distribution: Memory and communication of each process.
        device: Device of the measured or predicted cost, with the precision; not part of the JSON.
    """

    run: RunSize
    cost: PassCost
    loader_rate: float | None
    distribution: Distribution
    device: str = ""

    @property
    def seconds_per_step(self) -> float:
        """Seconds of the model alone, in proportion if a micro-batch has another number of clips than the cost."""
        ratio = self.run.clips_per_pass / self.cost.clips
        return self.run.passes_per_step * ratio * self.cost.pass_seconds + self.cost.update_seconds

    @property
    def model_rate(self) -> float:
        """Clips per second of one process that never waits for data."""
        return self.run.passes_per_step * self.run.clips_per_pass / self.seconds_per_step

    @property
    def loaded_rate(self) -> float | None:
        """Clips per second of the loader of one process; without workers it runs in the training process itself."""
        return None if self.loader_rate is None else self.loader_rate * max(self.run.workers, 1)

    @property
    def rate(self) -> float:
        """Clips per second over all processes."""
        return self.run.gpus * min(self.model_rate, self.loaded_rate or math.inf)

    @property
    def limit(self) -> str:
        """The bottleneck: "model" or "loader"."""
        return "loader" if self.loaded_rate is not None and self.loaded_rate < self.model_rate else "model"

    @property
    def cores_per_gpu(self) -> int | None:
        """Cores of the loader per process with which the model never waits."""
        return None if self.loader_rate is None else math.ceil(self.model_rate / self.loader_rate)

    @property
    def memory(self) -> int:
        """Bytes of one process with the run's micro-batch; with that of the cost if more clips were measured."""
        return self._peak + (self._memory_clips - self.cost.clips) * self.cost.kept_per_clip

    @property
    def _memory_clips(self) -> int:
        """Clips in the micro-batch of :attr:`memory`."""
        clips = self.run.clips_per_pass
        # A measured peak may be that of the optimiser, so nothing can be subtracted from it.
        return clips if self.cost.predicted else max(clips, self.cost.clips)

    @property
    def _peak(self) -> int:
        """Bytes of one process with the micro-batch of the cost."""
        return self.cost.peak_memory + (self.distribution.held if self.cost.predicted else 0)

    @property
    def largest_pass(self) -> int | None:
        """Clips in a micro-batch that use 90 % of the GPU's memory; None on a CPU."""
        if not self.cost.total_memory:
            return None
        room = 0.9 * self.cost.total_memory - self._peak
        return max(0, self.cost.clips + math.floor(room / self.cost.kept_per_clip))

    @property
    def hours_per_epoch(self) -> float | None:
        """Hours of an epoch; None if the number of videos is unknown."""
        if self.run.steps_per_epoch is None:
            return None
        clips = self.run.steps_per_epoch * self.run.passes_per_step * self.run.clips_per_pass * self.run.gpus
        return clips / self.rate / 3600

    @property
    def hours(self) -> float | None:
        """Hours of all epochs; None if the number of videos is unknown."""
        return None if self.hours_per_epoch is None else self.hours_per_epoch * self.run.epochs

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        names = ("seconds_per_step", "model_rate", "loaded_rate", "rate", "limit", "cores_per_gpu", "memory")
        more = ("largest_pass", "hours_per_epoch", "hours")
        held = ("weights", "gradients", "optimizer", "exchange_buffers", "held")
        exchange = ("exchanged", "gathered", "sent", "all_reduces")
        values = asdict(self)
        del values["device"]
        return (
            values
            | {name: getattr(self, name) for name in (*names, *more)}
            | {"per_process": {name: getattr(self.distribution, name) for name in (*held, *exchange)}}
            | {"network_seconds": {str(rate): self.distribution.network_seconds(rate) for rate in NETWORKS}}
        )

    def render(self) -> str:
        """Format the estimate as a table, with notes on what is not included."""
        rows = [
            ("memory", self._memory()),
            ("model", f"{self.model_rate:.2f} clips/s per process, {self._all(self.model_rate)}"),
        ]
        rows.insert(1, ("held", self._held()))
        if self.distribution.nodes > 1:
            rows.append(("network", self._network()))
        rows += [("loader", self._loader()), ("limit", self._limit())]
        if self.hours_per_epoch is not None and self.hours is not None:
            rows.append(("epoch", f"{self.hours_per_epoch:.2f} h, {self.run.steps_per_epoch} steps"))
            rows.append(("run", f"{self.hours:.1f} h, {self.run.epochs:.4g} epochs"))
        else:
            rows.append(("epoch", "unknown: give --data_path or --num_videos"))
        return "\n".join([*(f"  {name:<8}{text}" for name, text in rows), *self._notes()])

    def _all(self, rate: float) -> str:
        return f"{rate * self.run.gpus:.1f} over {self.run.gpus}"

    def _memory(self) -> str:
        text = f"{self.memory / 2**30:.1f} GiB at {self._memory_clips} clips per pass"
        text += f"; {self.cost.kept_per_clip / 2**20:.0f} MiB of activations per additional clip"
        return text if self.largest_pass is None else f"{text}; {self.largest_pass} clips would use 90% of this GPU"

    def _held(self) -> str:
        of = self.distribution
        parts = {
            "weights": of.weights,
            "gradients": of.gradients,
            "optimizer": of.optimizer,
            "exchange": of.exchange_buffers,
            "buffers and untrained weights": of.buffers,
        }
        text = ", ".join(f"{name} {size / 2**30:.2f}" for name, size in parts.items() if size)
        return f"{of.held / 2**30:.2f} GiB per process besides activations, ZeRO stage {of.zero_stage}: {text}"

    def _network(self) -> str:
        of = self.distribution
        shares = [f"{of.network_seconds(rate) / self.seconds_per_step:.0%} at {rate} Gbit/s" for rate in NETWORKS]
        sent = f"{of.sent / 2**30:.2f} GiB sent per machine and step, {counted(of.all_reduces, 'all-reduce')}"
        return f"{sent}; of a step's time {', '.join(shares)}"

    def _loader(self) -> str:
        if self.loader_rate is None or self.loaded_rate is None:
            return "unknown: give --data_path or --loader_rate"
        workers = f"{self.run.workers} workers" if self.run.workers else "no workers"
        return f"{self.loader_rate:.1f} clips/s per core; with {workers} per process {self._all(self.loaded_rate)}"

    def _limit(self) -> str:
        if self.cores_per_gpu is None:
            return "the model (loader rate unknown)"
        return f"the {self.limit}; a loader of {self.cores_per_gpu} cores per process keeps up with the model"

    def _notes(self) -> list[str]:
        notes = []
        if self.cost.clips != self.run.clips_per_pass:
            how = "predicted" if self.cost.predicted else "measured"
            notes.append(f"{how} with {self.cost.clips} clips per pass and scaled in proportion")
        if self.run.gpus > 1:
            notes.append(
                f"{self.run.gpus} processes are counted as that many times one, without gradient communication"
            )
        if self.distribution.nodes > 1:
            notes.append("the network's share is that of a ring without overlap with the backward pass, at full speed")
        if self.cost.predicted:
            notes.append("no real GPU reaches the predicted rate; see docs/benchmarks/roofline.md")
        if not self.cost.total_memory:
            notes.append("on a CPU the loader and the model compete for cores: each rate was measured alone")
        return [f"  note: {note}" for note in notes]


def predict_pass(
    model: str,
    *,
    gpu: Gpu,
    clips: int,
    precision: str,
    compiled: bool,
    recompute: CheckpointActivations,
    arguments: Mapping[str, Any],
) -> PassCost:
    """Predict the minimum time of a pass and an update on a GPU, without running them.

    Args:
        model: Name of a pre-train model.
        gpu: The device.
        clips: Clips in a micro-batch.
        precision: "fp32", "bf16" or "fp16".
        compiled: Whether the model is compiled with ``torch.compile``.
        recompute: Parts whose activations are recomputed in the backward pass.
        arguments: Arguments of the model's constructor.

    Raises:
        UserError: If the model is not a pre-train model, or the device has no such precision.
    """
    names = {"none": OURS, "decoder": "checkpoint_decoder", "all": "checkpoint_all"}
    name = names[recompute]
    others = {} if name == OURS else {name: variants()[name]}
    predicted = predict_steps(
        model=model,
        batch_size=clips,
        precision=precision,
        gpu=gpu,
        compare=others,
        compile_model=compiled,
        **arguments,
    )
    step = predicted.steps[name]
    update = step.parts[OPTIMIZER].seconds
    kept = kept_in_memory(model, matmul_dtype(precision), recompute, **arguments)
    return PassCost(
        clips=clips,
        pass_seconds=step.total.seconds - update,
        update_seconds=update,
        peak_memory=kept.fixed + clips * kept.per_clip,
        kept_per_clip=kept.per_clip,
        total_memory=gpu.memory,
        predicted=True,
    )


def measure_pass(model: Pretrainer, *, clips: int, precision: torch.dtype, passes: int, compiled: bool) -> PassCost:
    """Run a few passes and updates on synthetic clips.

    Args:
        model: The model, on its device, in training mode.
        clips: Clips in a micro-batch.
        precision: Autocast dtype; float32 disables autocast.
        passes: Number of measured passes.
        compiled: Whether to compile the model with ``torch.compile``.
    """
    device = next(model.parameters()).device
    batch = torch.randint(0, 256, (clips, *model.clip_shape), dtype=torch.uint8, device=device)
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    if compiled:
        compile_in_place(model)

    def forward_backward() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast_to(device, precision):
            loss = model(batch).losses["loss"]
        loss.backward()

    # With this order an update always has gradients.
    timings = take_turns({"pass": forward_backward, "update": optimizer.step}, passes, device)
    memory = peak_memory(device)
    optimizer.zero_grad(set_to_none=True)
    return PassCost(
        clips=clips,
        pass_seconds=timings["pass"].wall,
        update_seconds=timings["update"].wall,
        peak_memory=memory,
        kept_per_clip=activation_memory(model, precision).per_clip,
        total_memory=torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0,
    )
