"""Log files of a run: ``log.jsonl``, ``bad_videos.jsonl`` and TensorBoard's event files."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamae.errors import UserError
from adamae.files import replacing
from adamae.json_lines import JsonLines
from adamae.plain_text import is_utf8

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Record = dict[str, Any]

# Fields that depend on the machine and the time, and differ between otherwise equal runs.
TIMING = ("seconds", "clips_per_second", "data_wait", "peak_memory_gb")


class StepLines:
    """A file of one record per line, each with a ``step``.

    Args:
        path: The file; created with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append records and flush them to the disk.

        Raises:
            UserError: If the file cannot be written.
        """
        try:
            JsonLines(self.path).append(_finite(record) for record in records)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error

    def read(self) -> list[Record]:
        """Return all complete records.

        Raises:
            UserError: If the file cannot be read.
        """
        try:
            return list(JsonLines(self.path).read())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from error

    def rewind(self, step: int, run_continues: bool = True, epoch_log_pending: bool = False) -> None:
        """Remove the records after ``step``, atomically.

        Lines of intervals that were cut short by an early end ("partial") are also removed if the run continues and
        will complete them, and so is the line of the epoch that ends at ``step`` if it will be written again.

        Raises:
            UserError: If the file cannot be read or written; it is then unchanged.
        """

        def is_kept(record: Record) -> bool:
            again = epoch_log_pending and record["step"] == step and record.get("kind") == "epoch"
            return record["step"] <= step and not again and not (run_continues and record.get("partial"))

        kept = [_finite(record) for record in self.read() if is_kept(record)]
        try:
            if self.path.exists():
                with replacing(self.path) as temporary:
                    temporary.touch()
                    JsonLines(temporary).append(kept)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error


def _finite(record: Mapping[str, Any]) -> Record:
    """Replace non-finite values by null, because JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()
    }


class RunLogger:
    """Log files of a run; used by the main process.

    Args:
        directory: The run's output directory; created if missing.
        tensorboard: Directory of TensorBoard's files; None for no such files.

    Attributes:
        log: ``log.jsonl``, with a line per logging step and per epoch.
        bad_videos: ``bad_videos.jsonl``, with a line per video that could not be used.

    Raises:
        UserError: If the directory cannot be written, or TensorBoard does not support its name.
    """

    def __init__(self, directory: str | Path, tensorboard: str | Path | None = None) -> None:
        self.directory = Path(directory)
        if tensorboard is not None and not is_utf8(str(tensorboard)):
            raise UserError(
                f"{tensorboard}: TensorBoard cannot write there: expected a name in UTF-8 for --output_dir or --log_dir"
            )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # An unnamed file, because several ranks may check at the same time.
            tempfile.TemporaryFile(dir=self.directory).close()
        except OSError as error:
            raise UserError(f"--output_dir {directory}: cannot be written: {error.strerror}") from error
        self.log = StepLines(self.directory / "log.jsonl")
        self.bad_videos = StepLines(self.directory / "bad_videos.jsonl")
        self._tensorboard_directory = tensorboard
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None

    def rewind(self, step: int, run_continues: bool = True, epoch_log_pending: bool = False) -> None:
        """Restore the state after ``step``: everything after the checkpoint will be written again.

        With ``epoch_log_pending`` the epoch's line of that step will be written again as well.
        """
        self.log.rewind(step, run_continues, epoch_log_pending)
        self.bad_videos.rewind(step)
        self._purge_step = step + 1

    def write(self, record: Record, provisional: bool = False) -> None:
        """Write one line to the log and its numbers to TensorBoard.

        Args:
            record: "kind" ("step" or "epoch"), "step" (completed steps), "epoch", and numbers under any other name.
            provisional: Whether the line is removed if the run goes on. Such lines are left out of TensorBoard, where
                a single point cannot be removed.
        """
        self.log.append([record])
        if not provisional and self.tensorboard is not None:
            for name, value in record.items():
                if name not in ("kind", "step", "epoch", "partial") and isinstance(value, (int, float)):
                    self.tensorboard.add_scalar(f"{record['kind']}/{name}", value, record["step"])

    @property
    def tensorboard(self) -> SummaryWriter | None:
        """TensorBoard's writer, opened on first use."""
        if self._writer is None and self._tensorboard_directory is not None:
            from adamae.training.event_files import EventFiles

            self._writer = EventFiles(self._tensorboard_directory, self._purge_step)
        return self._writer

    def flush(self) -> None:
        """Flush TensorBoard's files, so that they are not behind a checkpoint."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Close TensorBoard's files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
