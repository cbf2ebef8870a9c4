"""What frozen encoders tell of selected tokens instead of all: one table of docs/TABLE1.md, with paired differences.

    bash scripts/benchmarks/probe_selection.sh --output_dir runs/table1 --seeds 12 13 14 15 --write

Probes networks that scripts/benchmarks/table1.py has pre-trained in the same folder, and the same network with random
weights. Finished pieces are skipped when the command is run again.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare_pretraining import interval
from paired import compare, paired_difference
from pieces import PieceError, Pieces, StoppedError
from table1 import DOCUMENT, probe_command, read_probes
from table1_report import markdown, origins_line, renew_document
from table1_rows import ADAPTIVE, ROWS, SMOOTH

from adamae.errors import UserError

# Fraction of the tokens: as many as are visible in pre-training at a mask ratio of 95 %.
KEPT = 0.05
SELECTIONS = {
    "none": "all",
    "adaptive": "5 %, by the learned sampler",
    "motion": "5 %, by motion",
    "random": "5 %, at random",
}
PROBES = {"attentive": "attentive probe, %", "linear": "linear probe, %", "knn": "nearest neighbours, %"}
RANDOM_WEIGHTS = "random-weights"


@dataclass(frozen=True)
class Probed:
    """A frozen network and the tokens that it encodes.

    Attributes:
        network: A row of table 1, or :data:`RANDOM_WEIGHTS`.
        selection: A key of :data:`SELECTIONS`.
    """

    network: str
    selection: str

    @property
    def title(self) -> str:
        """Title of the network in the table."""
        return "random weights" if self.network == RANDOM_WEIGHTS else ROWS[self.network].title

    @property
    def name(self) -> str:
        """Start of the names of its pieces; table 1 itself has probed networks with all tokens."""
        if self.selection == "none" and self.network != RANDOM_WEIGHTS:
            return f"probe-{self.network}"
        return f"selected-{self.selection}-{self.network}"

    def words(self, folder: Path, seed: int) -> list[str]:
        """Return the command that probes it."""
        random = self.network == RANDOM_WEIGHTS
        trained = folder / f"pretrain-{ADAPTIVE if random else self.network}-{seed}"
        words = probe_command(str(trained), str(folder / SMOOTH), seed, "cpu")
        words += ["--random_weights"] if random else []
        kept = [] if self.selection == "none" else ["--token_selection", self.selection, "--keep_ratio", str(KEPT)]
        return words + kept


ROWS_OF_TABLE = (
    Probed(ADAPTIVE, "adaptive"),
    Probed(ADAPTIVE, "none"),
    Probed(ADAPTIVE, "motion"),
    Probed(ADAPTIVE, "random"),
    Probed("random-95", "none"),
    Probed("random-95", "motion"),
    Probed("random-95", "random"),
    Probed(RANDOM_WEIGHTS, "none"),
    Probed(RANDOM_WEIGHTS, "motion"),
    Probed(RANDOM_WEIGHTS, "random"),
)
# A pre-trained network minus random weights, on the same tokens.
PAIRS = tuple(
    (row, other)
    for row in ROWS_OF_TABLE
    if (other := Probed(RANDOM_WEIGHTS, row.selection)) in ROWS_OF_TABLE and row != other
)


def make_all(pieces: Pieces, seeds: Sequence[int], workers: int) -> None:
    """Probe everything that is missing.

    Raises:
        PieceError: If a probe fails.
        StoppedError: If it was stopped before the end.
    """
    todo = [(probed, seed) for seed in seeds for probed in ROWS_OF_TABLE]
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(
            lambda pair: pieces.make(f"{pair[0].name}-{pair[1]}", pair[0].words(pieces.folder, pair[1]), read_probes),
            todo,
        ):
            pass


def report(results: Mapping[tuple[Probed, int], Mapping[str, Any]]) -> str:
    """Build the tables of means and of differences to the first row and to random weights, and the origin line."""

    def values(probed: Probed, probe: str) -> dict[int, float]:
        return {seed: result[probe] for (other, seed), result in results.items() if other == probed}

    means = [
        [row.title, SELECTIONS[row.selection], *(interval([*values(row, probe).values()]) for probe in PROBES)]
        for row in ROWS_OF_TABLE
    ]

    def differences(row: Probed, other: Probed) -> list[str]:
        found = [paired_difference(values(row, probe), values(other, probe)) for probe in PROBES]
        cells = ["" if each is None else each.render() for each in found]
        return [cells[0], compare(found[0]), *cells[1:]]

    first, *others = ROWS_OF_TABLE
    heads = ["encoded tokens", PROBES["attentive"], "by that figure", PROBES["linear"], PROBES["knn"]]
    to_first = [[row.title, SELECTIONS[row.selection], *differences(first, row)] for row in others]
    to_random = [[row.title, SELECTIONS[row.selection], *differences(row, other)] for row, other in PAIRS]
    origin = origins_line({(probed.name, probed.selection, seed): result for (probed, seed), result in results.items()})
    seeds = ", ".join(map(str, sorted({seed for _, seed in results})))
    tables = (
        markdown(["network", "encoded tokens", *PROBES.values()], means),
        markdown([f"{first.title}, {SELECTIONS[first.selection]}, minus", *heads], to_first),
        markdown(["minus random weights on the same tokens", *heads], to_random),
    )
    return "\n\n".join((*tables, f"Seeds {seeds}. {origin}"))


def main() -> int:
    """Probe what is missing and print the tables; return 2 after an error, 3 if it was stopped before the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of table1.py, with its networks")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="seeds of the networks")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side (default: %(default)s)")
    parser.add_argument("--only_report", action="store_true", help="run nothing, print the tables of what is finished")
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/{DOCUMENT.name}")
    given = parser.parse_args()
    pieces = Pieces(given.output_dir)
    try:
        if not given.only_report:
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, lambda *_: pieces.stop())
            make_all(pieces, given.seeds, given.workers)
        results = {
            (probed, seed): result
            for seed in given.seeds
            for probed in ROWS_OF_TABLE
            if (result := pieces.result(f"{probed.name}-{seed}")) is not None
        }
        text = report(results)
        if given.write:
            renew_document(DOCUMENT, "selection", text)
    except (UserError, PieceError) as error:
        print(f"probe_selection: error: {error}", file=sys.stderr)
        return 2
    except StoppedError:
        print("stopped before the end; run the same command to resume", file=sys.stderr)
        return 3
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
