"""What a run writes down: ``log.jsonl``, ``bad_videos.jsonl`` and TensorBoard's files."""

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

# Fields of a line that depend on the machine and the moment, and so differ between runs that are otherwise equal.
TIMING = ("seconds", "clips_per_second", "data_wait", "peak_memory_gb")


class StepLines:
    """A file of one record per line, each with a ``step``.

    Args:
        path: The file; made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write records that are on their way to the disk when this returns.

        Raises:
            UserError: They cannot be written.
        """
        try:
            JsonLines(self.path).append(_finite(record) for record in records)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error

    def read(self) -> list[Record]:
        """All whole records."""
        return list(JsonLines(self.path).read())

    def rewind(self, step: int, going_on: bool = True, in_epochs_end: bool = False) -> None:
        """Forget what was written after ``step``, all at once or not at all.

        Lines of intervals that an early end cut short ("partial") go as well if the run is going on to complete them,
        and so does the line of the epoch that ends with ``step`` if it is to be written again.
        """
        if not self.path.exists():
            return

        def is_kept(record: Record) -> bool:
            again = in_epochs_end and record["step"] == step and record.get("kind") == "epoch"
            return record["step"] <= step and not again and not (going_on and record.get("partial"))

        kept = [record for record in self.read() if is_kept(record)]
        with replacing(self.path) as temporary:
            temporary.touch()
            StepLines(temporary).append(kept)


def _finite(record: Mapping[str, Any]) -> Record:
    """JSON knows no NaN: what is not finite becomes null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()
    }


class RunLogger:
    """The written record of a run; for the main process.

    Args:
        directory: The run's output directory; made if need be.
        tensorboard: Where TensorBoard's files go; None for no such files.

    Attributes:
        log: ``log.jsonl``, a line per logging step and per epoch.
        bad_videos: ``bad_videos.jsonl``, a line per video that could not be used.

    Raises:
        UserError: If the directory cannot be written, or TensorBoard cannot use the name of its own.
    """

    def __init__(self, directory: str | Path, tensorboard: str | Path | None = None) -> None:
        self.directory = Path(directory)
        if tensorboard is not None and not is_utf8(str(tensorboard)):
            raise UserError(
                f"{tensorboard}: TensorBoard cannot write there: expected a name in UTF-8 for --output_dir or --log_dir"
            )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # Nameless, since several ranks try at the same time.
            tempfile.TemporaryFile(dir=self.directory).close()
        except OSError as error:
            raise UserError(f"--output_dir {directory}: cannot be written: {error.strerror}") from error
        self.log = StepLines(self.directory / "log.jsonl")
        self.bad_videos = StepLines(self.directory / "bad_videos.jsonl")
        self._tensorboard_directory = tensorboard
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None

    def rewind(self, step: int, going_on: bool = True, in_epochs_end: bool = False) -> None:
        """Go back to the state after ``step``: what a run wrote beyond its checkpoint will be written again.

        With ``in_epochs_end`` the epoch's line of that step is written again, too.
        """
        self.log.rewind(step, going_on, in_epochs_end)
        self.bad_videos.rewind(step)
        self._purge_step = step + 1

    def write(self, record: Record) -> None:
        """Write one line of the log, and its numbers to TensorBoard.

        Args:
            record: With "kind" ("step" or "epoch"), "step" (completed steps) and "epoch"; numbers under any other name.
        """
        self.log.append([record])
        if self.tensorboard is not None:
            for name, value in record.items():
                if name not in ("kind", "step", "epoch", "partial") and isinstance(value, (int, float)):
                    self.tensorboard.add_scalar(f"{record['kind']}/{name}", value, record["step"])

    @property
    def tensorboard(self) -> SummaryWriter | None:
        """TensorBoard's writer, opened when it is first wanted."""
        if self._writer is None and self._tensorboard_directory is not None:
            from adamae.training.event_files import EventFiles

            self._writer = EventFiles(self._tensorboard_directory, self._purge_step)
        return self._writer

    def flush(self) -> None:
        """Let TensorBoard's files catch up, before a checkpoint says that so much has been done."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Finish TensorBoard's files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
