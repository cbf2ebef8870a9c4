"""Files are whole or not there, and a damaged .npz file raises one error, whatever byte it is that changed."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

from adamae.errors import UserError
from adamae.files import (
    LONGEST_NAME,
    TEMPORARY_PREFIX,
    DamagedNpzError,
    begin,
    begun,
    cut_name,
    flush,
    is_begun,
    publish,
    read_npz,
    write_whole,
)

# Places in a zip file's central directory, counted from an entry's first byte.
VERSION, FLAGS, METHOD = 6, 8, 10


@pytest.fixture
def whole() -> bytes:
    file = io.BytesIO()
    np.savez(file, counts=np.arange(7), name=np.array("pyav"))
    return file.getvalue()


def test_whole(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "whole.npz"
    path.write_bytes(whole)
    arrays = read_npz(path)
    assert arrays.keys() == {"counts", "name"} and str(arrays["name"]) == "pyav"
    np.testing.assert_array_equal(arrays["counts"], np.arange(7))


@pytest.mark.parametrize(
    ("place", "value"),
    [(VERSION, 169), (FLAGS, 1), (METHOD, 99)],
    ids=["a zip of another version", "said to be encrypted", "packed in an unknown way"],
)
def test_an_entry_that_lies(whole: bytes, place: int, value: int, tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    damaged = bytearray(whole)
    damaged[whole.index(b"PK\x01\x02") + place] = value
    path.write_bytes(damaged)
    with pytest.raises(DamagedNpzError):
        read_npz(path)


def test_any_few_bytes(whole: bytes, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "damaged.npz"
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(len(damaged), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged[: rng.integers(len(damaged))] if rng.integers(2) else damaged))
        try:
            arrays = read_npz(path)
        except DamagedNpzError:
            continue
        # Bytes that mean nothing, or names: values are guarded by the file's own sums.
        assert all(np.array_equal(array, np.arange(7)) or str(array) == "pyav" for array in arrays.values())


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", np.arange(3))
    np.savez(tmp_path / "pickled.npz", thing=np.array([{}], dtype=object))
    (tmp_path / "empty.npz").touch()
    for name in ("one.npy", "pickled.npz", "empty.npz"):
        with pytest.raises(DamagedNpzError):
            read_npz(tmp_path / name)


def test_what_goes_by_the_suffix_can_write_to_the_temporary_path(tmp_path: Path) -> None:
    publish(tmp_path / "new" / "a.npz", lambda path: np.savez(path, a=np.arange(3)))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]
    assert read_npz(tmp_path / "new" / "a.npz")["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("suffix", ["", ".npz", "." + "x" * 99])
def test_a_name_as_long_as_names_can_be(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / ("n" * (LONGEST_NAME - len(suffix)) + suffix)
    write_whole(path, b"content")
    assert [(entry, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(path, b"content")]


def test_what_is_cut_off_a_name_are_whole_characters() -> None:
    assert [cut_name("aé€", most) for most in range(8)] == ["", "a", "a", "aé", "aé", "aé", "aé€", "aé€"]
    # A byte that is no UTF-8 counts as one.
    assert cut_name("a\udcff", 2) == "a\udcff"


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def fails(path: Path) -> None:
        path.write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(UserError, match=r"a\.txt: cannot be written \(No space left on device\)"):
        publish(tmp_path / "a.txt", fails)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_folder_goes_on_with_the_options_it_was_begun_with(tmp_path: Path) -> None:
    begin(tmp_path / "out", "work.json", {"size": 3})
    (tmp_path / "out" / "result").touch()
    begin(tmp_path / "out", "work.json", {"size": 3})
    with pytest.raises(UserError, match=r"was started with size = 3, got size = 4"):
        begin(tmp_path / "out", "work.json", {"size": 4})
    with pytest.raises(UserError, match=r"contains no other.json: expected a new or empty folder"):
        is_begun(tmp_path / "out", "other.json", {})


def test_one_process_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    with begun(tmp_path / "out", "about.json", {"size": 3}):
        (tmp_path / "out" / f"{TEMPORARY_PREFIX}half").touch()
        with (
            pytest.raises(UserError, match="out: another process writes to it; wait until it ends"),
            begun(tmp_path / "out", "about.json", {"size": 3}),
        ):
            pass
        assert (tmp_path / "out" / f"{TEMPORARY_PREFIX}half").exists()
    with begun(tmp_path / "out", "about.json", {"size": 3}):
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["about.json"]


def test_two_processes_that_begin_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one replaces the file of options after the first has opened it."""
    place = tmp_path / "out" / "about.json"

    def lock_late(file: object) -> bool:
        write_whole(place, place.read_bytes())
        return True

    monkeypatch.setattr("adamae.files.lock", lock_late)
    with pytest.raises(UserError, match="another process writes to it"), begun(tmp_path / "out", place.name, {}):
        pass


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EIO])
def test_a_file_system_that_cannot_flush_directories(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=os.strerror(number)):
        flush(tmp_path / "file")
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(number)):
            flush(tmp_path)
    else:
        flush(tmp_path)
