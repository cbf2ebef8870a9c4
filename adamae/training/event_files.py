"""TensorBoard's event files, whose errors are ours to report: its thread prints a traceback and goes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from adamae.errors import UserError


class EventFiles(SummaryWriter):
    """A ``SummaryWriter`` that raises a UserError where its files cannot be written.

    A thread writes them, so the error comes with a later call. What we do not call stays as TensorBoard has it.

    Args:
        directory: Where the files go; made if need be.
        purge_step: See ``SummaryWriter``.

    Raises:
        UserError: The directory or the file cannot be made.
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
        """What ended TensorBoard's thread is raised again by our next call."""
        if not type(failure.thread).__module__.startswith("tensorboard."):
            self._usual_hook(failure)
