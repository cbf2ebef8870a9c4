"""Faults that do not end a run: videos that could not be read and steps that were skipped.

Both are recorded in the output directory. The run ends with an error if there are too many.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from adamae.data.batch import Batch
from adamae.distributed import World
from adamae.errors import UserError
from adamae.files import write_whole
from adamae.training.run_logger import RunLogger

# Takes rows of the list.
Quarantine = Callable[[Iterable[int]], None]
# Takes paths and returns the rows of the list with each path; a path that is not in the list may be missing.
RowsOf = Callable[[Iterable[str]], Mapping[str, Sequence[int]]]


class FaultLog:
    """Collects faults step by step and records them when the log is written.

    Args:
        logger: The run's logger; every rank has one, and the main rank's lists the bad videos.
        world: The processes of the run.
        num_videos: Videos in the list.
        rows_of: Finds the videos of an earlier list in the present one.
        max_bad_fraction: End the run if more than this fraction of the videos is bad.
        max_skipped: End the run after more than this many skipped steps in a row.
        quarantine: Called with the rows of videos that hung or crashed a worker of any rank, now or before the run was
            resumed, so that they are not opened again.
    """

    def __init__(
        self,
        logger: RunLogger,
        world: World,
        *,
        num_videos: int,
        rows_of: RowsOf,
        max_bad_fraction: float = 1.0,
        max_skipped: int = 50,
        quarantine: Quarantine | None = None,
    ) -> None:
        self._logger = logger
        self._world = world
        self._num_videos = num_videos
        self._rows_of = rows_of
        self._max_bad_fraction = max_bad_fraction
        self._max_skipped = max_skipped
        self._quarantine = quarantine
        self._bad: list[dict[str, Any]] = []
        self._known: set[int] = set()
        self._quarantined: set[int] = set()
        self._inputs: dict[int, dict[str, Any]] = {}

    def resume(self) -> None:
        """Load the recorded bad videos that are still in the list, which may have changed since."""
        self._learn(self._world.on_main(self._read))

    def _read(self) -> list[dict[str, Any]]:
        """Return the records of bad videos, with their rows in the current list."""
        # A video that hung after it could not be read has two records; the later one counts.
        records = {(record["path"], record["index"]): record for record in self._logger.bad_videos.read()}.values()
        rows_of, found = self._rows_of({record["path"] for record in records}), {}
        for record in records:
            rows = rows_of.get(record["path"], ())
            # A path may be in the list more than once, with one record for each row.
            row = record["index"] if record["index"] in rows else next((row for row in rows if row not in found), None)
            if row is not None:
                found[row] = record | {"index": row}
        return list(found.values())

    def add(self, step: int, epoch: int, micro_batch: Batch) -> None:
        """Record the inputs of a step until its result is known. The batch itself is not kept."""
        self._bad += [{"step": step, "epoch": epoch, **record} for record in micro_batch.get("bad", ())]
        fresh = {"step": step, "epoch": epoch, "rank": self._world.rank, "index": [], "seed": []}
        inputs = self._inputs.setdefault(step, fresh)
        for key in ("index", "seed"):
            inputs[key] += micro_batch[key].tolist()

    def settle(self, left_out: Mapping[int, Mapping[str, float]], skipped_in_a_row: int) -> None:
        """Record what happened since the last call. All ranks call it.

        Args:
            left_out: Values of the skipped steps, see :meth:`MetricAverager.read`.
            skipped_in_a_row: Consecutive skipped steps up to now.

        Raises:
            UserError: If there are too many bad videos or skipped steps.
        """
        self._settle_bad_videos()
        for step, values in left_out.items():
            # Under fp16 an overflow with a finite loss only means that the scale was too large.
            if "loss_scale" not in values or not math.isfinite(values["loss"]):
                self._write_inputs(step, values)
        self._inputs.clear()
        if skipped_in_a_row > self._max_skipped:
            raise UserError(
                f"{skipped_in_a_row} consecutive steps had a non-finite loss or gradient and were skipped; "
                f"their batches are described in {self._logger.directory / 'nonfinite'}"
            )

    def _settle_bad_videos(self) -> None:
        found: dict[int, dict[str, Any]] = {}
        for record in (record for records in self._world.gather(self._bad) for record in records):
            index = record["index"]
            # A video that could not be read may hang later: then its quarantine must reach the other ranks.
            if record.get("quarantined") and index not in self._quarantined:
                found[index] = record
            elif index not in self._known:
                found.setdefault(index, record)
        self._bad = []
        if not found:
            return
        self._learn(found.values())
        self._world.on_main(lambda: self._logger.bad_videos.append(found.values()))
        if len(self._known) > self._max_bad_fraction * self._num_videos:
            last = next(reversed(found.values()))
            raise UserError(
                f"{len(self._known)} of {self._num_videos} files could not be read, more than --max_bad_fraction "
                f"{self._max_bad_fraction} allows (see {self._logger.bad_videos.path}); "
                f"the last was {last['path']}: {last['reason']}"
            )

    def _learn(self, records: Iterable[Mapping[str, Any]]) -> None:
        records = list(records)
        self._known |= {record["index"] for record in records}
        quarantined = [record["index"] for record in records if record.get("quarantined")]
        self._quarantined |= set(quarantined)
        if self._quarantine is not None:
            self._quarantine(quarantined)

    def _write_inputs(self, step: int, values: Mapping[str, float]) -> None:
        record = self._inputs[step] | {name: repr(value) for name, value in values.items()}
        directory = self._logger.directory / "nonfinite"
        try:
            directory.mkdir(exist_ok=True)
            path = directory / f"step-{step:08d}-rank{self._world.rank}.json"
            write_whole(path, json.dumps(record, indent=1).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{directory}: cannot be written: {error.strerror}") from error
