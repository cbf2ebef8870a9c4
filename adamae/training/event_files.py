"""TensorBoard's event files, with write errors reported as UserError."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from adamae.errors import UserError


class EventFiles(SummaryWriter):
    """A ``SummaryWriter`` that raises a UserError if its files cannot be written.

    TensorBoard writes them in a thread, so the error is raised by a later call. Only the methods that this project
    calls are overridden.

    Args:
        directory: Directory of the files; created if missing.
        purge_step: See ``SummaryWriter``.

    Raises:
        UserError: If the directory or the file cannot be created.
    """

    def __init__(self, directory: str | Path, purge_step: int | None = None) -> None:
        self._directory = directory
        self._usual_hook = threading.excepthook
        threading.excepthook = self._hook
        try:
            with self._reported():
                super().__init__(str(directory), purge_step=purge_step)
        except UserError:
            threading.excepthook = self._usual_hook
            raise

    def add_scalar(self, *arguments: Any, **named: Any) -> None:
        """See ``SummaryWriter``."""
        with self._reported():
            super().add_scalar(*arguments, **named)

    def add_image(self, *arguments: Any, **named: Any) -> None:
        """See ``SummaryWriter``."""
        with self._reported():
            super().add_image(*arguments, **named)

    def add_histogram(self, *arguments: Any, **named: Any) -> None:
        """See ``SummaryWriter``."""
        with self._reported():
            super().add_histogram(*arguments, **named)

    def flush(self) -> None:
        """See ``SummaryWriter``."""
        with self._reported():
            super().flush()

    def close(self) -> None:
        """See ``SummaryWriter``."""
        threading.excepthook = self._usual_hook
        with self._reported():
            super().close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._directory}: TensorBoard's event files cannot be written: {error.strerror or error}"
            ) from error

    def _hook(self, failure: threading.ExceptHookArgs) -> None:
        """Suppress the traceback of TensorBoard's thread; its error is raised again by our next call."""
        if not type(failure.thread).__module__.startswith("tensorboard."):
            self._usual_hook(failure)
