"""Reports of gpu.sh about its runs: whether losses agree, and one table of all timed steps.

python scripts/benchmarks/gpu_report.py same WHOLE RESUMED
python scripts/benchmarks/gpu_report.py curves FP32 BF16
python scripts/benchmarks/gpu_report.py table REPORT.json...
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# A stopped run resumes from equal weights, so only the order of summation on a GPU can change its losses.
MOST_AFTER_RESUMING = 1e-3
# Fraction of a run's steps, from the end, over which curves are compared.
LAST = 0.25


def losses(run: Path) -> list[float]:
    """Return the loss of each logged step of a run; infinite if it was not finite."""
    records = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    found = [record["loss"] for record in records if record["kind"] == "step"]
    return [math.inf if loss is None else loss for loss in found]


def same(whole: Path, resumed: Path) -> tuple[str, bool]:
    """Compare the losses of a stopped and resumed run with those of a run that was never stopped."""
    differences = [abs(a - b) / abs(a) for a, b in zip(losses(whole), losses(resumed), strict=True)]
    # NaN counts as the largest difference.
    worst = max(differences, key=lambda each: (math.isnan(each), each))
    return f"resumed against never stopped: losses differ by {worst:.1e} at most", worst <= MOST_AFTER_RESUMING


def curves(fp32: Path, bf16: Path) -> tuple[str, bool]:
    """Compare the final losses of bf16 and fp32, with the std of fp32's losses over steps as the tolerance."""
    ends = [run[-max(2, round(LAST * len(run))) :] for run in (losses(fp32), losses(bf16))]
    means = [statistics.fmean(end) for end in ends]
    noise = statistics.stdev(ends[0]) if math.isfinite(means[0]) else math.nan
    said = (
        f"mean loss of the last {len(ends[0])} steps: fp32 {means[0]:.4f}, bf16 {means[1]:.4f}; "
        f"from step to step fp32 spreads by {noise:.4f}"
    )
    return said, abs(means[0] - means[1]) <= noise


def table(reports: Sequence[Path]) -> str:
    """Return a Markdown table with a row for every timed step, ours and those compared with it.

    A prediction of the same steps is the file predicted-NAME.json beside a report; without it its columns stay empty.
    """
    lines = [
        "| run | step | batch | clips/s | of our clips/s | predicted clips/s | measured / predicted | peak GiB "
        "| of the matrix peak | MiB per additional clip |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in reports:
        report = json.loads(path.read_text())
        batch, predicted = report["batch_size"], _predicted(path)
        rate = report["clips_per_second"]
        lines.append(
            f"| {path.stem} | ours | {batch} | {rate:.1f} | 1 | {_beside(rate, predicted.get('ours'))} | "
            f"{_gib(report)} | {report['share_of_peak']:.0%} of {report['matrix_peak'] / 1e12:.3g} TFLOP/s | "
            f"{_mib(report)} |"
        )
        lines += [
            f"| {path.stem} | {name} | {batch} | {other['clips_per_second']:.1f} | {other['over_ours']:.2f} | "
            f"{_beside(other['clips_per_second'], predicted.get(name))} | {_gib(other)} | | {_mib(other)} |"
            for name, other in report["compared"].items()
        ]
    return "\n".join(lines)


def _predicted(report: Path) -> dict[str, float]:
    """Return the predicted clips per second by name of the step."""
    path = report.with_name(f"predicted-{report.name}")
    rates: dict[str, float] = json.loads(path.read_text())["clips_per_second"] if path.is_file() else {}
    return rates


def _beside(measured: float, predicted: float | None) -> str:
    """Format two cells: the prediction, and the measurement relative to it."""
    return " | " if predicted is None else f"{predicted:.1f} | {measured / predicted:.2f}"


def _gib(report: dict[str, Any]) -> str:
    return "" if report["peak_memory"] is None else f"{report['peak_memory'] / 2**30:.2f}"


def _mib(report: dict[str, Any]) -> str:
    return "" if report["kept_per_clip"] is None else f"{report['kept_per_clip'] / 2**20:.0f}"


def main(words: Sequence[str]) -> int:
    """Print a report; return 1 if losses do not agree."""
    what, *paths = words[0], *map(Path, words[1:])
    if what == "table":
        print(table(paths))
        return 0
    said, agree = {"same": same, "curves": curves}[what](*paths)
    print(said if agree else f"{said}: more than expected")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
