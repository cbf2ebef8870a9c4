"""Gain of this project's own layers over plain ones: time and memory of a pre-training step, in fp32 and bf16.

    OMP_NUM_THREADS=1 .venv/bin/python scripts/benchmarks/layers.py

One row for each layer and precision: our step and a step in which plain torch layers replace the layer, timed in
alternation. For results that decisions depend on, run it on a machine that does nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Literal
from unittest.mock import patch

from machine import machine

from adamae.errors import UserError
from adamae.flags import OptionGroup, flag
from adamae.options.groups import ClipOptions, LossOptions, ModelOptions, SamplerOptions
from adamae.options.parser import OptionParser
from adamae.options.pretrain import model_arguments

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class LayerMeasurement(OptionGroup):
    """What is measured."""

    batch_size: int = flag(2, "clips in a step", least=1)
    rounds: int = flag(7, "timed steps of each; the median is reported", least=1)
    precisions: tuple[str, ...] = flag(("fp32", "bf16"), "one row for each", metavar="NAME")
    device: Literal["auto", "cpu", "cuda"] = flag("auto", "auto: cuda where there is one")
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class LayerOptions:
    """All options of the benchmark."""

    measurement: LayerMeasurement = field(default_factory=LayerMeasurement)
    clip: ClipOptions = field(default_factory=ClipOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    loss: LossOptions = field(default_factory=LossOptions)


@dataclass(frozen=True)
class Comparison:
    """A step with one of our layers, compared with a step with plain layers in its place.

    Attributes:
        layer: File of the layer.
        precision: "fp32" or "bf16".
        seconds: Seconds of our step: processor time on a CPU, wall time on a GPU.
        plain_seconds: Seconds of the step with plain layers.
        kept: Bytes that our step keeps for the backward pass of each additional clip.
        plain_kept: The same for the step with plain layers.
    """

    layer: str
    precision: str
    seconds: float
    plain_seconds: float
    kept: int
    plain_kept: int


def plain_norm_linear(x: Tensor, norm: nn.Module, linear: nn.Linear, bias: Tensor | None = None) -> Tensor:
    """Compute ``norm_linear`` with plain layers."""
    from torch.nn import functional as F

    return F.linear(norm(x), linear.weight, linear.bias if bias is None else bias)


def plain_gelu_linear(x: Tensor, linear: nn.Linear) -> Tensor:
    """Compute ``gelu_linear`` with plain layers."""
    from torch.nn import functional as F

    out: Tensor = linear(F.gelu(x))
    return out


def plain_scored_mlp(
    hidden: Tensor, last: nn.Linear, score: nn.Linear, keep: Tensor | None, drop_rate: float
) -> Tensor:
    """Compute ``scored_mlp`` with plain layers."""
    from torch.nn import functional as F

    out: Tensor = last(F.gelu(hidden))
    return F.linear(out if keep is None else out * keep / (1 - drop_rate), score.weight).squeeze(-1)


# File of the layer -> names under which its functions are called -> plain replacements.
LAYERS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "layers/recomputing_linear.py": {
        "adamae.layers.attention.norm_linear": plain_norm_linear,
        "adamae.layers.block.norm_linear": plain_norm_linear,
        "adamae.layers.block.gelu_linear": plain_gelu_linear,
        "adamae.models.decoder.norm_linear": plain_norm_linear,
    },
    "samplers/scored_mlp.py": {"adamae.samplers.adaptive.scored_mlp": plain_scored_mlp},
}


@contextmanager
def without(layer: str) -> Iterator[None]:
    """Replace one of our layers by plain ones."""
    with ExitStack() as stack:
        for place, plain in LAYERS[layer].items():
            stack.enter_context(patch(place, plain))
        yield


def compare(options: LayerOptions) -> Iterator[Comparison]:
    """Measure all layers in all precisions."""
    import torch

    from adamae import distributed
    from adamae.benchmark.contenders import OURS, Setting, variants
    from adamae.benchmark.memory_table import kept_per_clip
    from adamae.benchmark.timing import take_turns
    from adamae.models.economy import apply_economy
    from adamae.precision import matmul_dtype

    options, measurement = apply_economy(options), options.measurement
    name = options.model.model
    arguments = model_arguments(options.clip, options.model, options.sampler, options.loss)
    device = distributed.start(measurement.device).device
    for precision in measurement.precisions:
        dtype = matmul_dtype(precision)
        shape = Setting(name, arguments, torch.empty(0), dtype).build().clip_shape
        clips = torch.randint(0, 256, (measurement.batch_size, *shape), dtype=torch.uint8, device=device)
        setting = Setting(name, arguments, clips, dtype)
        for layer in LAYERS:
            ours, other = (variants()[OURS](setting).step for _ in range(2))

            def plain(layer: str = layer, step: Callable[[], None] = other) -> None:
                with without(layer):
                    step()

            timings = take_turns({"ours": ours, "plain": plain}, measurement.rounds, device)
            seconds, plain_seconds = (
                timing.process if device.type == "cpu" else timing.wall for timing in timings.values()
            )
            kept = kept_per_clip(name, dtype, **arguments)
            with without(layer):
                plain_kept = kept_per_clip(name, dtype, **arguments)
            yield Comparison(layer, precision, seconds, plain_seconds, kept, plain_kept)


def render(rows: Sequence[Comparison]) -> str:
    """Format a Markdown table, with the date and the machine."""
    lines = [
        f"{date.today().isoformat()}, {machine()}.",
        "",
        "| layer | precision | ms of a step | with plain layers | ratio | MiB kept for a clip | with plain layers |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row.layer}` | {row.precision} | {row.seconds * 1e3:.1f} | {row.plain_seconds * 1e3:.1f} | "
        f"{row.seconds / row.plain_seconds:.3f} | {row.kept / 2**20:.1f} | {row.plain_kept / 2**20:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def parser() -> OptionParser[LayerOptions]:
    """Build the command-line parser."""
    return OptionParser(
        LayerOptions,
        prog="scripts/benchmarks/layers.py",
        description="Compare a pre-training step with one that has plain layers in the place of this project's own.",
    )


def main(words: Sequence[str]) -> int:
    """Measure and print the result."""
    options = parser().parse(words).options
    rows = list(compare(options))
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.measurement.json else render(rows))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"layers.py: error: {error}", file=sys.stderr)
        sys.exit(2)
