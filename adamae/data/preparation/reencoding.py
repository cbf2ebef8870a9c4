"""Re-encode all videos of a plan in several processes, continuing where an earlier call stopped."""

from __future__ import annotations

import os
import shutil
import socket
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adamae.data.decoding.protocol import DecodeError
from adamae.data.preparation.journal import Journal, Outcome, Part, read_journals
from adamae.data.preparation.output_names import OutputNames
from adamae.data.preparation.transcoding import Encoded, Encoding, transcode
from adamae.data.threads import ScanProgress, in_threads
from adamae.data.workers import Failure, run_jobs
from adamae.errors import UserError
from adamae.progress import ProgressCallback

_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class _Job:
    row: int
    source: str
    target: str
    temporary: str
    encoding: Encoding


class Reencoding:
    """State of the re-encoding of each source.

    Args:
        root: Folder of the sources.
        out: Output folder.
        sources: Distinct paths below ``root``.
        encoding: How to encode the videos.
        scanning: Called with (sources scanned, total sources).

    Attributes:
        known: (n,) whether a source is done or known to be broken.
        before: (n,) sizes of the sources in bytes; -1 for a missing file.
        after: (n,) sizes of the results in bytes; 0 without a result.
        frames: (n,) numbers of frames of the results.
        seconds: (n,) durations of the results.
        reasons: Reasons why sources have no result, by row.
        lost: Rows whose process was lost or exceeded the time limit; the next call retries them.
        damaged: Numbers of damaged packets that were skipped, by row.
    """

    def __init__(
        self,
        root: Path,
        out: Path,
        sources: Sequence[str],
        encoding: Encoding,
        scanning: ScanProgress | None = None,
    ) -> None:
        self.sources = sources
        self._root, self._out, self._encoding = root, out, encoding
        self._names = OutputNames(sources)
        self._rows = {source: row for row, source in enumerate(sources)}
        facts = np.array(in_threads(lambda source: _stat(root / source), sources, scanning), np.int64).reshape(-1, 2)
        self.before, self._changed = facts[:, 0].copy(), facts[:, 1].copy()
        self.known = np.zeros(len(sources), bool)
        self.after = np.zeros(len(sources), np.int64)
        self.frames = np.zeros(len(sources), np.int64)
        self.seconds = np.zeros(len(sources))
        self.reasons: dict[int, str] = {}
        self.lost: set[int] = set()
        self.damaged: dict[int, int] = {}

    def path_of(self, source: str) -> str | None:
        """Return the path of a result below the output folder; None without a result."""
        return self._names[source] if self.after[self._rows[source]] else None

    def recall(self) -> None:
        """Load the outcomes in the journals of all parts that are still valid.

        A result that is there counts, whatever other journals say of its video: a journal may be newer than another
        although its line of the video is older. Of several failures the last one counts.
        """
        known = [outcome for outcome in read_journals(self._out) if self._is_of(outcome)]
        found = in_threads(lambda outcome: outcome.reason or self._size_of_result(outcome), known)
        valid = [
            outcome for outcome, there in zip(known, found, strict=True) if there in (outcome.reason, outcome.bytes)
        ]
        for outcome in sorted(valid, key=lambda outcome: not outcome.reason):
            self._take(self._rows[outcome.source], outcome)

    def _is_of(self, outcome: Outcome) -> bool:
        """Return whether an outcome belongs to a source that has not changed since."""
        row = self._rows.get(outcome.source)
        return row is not None and (outcome.size, outcome.changed) == (self.before[row], self._changed[row])

    def _size_of_result(self, outcome: Outcome) -> int:
        return _stat(self._out / self._names[outcome.source])[0]

    def run(
        self,
        part: Part,
        *,
        workers: int,
        time_limit: float | None,
        retry: bool,
        progress: ProgressCallback | None,
    ) -> None:
        """Re-encode the remaining videos of a part.

        Args:
            part: The part; a video's part depends only on its path.
            workers: Number of worker processes; 0 for the main process.
            time_limit: Time limit for one video in seconds.
            retry: Retry broken videos.
            progress: Called with (videos done, total videos) of this part.

        Raises:
            UserError: Another process works on this part, or the results cannot be written.
        """
        mine = [row for row, source in enumerate(self.sources) if _part_of(source, part.of) == part.number]
        try:
            with Journal(self._out, part) as journal:
                shutil.rmtree(self._out / _UNFINISHED / str(part), ignore_errors=True)
                self.recall()
                again = self.lost | (self.reasons.keys() if retry else set())
                left = [row for row in mine if not self.known[row] or row in again]
                done = len(mine) - len(left)
                self._report(progress, done, len(mine))
                results = run_jobs(_reencode, self._jobs(left, part), workers=workers, time_limit=time_limit)
                with closing(results):  # type: ignore[type-var]
                    for job, result in results:
                        outcome = self._outcome(job, result)
                        journal.add(outcome)
                        self._take(job.row, outcome)
                        done += 1
                        self._report(progress, done, len(mine))
                shutil.rmtree(self._out / _UNFINISHED / str(part), ignore_errors=True)
        except OSError as error:
            raise UserError(
                f"{error.filename or self._out}: cannot be written ({error.strerror}); "
                "run the same command again to continue"
            ) from error
        # Other parts may have finished videos in the meantime.
        self.recall()

    def clean(self) -> None:
        """Remove unfinished files of interrupted calls of all parts, except of parts that are in progress."""
        unfinished = self._out / _UNFINISHED
        for place in list(unfinished.glob("*")):
            # The journal of a part in progress cannot be opened.
            with suppress(UserError, OSError), Journal(self._out, Part.parse(place.name.replace("of", "/"))):
                shutil.rmtree(place)
        with suppress(OSError):
            unfinished.rmdir()

    def _jobs(self, rows: Sequence[int], part: Part) -> Iterator[_Job]:
        # A worker may outlive its killed parent for a moment: it must not write to the next call's temporary files.
        own = self._out / _UNFINISHED / str(part) / f"{socket.gethostname()}-{os.getpid()}"
        for row in rows:
            source = self.sources[row]
            target = self._out / self._names[source]
            yield _Job(row, str(self._root / source), str(target), f"{own}-{row}.mp4", self._encoding)

    def _outcome(self, job: _Job, result: Encoded | Failure) -> Outcome:
        facts = (self.sources[job.row], int(self.before[job.row]), int(self._changed[job.row]))
        if isinstance(result, Encoded):
            seconds = round(result.seconds, 6)
            return Outcome(*facts, result.bytes, result.frames, seconds, result.damaged)
        if isinstance(result.error, DecodeError):
            return Outcome(*facts, reason=result.error.reason)
        if isinstance(result.error, (OSError, UserError)):
            raise result.error
        return Outcome(*facts, reason=result.reason, lost=result.error is None)

    def _take(self, row: int, outcome: Outcome) -> None:
        self.known[row] = True
        self.after[row], self.frames[row], self.seconds[row] = outcome.bytes, outcome.frames, outcome.seconds
        self.reasons.pop(row, None)
        self.lost.discard(row)
        self.damaged.pop(row, None)
        if outcome.reason:
            self.reasons[row] = outcome.reason
        if outcome.lost:
            self.lost.add(row)
        if outcome.damaged:
            self.damaged[row] = outcome.damaged

    @staticmethod
    def _report(progress: ProgressCallback | None, done: int, total: int) -> None:
        if progress is not None:
            progress(done, total)


def _reencode(job: _Job) -> Encoded:
    return transcode(job.source, job.target, job.temporary, job.encoding)


def _part_of(source: str, parts: int) -> int:
    """Return the number of a source's part, from 1."""
    return zlib.crc32(os.fsencode(source)) % parts + 1


def _stat(path: Path) -> tuple[int, int]:
    """Return size and modification time in nanoseconds; -1 for a missing file."""
    try:
        facts = path.stat()
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns
