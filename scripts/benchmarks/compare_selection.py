"""What a part of the tokens is worth in fine-tuning, on the built-in motion data: one table, with intervals.

    .venv/bin/python scripts/benchmarks/compare_selection.py --output_dir runs/selection

For every seed: pre-train an AdaMAE by the quickstart recipe, then fine-tune it with all tokens, and with each fraction
of them selected by motion, by its learned sampler and at random, in the same way and for equally many steps. The
videos, and so the test, are the same for all; in a folder of compare_pretraining.py its videos and its adaptive models
are used. At the end the steps of all kinds are timed in alternation. When the command is run again, finished pieces are
skipped and an interrupted one resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from compare_pretraining import Comparison, OutOfTimeError, interval, run_adamae

NAMES = {"motion": "by motion", "adaptive": "by the learned sampler", "random": "at random"}
ALL = "all"
# Clips in a timed step, and number of times that each kind is timed.
TIMED_CLIPS, TIMED_ROUNDS = 8, 7


class SelectionComparison(Comparison):
    """Runs the missing pieces; ``results`` holds test scores by kind and seed, ``times`` seconds of a step by kind."""

    times: dict[str, float]
    part = "finetune a selection"

    def compare_selections(self, kinds: Sequence[str], seeds: Sequence[int], rounds: int) -> None:
        """Run everything that is missing, seed by seed, so that an early stop leaves complete seeds.

        Args:
            kinds: Names from :func:`kinds_of`.
            seeds: Seeds of training.
            rounds: Number of times that each kind of step is timed.
        """
        self.times = {}
        self.check_same()
        self.piece("videos", lambda: self._call("synthesize", self.videos, *self.synthesis))
        for seed in seeds:
            pretrained = self.folder / f"pretrain-learnable-{seed}"
            words = ["--mask_type", "learnable", "--seed", str(seed), "--data_path", self.videos]
            words += ["--output_dir", str(pretrained), *self.pretraining]
            self.piece(pretrained.name, partial(self._call, "pretrain", *words))
            for kind in kinds:
                self.results[f"{kind}-{seed}"] = self.piece(
                    f"finetune-{kind}-{seed}",
                    partial(self._tune, kind, seed, pretrained),
                )
        self.times = self.piece("times", lambda: self._time(kinds, seeds[0], rounds))["steps"]

    def _tune(self, kind: str, seed: int, pretrained: Path) -> dict[str, Any]:
        output = self.folder / f"finetune-{kind}-{seed}"
        words = ["--finetune", str(pretrained), "--data_path", self.videos, "--output_dir", str(output)]
        done = self._call("finetune", *words, "--seed", str(seed), *self.finetuning, *options_of(kind))
        return done | json.loads((output / "test" / "scores.json").read_text())

    def _time(self, kinds: Sequence[str], seed: int, rounds: int) -> dict[str, Any]:
        """Return median processor seconds of a step of each kind, timed in alternation as the machine may be noisy."""
        import torch

        from adamae.benchmark.timing import take_turns

        steps = {kind: self._step(self.folder / f"finetune-{kind}-{seed}" / "best") for kind in kinds}
        timings = take_turns(steps, rounds, torch.device("cpu"))
        return {"steps": {kind: timing.process for kind, timing in timings.items()}}

    def _step(self, tuned: Path) -> Callable[[], None]:
        import torch

        from adamae.benchmark.contenders import whole_step
        from adamae.checkpoints.formats import open_checkpoint
        from adamae.checkpoints.networks import build_classifier

        model, _ = build_classifier(open_checkpoint(tuned))
        clips = torch.randint(0, 256, (TIMED_CLIPS, *model.grid.clip_shape, 3), dtype=torch.uint8)
        seeds = torch.arange(TIMED_CLIPS)
        return whole_step(
            model.train(),
            lambda: model(clips, seeds=seeds).square().mean(),
            torch.float32,
            torch.device("cpu"),
        )

    def selection_table(self, kinds: Sequence[str], seeds: Sequence[int]) -> str:
        """Return a Markdown table: means with intervals over the seeds that are finished, and the time of a step."""
        lines = [
            "| tokens | test top-1, % | seed by seed | less than with all, points | time of a step |",
            "|---|---|---|---|---|",
        ]
        for kind in kinds:
            pairs = [(self._score(kind, seed), self._score(ALL, seed)) for seed in seeds]
            done = [score for score, _ in pairs if score is not None]
            lost = [whole - score for score, whole in pairs if score is not None and whole is not None]
            less = f"{statistics.fmean(lost):.1f}" if lost and kind != ALL else ""
            time_of = f"{self.times[kind] / self.times[ALL]:.2f}" if {kind, ALL} <= self.times.keys() else "not yet"
            cells = [describe(kind), interval(done), ", ".join(f"{score:.1f}" for score in done), less, time_of]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def _score(self, kind: str, seed: int) -> float | None:
        result = self.results.get(f"{kind}-{seed}")
        return None if result is None else float(result["top1"])


def kinds_of(strategies: Sequence[str], ratios: Sequence[float]) -> list[str]:
    """Return the kinds: all tokens, which is the same for every strategy, then each ratio with each strategy."""
    return [ALL, *(f"{strategy}-{ratio:g}" for ratio in ratios if ratio < 1 for strategy in strategies)]


def options_of(kind: str) -> list[str]:
    """Return the options of a fine-tuning run of this kind."""
    if kind == ALL:
        return ["--token_selection", "none"]
    strategy, ratio = kind.split("-", 1)
    return ["--token_selection", strategy, "--keep_ratio", ratio]


def describe(kind: str) -> str:
    """Describe a kind in words."""
    if kind == ALL:
        return "all"
    strategy, ratio = kind.split("-", 1)
    return f"{float(ratio):.0%} {NAMES[strategy]}"


def main() -> int:
    """Run what is missing and print the table; return 3 if something is still missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strategies", nargs="+", default=[*NAMES], choices=[*NAMES])
    parser.add_argument("--keep_ratios", type=float, nargs="+", default=[0.3, 0.6])
    parser.add_argument("--pretrain_epochs", type=int, default=25)
    parser.add_argument("--finetune_epochs", type=int, default=15)
    parser.add_argument("--videos_per_class", type=int, default=32)
    parser.add_argument("--test_per_class", type=int, default=40, help="many, so that chance in the test is small")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no piece of work after so long")
    parser.add_argument("--rounds", type=int, default=TIMED_ROUNDS, help="how often each kind of step is timed")
    parser.add_argument("--synthesis", default="", help="more options of adamae synthesize")
    parser.add_argument("--pretraining", default="", help="more options of adamae pretrain")
    parser.add_argument("--finetuning", default="", help="more options of adamae finetune")
    given = parser.parse_args()
    videos = ["--videos_per_class", str(given.videos_per_class), "--test_per_class", str(given.test_per_class)]
    comparison = SelectionComparison(
        given.output_dir,
        ["--config", "quickstart", "--epochs", str(given.pretrain_epochs), *shlex.split(given.pretraining)],
        ["--config", "quickstart", "--epochs", str(given.finetune_epochs), *shlex.split(given.finetuning)],
        [*videos, *shlex.split(given.synthesis)],
        run_adamae,
        time.monotonic() + 60 * given.minutes,
    )
    kinds = kinds_of(given.strategies, given.keep_ratios)
    code = 0
    try:
        comparison.compare_selections(kinds, given.seeds, given.rounds)
    except OutOfTimeError as piece:
        print(f"out of time before {piece}; run the same command to resume", file=sys.stderr)
        code = 3
    print(comparison.selection_table(kinds, given.seeds))
    print(
        f"\n{given.pretrain_epochs} epochs of pre-training, {given.finetune_epochs} of fine-tuning, "
        f"{given.videos_per_class} training videos in a class; mean and 95 % interval (Student's t) over seeds. "
        "Times are processor seconds of a training step over those with all tokens."
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
