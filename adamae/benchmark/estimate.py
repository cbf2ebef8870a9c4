"""How long a run will take and what will hold it up, from a few passes and the loader's rate."""

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
from adamae.precision import matmul_dtype
from adamae.training.compilation import compile_in_place
from adamae.training.engine import build_optimizer
from adamae.training.parameter_groups import parameter_groups


@dataclass(frozen=True)
class PassCost:
    """What one process was seen to need, or is predicted to.

    Attributes:
        clips: Clips in each measured pass.
        pass_seconds: Forward and backward.
        update_seconds: The optimiser, once for each step.
        peak_memory: Bytes: allocated on a GPU, resident in the process on a CPU.
        kept_per_clip: Bytes that a further clip keeps for the backward pass.
        total_memory: Bytes that the GPU has; 0 on a CPU.
        predicted: Nothing was run: the seconds are the least that a GPU may take, and peak_memory is what activations
            need, without what is held between steps.
    """

    clips: int
    pass_seconds: float
    update_seconds: float
    peak_memory: int
    kept_per_clip: int
    total_memory: int = 0
    predicted: bool = False


@dataclass(frozen=True)
class Run:
    """What decides how much there is to do.

    Attributes:
        gpus: Processes that train, over all machines.
        clips_per_pass: Clips of one process in one pass.
        passes_per_step: Passes between two updates.
        epochs: Passes over the data; a fraction where ``--max_steps`` ends the run earlier.
        steps_per_epoch: Updates in each; None where the number of videos is not known.
        workers: Loader processes of each training process.
    """

    gpus: int
    clips_per_pass: int
    passes_per_step: int
    epochs: float
    steps_per_epoch: int | None
    workers: int


@dataclass(frozen=True)
class Estimate:
    """What to expect.

    Attributes:
        run: What was asked about.
        cost: What was measured.
        loader_rate: Clips that one core of the loader makes in a second; None if not known.
        distribution: What each process holds and exchanges.
    """

    run: Run
    cost: PassCost
    loader_rate: float | None
    distribution: Distribution

    @property
    def seconds_per_step(self) -> float:
        """Of the model alone. A pass of more clips than were measured is taken to be longer in proportion."""
        ratio = self.run.clips_per_pass / self.cost.clips
        return self.run.passes_per_step * ratio * self.cost.pass_seconds + self.cost.update_seconds

    @property
    def model_rate(self) -> float:
        """Clips that one process trains on in a second when it never waits."""
        return self.run.passes_per_step * self.run.clips_per_pass / self.seconds_per_step

    @property
    def loaded_rate(self) -> float | None:
        """Clips that the loader of one process makes in a second; in the training process itself without workers."""
        return None if self.loader_rate is None else self.loader_rate * max(self.run.workers, 1)

    @property
    def rate(self) -> float:
        """Clips in a second over all processes."""
        return self.run.gpus * min(self.model_rate, self.loaded_rate or math.inf)

    @property
    def limit(self) -> str:
        """What is slower: "model" or "loader"."""
        return "loader" if self.loaded_rate is not None and self.loaded_rate < self.model_rate else "model"

    @property
    def cores_per_gpu(self) -> int | None:
        """Cores of the loader with which the model never waits."""
        return None if self.loader_rate is None else math.ceil(self.model_rate / self.loader_rate)

    @property
    def memory(self) -> int:
        """Bytes of one process at the run's clips in a pass."""
        return self._peak + max(self.run.clips_per_pass - self.cost.clips, 0) * self.cost.kept_per_clip

    @property
    def _peak(self) -> int:
        """Bytes at the cost's clips in a pass."""
        return self.cost.peak_memory + (self.distribution.held if self.cost.predicted else 0)

    @property
    def largest_pass(self) -> int | None:
        """Clips in a pass that fill the GPU but for a tenth; None on a CPU."""
        if not self.cost.total_memory:
            return None
        room = 0.9 * self.cost.total_memory - self._peak
        return max(0, self.cost.clips + math.floor(room / self.cost.kept_per_clip))

    @property
    def hours_per_epoch(self) -> float | None:
        """None where the number of videos is not known."""
        if self.run.steps_per_epoch is None:
            return None
        clips = self.run.steps_per_epoch * self.run.passes_per_step * self.run.clips_per_pass * self.run.gpus
        return clips / self.rate / 3600

    @property
    def hours(self) -> float | None:
        """Of all epochs."""
        return None if self.hours_per_epoch is None else self.hours_per_epoch * self.run.epochs

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("seconds_per_step", "model_rate", "loaded_rate", "rate", "limit", "cores_per_gpu", "memory")
        more = ("largest_pass", "hours_per_epoch", "hours")
        held = ("weights", "gradients", "optimizer", "exchange_buffers", "held")
        exchange = ("exchanged", "gathered", "sent", "all_reduces")
        return (
            asdict(self)
            | {name: getattr(self, name) for name in (*names, *more)}
            | {"per_process": {name: getattr(self.distribution, name) for name in (*held, *exchange)}}
            | {"network_seconds": {str(rate): self.distribution.network_seconds(rate) for rate in NETWORKS}}
        )

    def render(self) -> str:
        """The estimate as a table, and what it leaves out."""
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
        text = f"{self.memory / 2**30:.1f} GiB at {self.run.clips_per_pass} clips per pass"
        text += f"; {self.cost.kept_per_clip / 2**20:.0f} MiB of activations per additional clip"
        return text if self.largest_pass is None else f"{text}; {self.largest_pass} clips would use 90% of this GPU"

    def _held(self) -> str:
        of = self.distribution
        parts = {
            "weights": of.weights,
            "gradients": of.gradients,
            "optimizer": of.optimizer,
            "exchange": of.exchange_buffers,
            "model buffers": of.buffers,
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
        if self.cost.clips < self.run.clips_per_pass:
            notes.append(f"measured with {self.cost.clips} clips per pass and scaled in proportion")
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
    """What a pass and an update would take on a GPU at best; nothing is run.

    Args:
        model: Name of a pre-train model.
        gpu: The device.
        clips: In a pass.
        precision: "fp32", "bf16" or "fp16".
        compiled: Through ``torch.compile``.
        recompute: What is computed again in the backward pass.
        arguments: Of the model's constructor.

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
        model: On its device, in training mode.
        clips: In a pass.
        precision: Autocast to this type; float32 runs without.
        passes: Counted passes.
        compiled: Through ``torch.compile``.
    """
    device = next(model.parameters()).device
    frames, height, width = model.frame_choice.candidates.clip_shape
    shape = (clips, frames, height, width, model.pixel_values.mean.numel())
    batch = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    if compiled:
        compile_in_place(model)

    def forward_backward() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            loss = model(batch).losses["loss"]
        loss.backward()

    # In this order an update always finds gradients.
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
