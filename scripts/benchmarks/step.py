"""Compare a pre-training step with other implementations: `adamae bench step` with more contenders.

    .venv/bin/python scripts/benchmarks/step.py --compare transformers reference

Options are those of `adamae bench step`. `--compare` also accepts

    transformers  Transformers' VideoMAEForPreTraining of the same size: SDPA, tube masks at 90 %, no sampler
    reference     the adaptive step in the style of the reference implementation, of the same size
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from adamae.errors import UserError
from adamae.flags import flag
from adamae.options.bench import BenchStepOptions, StepMeasurement
from adamae.options.parser import OptionParser


@dataclass(frozen=True)
class Measurement(StepMeasurement):
    """What is measured of a training step."""

    compare: tuple[str, ...] | None = flag(
        None,
        "also time, in alternation: transformers (VideoMAEForPreTraining, tube masks at 90 %), reference (in the style "
        "of the reference implementation), and what adamae bench step knows",
        metavar="NAME",
    )


@dataclass(frozen=True)
class StepOptions(BenchStepOptions):
    """All options of the benchmark."""

    measurement: Measurement


def parser() -> OptionParser[StepOptions]:
    """Build the parser with the options of `adamae bench step` and other implementations for `--compare`."""
    return OptionParser(
        StepOptions,
        prog="scripts/benchmarks/step.py",
        description="Time a pre-training step on synthetic clips beside other implementations of it.",
        examples=("python scripts/benchmarks/step.py --compare transformers reference economy --batch_size 2",),
    )


def main(words: Sequence[str]) -> int:
    """Measure and print the result."""
    options = parser().parse(words).options
    from reference_step import build_reference
    from transformers_step import build_transformers

    from adamae.benchmark.contenders import variants
    from adamae.cli.bench import measure_step

    known = {"transformers": build_transformers, "reference": build_reference, **variants()}
    measure_step(options, known)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"step.py: error: {error}", file=sys.stderr)
        sys.exit(2)
