"""What pre-training is worth on the built-in motion data: one table, with intervals.

    .venv/bin/python scripts/benchmarks/compare_pretraining.py --output_dir runs/comparison

For every seed: pre-train with each kind of mask by a recipe of small models, fine-tune each result and a network with
random weights in the same way and for equally many steps, test them, and probe the frozen features with nearest
neighbours. The videos, and so the test, are the same for all. When the command is run again, finished pieces are
skipped and an interrupted one resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

NAMES = {
    "learnable": "adaptive masks",
    "economy": "adaptive masks, `--economy`",
    "random": "random masks",
    "tube": "tube masks",
    "uniform": "uniform masks",
    "adaptive_uniform": "adaptive masks, one token of each cell",
    "none": "random weights",
}
# Student's t at 97.5 %, by degrees of freedom.
_T = {1: 12.70620, 2: 4.30265, 3: 3.18245, 4: 2.77645, 5: 2.57058, 6: 2.44691, 7: 2.36462, 8: 2.30600, 9: 2.26216}
_T |= {10: 2.22814, 11: 2.20099, 12: 2.17881, 13: 2.16037, 14: 2.14479, 15: 2.13145, 16: 2.11991, 17: 2.10982}

Run = Callable[[Sequence[str]], str]


class OutOfTimeError(Exception):
    """The time is over, so no further piece is started."""


@dataclass
class Comparison:
    """Runs the missing pieces.

    Attributes:
        folder: Output folder.
        pretraining: Options of ``adamae pretrain`` besides the mask's.
        finetuning: Options of ``adamae finetune``.
        synthesis: Options of ``adamae synthesize``.
        run: Function that runs ``adamae`` with the given arguments and returns its standard output.
        deadline: Time of ``time.monotonic`` after which no piece is started.
    """

    folder: Path
    pretraining: list[str]
    finetuning: list[str]
    synthesis: list[str]
    run: Run
    deadline: float = math.inf
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Key of the options of fine-tuning in options.json: comparisons may share a folder, its videos and its pre-trained
    # models.
    part = "finetune"

    @property
    def videos(self) -> str:
        """Folder of the data set."""
        return str(self.folder / "videos")

    def check_same(self) -> None:
        """Check that the folder has no pieces of other options, which must not get into the table.

        Raises:
            SystemExit: If it has.
        """
        path = self.folder / "options.json"
        options = {"pretrain": self.pretraining, self.part: self.finetuning, "synthesize": self.synthesis}
        known = json.loads(path.read_text()) if path.exists() else {}
        if any(known.get(name, words) != words for name, words in options.items()):
            print(
                f"{path}: the pieces there were made with other options; choose another --output_dir", file=sys.stderr
            )
            raise SystemExit(2)
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known | options, indent=1) + "\n")

    def piece(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of a piece, making it if it is not finished."""
        path = self.folder / "pieces" / f"{name}.json"
        if not path.exists():
            if time.monotonic() > self.deadline:
                raise OutOfTimeError(name)
            print(f"{name} ...", file=sys.stderr, flush=True)
            began = time.monotonic()
            result = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".unfinished")
            temporary.write_text(json.dumps(result | {"seconds": round(time.monotonic() - began)}) + "\n")
            temporary.replace(path)
        return json.loads(path.read_text())

    def compare(self, masks: Sequence[str], seeds: Sequence[int]) -> None:
        """Run everything that is missing, seed by seed, so that an early stop leaves complete seeds."""
        self.check_same()
        self.piece("videos", lambda: self._call("synthesize", self.videos, *self.synthesis))
        for seed in seeds:
            trained: dict[str, Path] = {}
            for mask in (*masks, "none"):
                if mask != "none":
                    trained[mask] = self.pretrain(mask, seed)
                tuned = self.finetune(f"{mask}-{seed}", seed, trained.get(mask))
                # Without pre-training the architecture is taken from any checkpoint, and the weights are random.
                source = trained.get(mask, trained[masks[0]])
                probed = self.piece(
                    f"probe-{mask}-{seed}",
                    partial(self._probe, mask, seed, source),
                )
                self.results[f"{mask}-{seed}"] = {"finetune": tuned, "probe": probed}

    def pretrain(self, mask: str, seed: int, epochs: int | None = None) -> Path:
        """Return the folder of a pre-trained network, training it if it is not finished.

        Args:
            mask: Kind of mask, as for :func:`options_of`.
            seed: Seed of training.
            epochs: Number of epochs; None: that of the comparison.
        """
        name = f"pretrain-{mask}-{seed}" if epochs is None else f"pretrain-{mask}-{epochs}-{seed}"
        words = [*options_of(mask), "--seed", str(seed), "--data_path", self.videos]
        words += ["--output_dir", str(self.folder / name), *self.pretraining]
        # The last value of an option counts.
        words += [] if epochs is None else ["--epochs", str(epochs)]
        self.piece(name, lambda: self._call("pretrain", *words))
        return self.folder / name

    def finetune(self, name: str, seed: int, trained: Path | None, more: Sequence[str] = ()) -> dict[str, Any]:
        """Return the test scores after fine-tuning, running it if it is not finished.

        Args:
            name: Name of the piece, without "finetune-".
            seed: Seed of training.
            trained: Folder of the pre-trained network; None: random weights.
            more: Options in addition to the comparison's.
        """
        output = self.folder / f"finetune-{name}"
        words = ["--data_path", self.videos, "--output_dir", str(output), "--seed", str(seed), *self.finetuning, *more]
        words += [] if trained is None else ["--finetune", str(trained)]

        def make() -> dict[str, Any]:
            done = self._call("finetune", *words)
            return done | json.loads((output / "test" / "scores.json").read_text())

        return self.piece(output.name, make)

    def _call(self, *words: str) -> dict[str, Any]:
        self.run(words)
        return {"command": shlex.join(["adamae", *words])}

    def _probe(self, mask: str, seed: int, source: Path) -> dict[str, Any]:
        words = ["probe", str(source), "--data_path", self.videos, "--probe_tokens", "0", "--json", "--seed", str(seed)]
        words += ["--random_weights"] if mask == "none" else []
        return json.loads(self.run(words))["probes"]["knn"] | {"command": shlex.join(["adamae", *words])}

    def table(self, masks: Sequence[str], seeds: Sequence[int]) -> str:
        """Return a Markdown table of means over the seeds that are finished, with intervals."""
        lines = [
            "| start of fine-tuning | test top-1, % | seed by seed | k-NN top-1, % | seed by seed |",
            "|---|---|---|---|---|",
        ]
        for mask in (*masks, "none"):
            done = [self.results[key] for seed in seeds if (key := f"{mask}-{seed}") in self.results]
            columns = [[each[what]["top1"] for each in done] for what in ("finetune", "probe")]
            cells = [cell for values in columns for cell in (interval(values), ", ".join(f"{v:.1f}" for v in values))]
            lines.append(f"| {NAMES[mask]} | {' | '.join(cells)} |")
        return "\n".join(lines)


