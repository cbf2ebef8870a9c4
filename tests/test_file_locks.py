"""Locks between processes, and systems without them."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from adamae.file_locks import lock


def test_who_may_lock(tmp_path: Path) -> None:
    place = tmp_path / "file"
    with place.open("w") as one, place.open("r+") as other:
        assert lock(one, shared=True) and lock(other, shared=True)
        assert not lock(one)
        assert lock(other, shared=True, wait=True)
    with place.open("w") as one:
        assert lock(one)
        with place.open("r+") as other:
            assert not lock(other) and not lock(other, shared=True)
    with place.open("r+") as other:
        assert lock(other, wait=True)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO, errno.EBADF])
def test_a_file_system_that_does_not_lock(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (tmp_path / "file").open("w") as file:
        if number in (errno.EIO, errno.EBADF):
            with pytest.raises(OSError, match=os.strerror(number)):
                lock(file)
        else:
            assert lock(file)


def test_without_fcntl_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with (tmp_path / "file").open("w") as one, (tmp_path / "file").open("w") as other:
        assert lock(one) and lock(other)
