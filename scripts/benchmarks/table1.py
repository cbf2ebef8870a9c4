"""Does it pay to choose? The paper's table 1 in miniature, on the built-in motion data: docs/TABLE1.md.

    bash scripts/benchmarks/table1.sh --output_dir runs/table1

For every row and seed: pre-train, fine-tune, probe the frozen encoder, and measure the reconstruction error on moving
tokens. Rows of the same seed see the same videos in the same order and are fine-tuned with the same seed. Pieces run in
parallel, one process per core with one thread each. When the command is run again, finished pieces are skipped and
interrupted ones resume from their last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

from pieces import PieceError, Pieces, StoppedError
from table1_picture import group_picture
from table1_report import Results, renew_document, report
from table1_rows import DATA_SETS, GROUPS, REAL, ROWS, SCALES, Row, Scale, plan

from adamae.errors import UserError
from adamae.training.run_lock import lock_directory

CLIPS = Path("../shared/clips")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "TABLE1.md"


class Table1:
    """Run the pieces of the experiment that are not finished.

    Args:
        scale: Size of the experiment.
        pieces: Storage of results, which also runs the pieces.
        clips: Folder with the real clips.
    """

    def __init__(self, scale: Scale, pieces: Pieces, clips: Path) -> None:
        self.scale = scale
        self.pieces = pieces
        self.clips = clips

    def prepare(self, data_set: str) -> None:
        """Make the videos of a data set, also if its piece is marked finished but the folder is missing."""
        if not Path(self.videos(data_set)).is_dir():
            self.pieces.forget(data_set)
        if data_set == REAL:
            words = ["real_clips.py", str(self.clips), self.videos(data_set), "--short_side", str(self.scale.side)]
            self.pieces.make(data_set, words, lambda _: {})
            return
        words = ["adamae", "synthesize", self.videos(data_set), *shlex.split(self.scale.videos)]
        self.pieces.make(data_set, [*words, *shlex.split(DATA_SETS[data_set])], lambda _: {})

    def videos(self, data_set: str) -> str:
        """Return the folder of a data set."""
        return str(self.pieces.folder / data_set)

    def run(self, row: Row, seed: int) -> None:
        """Run all pieces of one row and seed.

        Raises:
            PieceError: If a piece fails.
            StoppedError: If the experiment was stopped before all pieces finished.
        """
        trained = self._pretrain(row, seed) if row.options is not None else None
        if row.videos != REAL:
            self._finetune(row, seed, trained)
        if trained is not None:
            self._probe(row, seed, trained)
            words = [
                "reconstruction_error.py",
                trained,
                f"{self.videos(row.videos)}/test.csv",
                "--device",
                self.scale.device,
            ]
            self.pieces.make(f"reconstruction-{row.name}-{seed}", words, json.loads)

    def _pretrain(self, row: Row, seed: int) -> str:
        output = self.pieces.folder / f"pretrain-{row.name}-{seed}"
        training = "pretrain.csv" if row.videos == REAL else "train.csv"
        words = [
            "adamae",
            "pretrain",
            "--data_path",
            f"{self.videos(row.videos)}/{training}",
            "--output_dir",
            str(output),
        ]
        words += ["--seed", str(seed), *row.words(self.scale)]
        self.pieces.make(output.name, words, lambda _: {"reconstruction": last_epoch(output)["reconstruction"]})
        return str(output)

    def _finetune(self, row: Row, seed: int, trained: str | None) -> None:
        output = self.pieces.folder / f"tuned-{row.name}-{seed}"
        words = [
            "adamae",
            "finetune",
            "--data_path",
            self.videos(row.videos),
            "--output_dir",
            str(output),
            "--seed",
            str(seed),
        ]
        words += [*shlex.split(self.scale.finetune), *shlex.split(row.finetune)]
        words += [] if trained is None else ["--finetune", trained]

        def read(_: str) -> dict[str, Any]:
            scores = json.loads((output / "test" / "scores.json").read_text())
            return curve_figures(epochs_of(output)) | {"test": scores["top1"]}

        self.pieces.make(output.name, words, read)

    def _probe(self, row: Row, seed: int, trained: str) -> None:
        words = probe_command(trained, self.videos(row.videos), seed, self.scale.device)
        self.pieces.make(f"probe-{row.name}-{seed}", words, read_probes)

    def results(self) -> Results:
        """Return the numbers of all finished pieces, by kind of piece, row and seed.

        The kind "finetune" is fine-tuning under the original plan, "tuned" is fine-tuning since its amendment.
        """
        return {
            (kind, name, seed): result
            for kind in ("pretrain", "finetune", "tuned", "probe", "reconstruction")
            for name in ROWS
            for seed in self.pieces.seeds(f"{kind}-{name}")
            if (result := self.pieces.result(f"{kind}-{name}-{seed}")) is not None
        }


def probe_command(trained: str, videos: str, seed: int, device: str) -> list[str]:
    """Return the command that probes a pre-trained network."""
    words = ["adamae", "probe", trained, "--data_path", videos, "--seed", str(seed), "--json"]
    return [*words, "--num_workers", "0", "--video_timeout", "0", "--device", device]


def read_probes(output: str) -> dict[str, float]:
    """Return the top-1 accuracy of each probe in percent, from the output of :func:`probe_command`."""
    return {name: probe["top1"] for name, probe in json.loads(output)["probes"].items()}


def epochs_of(output: Path) -> list[dict[str, Any]]:
    """Return the epoch records of a run's log."""
    lines = (json.loads(line) for line in (output / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "epoch"]


def last_epoch(output: Path) -> dict[str, Any]:
    """Return the last epoch record of a run's log."""
    return epochs_of(output)[-1]


def curve_figures(epochs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Summarise the validation curve of a fine-tuning run.

    Args:
        epochs: Epoch records with "step" and "val_top1" in percent.

    Returns:
        "area": mean validation accuracy over the epochs in percent, the primary measure; "steps_to_50": steps until
        50 %, interpolated linearly between epochs, None if it is not reached; "curve": the accuracy after each epoch.
    """
    curve = [(0.0, 0.0), *((line["step"], line["val_top1"]) for line in epochs)]
    reached = None
    for (before, low), (after, high) in pairwise(curve):
        if high >= 50:
            reached = before + (after - before) * (50 - low) / (high - low)
            break
    accuracies = [accuracy for _, accuracy in curve[1:]]
    return {"area": statistics.fmean(accuracies), "steps_to_50": reached, "curve": accuracies}


def make_all(table: Table1, todo: Sequence[tuple[Row, int]], workers: int) -> int:
    """Run everything that is missing; return 0 if all is finished, 1 if a piece failed, 3 if stopped before the end."""

    def attempt(pair: tuple[Row, int]) -> int:
        try:
            table.run(*pair)
        except StoppedError:
            return 3
        except PieceError as error:
            print(error, file=sys.stderr, flush=True)
            return 1
        return 0

    try:
        for data_set in dict.fromkeys(row.videos for row, _ in todo):
            table.prepare(data_set)
    except StoppedError:
        return 3
    with ThreadPoolExecutor(workers) as pool:
        codes = set(pool.map(attempt, todo))
    return next((code for code in (1, 3) if code in codes), 0)


def draw(results: Results, scale: str) -> str:
    """Update the figure beside the document; return the Markdown line that shows it, empty if there is no figure."""
    picture = group_picture(results, GROUPS["main"])
    if picture is None:
        return ""
    path = DOCUMENT.with_name(f"table1_{scale}.png")
    picture.savefig(path, dpi=110)
    return f"![Validation curves of the mask types, and paired differences]({path.name})\n\n"


def main() -> int:
    """Run what is missing and print the tables; return 3 if something is still missing, 1 if a piece failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for everything")
    parser.add_argument("--scale", default="cpu", choices=[*SCALES], help="size of the experiment")
    parser.add_argument("--groups", nargs="+", default=[*GROUPS], choices=[*GROUPS], help="tables to make, in order")
    parser.add_argument("--rows", nargs="+", choices=[*ROWS], metavar="ROW", help="run only these rows of the groups")
    parser.add_argument("--seeds", type=int, help="number of seeds (default: that of each group)")
    parser.add_argument("--workers", type=int, help="processes side by side (default: one per core; on a GPU four)")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder with the real clips (default: %(default)s)")
    parser.add_argument("--smoke_test", action="store_true", help="two training videos, one epoch, one seed")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no piece of work after so long")
    parser.add_argument("--only_report", action="store_true", help="run nothing, print the tables of what is finished")
    parser.add_argument("--write", action="store_true", help=f"write tables and picture into docs/{DOCUMENT.name}")
    given = parser.parse_args()
    gone = [name for name in given.rows or () if not ROWS[name].available]
    if gone and not given.only_report:
        parser.error(f"--rows {gone[0]}: this version does not have its options; see docs/{DOCUMENT.name}")
    scale, seeds = SCALES[given.scale], given.seeds
    if given.smoke_test:
        scale, seeds = scale.smoke_test(), 1
    table = Table1(scale, Pieces(given.output_dir, time.monotonic() + 60 * given.minutes), given.clips)
    code = 0
    try:
        if not given.only_report:
            given.output_dir.mkdir(parents=True, exist_ok=True)
            lock_directory(given.output_dir)
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, lambda *_: table.pieces.stop())
            code = make_all(
                table, plan(given.groups, seeds, given.rows), given.workers or scale.workers or os.cpu_count() or 1
            )
        text = report(table.results(), given.groups)
        if given.write:
            renew_document(DOCUMENT, given.scale, draw(table.results(), given.scale) + text)
    except (UserError, PieceError) as error:
        print(f"table1: error: {error}", file=sys.stderr)
        return 2
    print(text)
    if code == 3:
        print("stopped before the end; run the same command to resume", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