AnyComparison = TypeVar("AnyComparison", bound=Comparison)


def options_of(mask: str) -> list[str]:
    """Return the options of a pre-training run of this kind."""
    return ["--mask_type", "learnable", "--economy"] if mask == "economy" else ["--mask_type", mask]


def interval(values: Sequence[float]) -> str:
    """Format the mean over the seeds and its 95 % interval by Student's t."""
    if not values:
        return "not yet"
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {margin(values):.1f}"


def margin(values: Sequence[float]) -> float:
    """Return half the width of the 95 % interval by Student's t; infinite for fewer than two values."""
    if len(values) < 2:
        return math.inf
    return student_t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def student_t(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t, to four decimals."""
    if degrees in _T:
        return _T[degrees]
    # Expansion around the normal quantile (Abramowitz and Stegun 26.7.5).
    z = statistics.NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3


def run_adamae(words: Sequence[str]) -> str:
    """Run ``adamae`` in its own process; its standard error goes to the terminal."""
    done = subprocess.run([sys.executable, "-m", "adamae", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def shared_parser(doc: str | None, finetune_epochs: int) -> argparse.ArgumentParser:
    """Build the parser with the options that all comparisons share.

    Args:
        doc: Docstring of the script; its first line becomes the description.
        finetune_epochs: Default number of epochs of fine-tuning.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="quickstart", help="of pre-training and of fine-tuning")
    parser.add_argument("--pretrain_epochs", type=int, default=25)
    parser.add_argument("--finetune_epochs", type=int, default=finetune_epochs)
    parser.add_argument("--videos_per_class", type=int, default=32)
    parser.add_argument("--test_per_class", type=int, default=40, help="many, so that chance in the test is small")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no piece of work after so long")
    parser.add_argument("--synthesis", default="", help="more options of adamae synthesize")
    parser.add_argument("--pretraining", default="", help="more options of adamae pretrain")
    parser.add_argument("--finetuning", default="", help="more options of adamae finetune")
    return parser


def comparison_of(kind: type[AnyComparison], given: argparse.Namespace) -> AnyComparison:
    """Build a comparison from the recipe and the given options."""
    videos = ["--videos_per_class", str(given.videos_per_class), "--test_per_class", str(given.test_per_class)]
    return kind(
        given.output_dir,
        ["--config", given.recipe, "--epochs", str(given.pretrain_epochs), *shlex.split(given.pretraining)],
        ["--config", given.recipe, "--epochs", str(given.finetune_epochs), *shlex.split(given.finetuning)],
        [*videos, *shlex.split(given.synthesis)],
        run_adamae,
        time.monotonic() + 60 * given.minutes,
    )


def exit_code(work: Callable[[], None]) -> int:
    """Run what is missing; return 0 if everything is finished, 3 if the time was over before."""
    try:
        work()
    except OutOfTimeError as piece:
        print(f"out of time before {piece}; run the same command to resume", file=sys.stderr)
        return 3
    return 0


def main() -> int:
    """Run what is missing and print the table; return 3 if something is still missing."""
    parser = shared_parser(__doc__, finetune_epochs=8)
    parser.add_argument("--masks", nargs="+", default=["learnable", "random", "tube"], choices=[*NAMES][:-1])
    given = parser.parse_args()
    comparison = comparison_of(Comparison, given)
    code = exit_code(lambda: comparison.compare(given.masks, given.seeds))
    print(comparison.table(given.masks, given.seeds))
    print(
        f"\n{given.pretrain_epochs} epochs of pre-training, {given.finetune_epochs} of fine-tuning, "
        f"{given.videos_per_class} training videos in a class; mean and 95 % interval (Student's t) over seeds."
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
