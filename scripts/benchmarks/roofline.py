"""Check predictions of `adamae bench step --predict` against measured steps: on this CPU, float32, one thread.

    make roofline

The CPU's limits (peak throughput of matrix products, memory bandwidth, cost of a call) are measured between the steps,
also by processor time, and the medians are used. The check fails if a prediction differs from its measurement by more
than --within in the best of --attempts. Other work on the machine takes up caches and memory bandwidth; it slows a step
more than a matrix product, so it can only increase the difference. This is therefore not part of the test suite, which
runs beside other work.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date

from machine import machine

from adamae.errors import UserError
from adamae.flags import OptionGroup, flag
from adamae.options.groups import ModelOptions
from adamae.options.parser import OptionParser


@dataclass(frozen=True)
class CheckMeasurement(OptionGroup):
    """What is measured."""

    batch_size: int = flag(1, "clips in a step", least=1)
    rounds: int = flag(3, "timed steps of each; the median is compared", least=1)
    img_size: int = flag(224, "height and width of a clip", least=16)
    within: float = flag(0.25, "fail where a prediction differs from its measurement by a larger share", least=0)
    attempts: int = flag(3, "measurements of which the best counts", least=1)
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class CheckOptions:
    """All options of the check."""

    measurement: CheckMeasurement = field(default_factory=CheckMeasurement)
    model: ModelOptions = field(default_factory=ModelOptions)


@dataclass(frozen=True)
class Checked:
    """Prediction and measurement of a step on this CPU.

    Attributes:
        step: Name of the step.
        measured: Measured seconds of processor time.
        predicted: Predicted seconds.
    """

    step: str
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return abs(self.predicted / self.measured - 1)


STEPS = ("ours", "economy", "tube")


def measured_steps(options: CheckOptions) -> Iterator[Checked]:
    """Predict and measure steps in full mode, with --economy and with tube masks."""
    import torch
    from this_cpu import measure_cpu

    from adamae.benchmark.contenders import Setting, variants
    from adamae.benchmark.roofline import predict, step_operations, without_values
    from adamae.benchmark.timing import take_turns
    from adamae.gpu_specs import Gpu

    torch.set_num_threads(1)
    measurement, name = options.measurement, options.model.model
    size = measurement.img_size
    arguments = {"img_size": size}
    shape = (measurement.batch_size, 16, size, size, 3)
    operations = {}
    for step in STEPS:
        with without_values():
            clips = torch.zeros(shape, dtype=torch.uint8)
            operations[step] = step_operations(variants()[step], Setting(name, arguments, clips, torch.float32))
    clips = torch.randint(0, 256, shape, dtype=torch.uint8)
    steps = {step: variants()[step](Setting(name, arguments, clips, torch.float32)).step for step in STEPS}
    limits: list[Gpu] = []
    turns = {"limits": lambda: limits.append(measure_cpu(1)), **steps}
    timings = take_turns(turns, measurement.rounds, torch.device("cpu"))
    cpu = Gpu(
        title=limits[0].title,
        flops={"fp32": statistics.median(one.peak("fp32") for one in limits)},
        bandwidth=statistics.median(one.bandwidth for one in limits),
        exponentials=limits[0].exponentials,
        launch=statistics.median(one.launch for one in limits),
    )
    print(
        f"one thread: {cpu.peak('fp32') / 1e9:.1f} GFLOP/s, {cpu.bandwidth / 1e9:.1f} GB/s, "
        f"{cpu.launch * 1e6:.1f} us for a call",
        file=sys.stderr,
    )
    for step in STEPS:
        predicted = predict(operations[step], cpu, cpu.peak("fp32")).total.seconds
        yield Checked(step, timings[step].process, predicted)


def check(options: CheckOptions) -> list[Checked]:
    """Measure until all predictions are within the limit, at most ``attempts`` times; return the best attempt."""
    best: list[Checked] = []
    for _ in range(options.measurement.attempts):
        rows = list(measured_steps(options))
        best = min((rows, best or rows), key=_worst)
        if _worst(best) <= options.measurement.within:
            break
    return best


def _worst(rows: Sequence[Checked]) -> float:
    return max(row.error for row in rows)


def render(rows: Sequence[Checked]) -> str:
    """Format a Markdown table, with the date and the machine."""
    lines = [
        f"{date.today().isoformat()}, {machine()}.",
        "",
        "| step | measured, s | predicted, s | predicted / measured |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row.step} | {row.measured:.2f} | {row.predicted:.2f} | {row.predicted / row.measured:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def parser() -> OptionParser[CheckOptions]:
    """Build the command-line parser."""
    return OptionParser(
        CheckOptions,
        prog="scripts/benchmarks/roofline.py",
        description="Compare predicted with measured steps on this CPU.",
    )


def main(words: Sequence[str]) -> int:
    """Measure and print the result; return 1 if a prediction is off by too much."""
    options = parser().parse(words).options
    rows = check(options)
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.measurement.json else render(rows))
    if _worst(rows) <= options.measurement.within:
        return 0
    expected = f"expected {options.measurement.within:.0%} at most"
    busy = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"roofline.py: a prediction is off by {_worst(rows):.0%}, {expected}; {busy}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"roofline.py: error: {error}", file=sys.stderr)
        sys.exit(2)
