"""Pre-training with ``--economy`` against the full mode and random masks, on the built-in motion data: one table.

    .venv/bin/python scripts/benchmarks/compare_economy.py --output_dir runs/economy

The steps of the three kinds are timed first, in alternation: the times determine how many epochs each kind may train in
the time that the full mode takes. For every seed and kind: pre-train by the quickstart recipe for equally many steps,
for equally long, and with ``--economy`` also for fewer epochs, each run with its own schedule; fine-tune in the same
way and for equally many steps; test. The videos, and so the test, are the same for all. In a folder of
compare_pretraining.py or compare_selection.py their videos, pre-trained and fine-tuned networks are used. When the
command is run again, finished pieces are skipped and an interrupted one resumes from its last checkpoint.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import compare_selection
from compare_pretraining import (
    NAMES,
    Comparison,
    comparison_of,
    exit_code,
    interval,
    margin,
    options_of,
    shared_parser,
)

FULL, ECONOMY, RANDOM = "learnable", "economy", "random"
KINDS = (FULL, ECONOMY, RANDOM)
TIMED_ROUNDS = 25


@dataclass(frozen=True)
class Row:
    """Runs that differ only in the seed.

    Attributes:
        mask: One of ``KINDS``.
        epochs: Epochs of pre-training.
        time: Time of pre-training, relative to the full mode.
    """

    mask: str
    epochs: int
    time: float


class EconomyComparison(Comparison):
    """Runs the missing pieces; ``results`` holds test scores by kind, epochs and seed."""

    # Networks are fine-tuned with all tokens, as in the first row of compare_selection.py, so the results are shared.
    part = compare_selection.SelectionComparison.part

    def time_steps(self, rounds: int) -> dict[str, float]:
        """Return the median processor seconds of a training step of each kind, measured now or by an earlier call."""
        self.check_same()
        steps: dict[str, float] = self.piece("steps", lambda: {"steps": self._time(rounds)})["steps"]
        return steps

    def compare_rows(self, rows: Sequence[Row], epochs: int, seeds: Sequence[int]) -> None:
        """Run everything that is missing, seed by seed, so that an early stop leaves complete seeds.

        Args:
            rows: Rows from :func:`rows_of`.
            epochs: Epochs in the comparison's own options, which need not be passed again.
            seeds: Seeds of training.
        """
        self.piece("videos", lambda: self._call("synthesize", self.videos, *self.synthesis))
        for seed in seeds:
            for row in rows:
                trained = self.pretrain(row.mask, seed, None if row.epochs == epochs else row.epochs)
                full = (row.mask, row.epochs) == (FULL, epochs)
                self.results[f"{row.mask}-{row.epochs}-{seed}"] = self.finetune(
                    f"{compare_selection.ALL}-{seed}" if full else f"{row.mask}-{row.epochs}-{seed}",
                    seed,
                    trained,
                    compare_selection.options_of(compare_selection.ALL),
                )

    def _time(self, rounds: int) -> dict[str, float]:
        """Time steps in alternation, as the machine may be noisy; without reading clips, the same for all."""
        import torch

        from adamae.benchmark.timing import take_turns

        steps = {kind: self._step(kind) for kind in KINDS}
        return {kind: timing.process for kind, timing in take_turns(steps, rounds, torch.device("cpu")).items()}

    def _step(self, kind: str) -> Callable[[], None]:
        import torch

        from adamae.benchmark.contenders import whole_step
        from adamae.models.economy import apply_economy
        from adamae.options.pretrain import pretrain_parser
        from adamae.pretrain import build_model

        options = apply_economy(pretrain_parser().parse([*options_of(kind), *self.pretraining]).options)
        model, _ = build_model(options)
        clips = torch.randint(0, 256, (options.data.batch_size, *model.grid.clip_shape, 3), dtype=torch.uint8)
        return whole_step(
            model.train(),
            lambda: model(clips, seeds=torch.arange(len(clips))).losses["loss"],
            torch.float32,
            torch.device("cpu"),
        )

    def scores(self, row: Row, seeds: Sequence[int]) -> list[float]:
        """Return the test top-1 in percent for the seeds that are finished."""
        keys = (f"{row.mask}-{row.epochs}-{seed}" for seed in seeds)
        return [float(self.results[key]["top1"]) for key in keys if key in self.results]

    def economy_table(self, rows: Sequence[Row], seeds: Sequence[int]) -> str:
        """Return a Markdown table: time of pre-training, and means with intervals over the seeds that are finished."""
        lines = [
            "| pre-training | epochs | its time | test top-1, % | seed by seed |",
            "|---|---|---|---|---|",
        ]
        for row in sorted(rows, key=lambda row: (KINDS.index(row.mask), row.epochs)):
            done = self.scores(row, seeds)
            cells = [NAMES[row.mask], str(row.epochs), f"{row.time:.2f}", interval(done)]
            lines.append(f"| {' | '.join([*cells, ', '.join(f'{score:.1f}' for score in done)])} |")
        return "\n".join(lines)

    def verdict(self, rows: Sequence[Row], seeds: Sequence[int]) -> str:
        """Report after what time --economy reaches the full mode, as far as these rows show."""
        done = {row: scores for row in rows if (scores := self.scores(row, seeds))}
        full = next((scores for row, scores in done.items() if row.mask == FULL), None)
        economy = {row: scores for row, scores in done.items() if row.mask == ECONOMY}
        if full is None or not economy:
            return "Not enough is done to say when --economy reaches the full mode."
        target = statistics.fmean(full)
        reached = time_to_reach({row.time: statistics.fmean(scores) for row, scores in economy.items()}, target)
        shortest = min(row.time for row in economy)
        if reached is None:
            said = "is not reached by any mean with --economy"
        elif reached == shortest:
            said = f"is reached by the mean with --economy in the shortest run here, {reached:.2f} of its time"
        else:
            said = f"is reached by the mean with --economy after {reached:.2f} of its time, linear between the rows"
        spread = {row: scores for row, scores in economy.items() if min(len(full), len(scores)) > 1}
        near = sum(overlap(full, scores) for scores in spread.values())
        intervals = f"The intervals of {near} of {len(spread)} rows with --economy overlap the full mode's."
        return f"The full mode's mean, {target:.1f} %, {said}. {intervals if spread else 'One seed has no interval.'}"


def rows_of(times: Mapping[str, float], epochs: int, fewer: Sequence[int]) -> list[Row]:
    """Return the rows: each kind for equally many epochs, then for equally long, then ``fewer`` with --economy.

    Args:
        times: Seconds of a step of each kind.
        epochs: Epochs of the full mode.
        fewer: Epochs of further runs with --economy.
    """
    lengths = [(FULL, epochs)]
    for kind in (ECONOMY, RANDOM):
        # The number of epochs is rounded down, so that no kind takes longer than the full mode.
        lengths += [(kind, epochs), (kind, int(epochs * times[FULL] / times[kind]))]
    lengths += [(ECONOMY, some) for some in fewer]
    return [Row(mask, some, some * times[mask] / (epochs * times[FULL])) for mask, some in dict.fromkeys(lengths)]


def time_to_reach(means: Mapping[float, float], target: float) -> float | None:
    """Return the least time at which the linearly interpolated mean is at least ``target``; None if it never is."""
    points = sorted(means.items())
    if points[0][1] >= target:
        return points[0][0]
    for (before, low), (after, high) in pairwise(points):
        if high >= target:
            return before + (after - before) * (target - low) / (high - low)
    return None


def overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether the 95 % intervals of two means overlap."""
    return abs(statistics.fmean(one) - statistics.fmean(other)) <= margin(one) + margin(other)


def main() -> int:
    """Run what is missing and print the table; return 3 if something is still missing."""
    parser = shared_parser(__doc__, finetune_epochs=12)
    parser.add_argument("--fewer", type=int, nargs="*", default=[15, 20], help="epochs of further runs with --economy")
    parser.add_argument("--rounds", type=int, default=TIMED_ROUNDS, help="how often each kind of step is timed")
    given = parser.parse_args()
    comparison = comparison_of(EconomyComparison, given)
    times: dict[str, Any] = {}
    code = exit_code(lambda: times.update(comparison.time_steps(given.rounds)))
    if code:
        return code
    rows = rows_of(times, given.pretrain_epochs, given.fewer)
    code = exit_code(lambda: comparison.compare_rows(rows, given.pretrain_epochs, given.seeds))
    print(comparison.economy_table(rows, given.seeds))
    print(
        f"\n{given.finetune_epochs} epochs of fine-tuning, {given.videos_per_class} training videos in a class; mean "
        "and 95 % interval (Student's t) over seeds. Times are processor seconds of all steps of pre-training over the "
        f"full mode's, where a step takes {times[FULL]:.3f} s.\n\n{comparison.verdict(rows, given.seeds)}"
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
