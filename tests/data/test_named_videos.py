"""What a person names on the command line: files, folders, lists and shards, alone and together."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from adamae.data.named_videos import load_named
from adamae.errors import UserError
from adamae.files import check_writable
from tests.data.conftest import encode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes with a video each, a list of one of them, and a folder of pictures."""
    encode(tmp_path / "set" / "a" / "1.mp4", 2)
    encode(tmp_path / "set" / "b" / "2.mp4", 2)
    (tmp_path / "set" / "odd").write_bytes((tmp_path / "set" / "a" / "1.mp4").read_bytes())
    (tmp_path / "list.txt").write_text("set/b/2.mp4 7\n")
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (20, 16)).save(tmp_path / "frames" / "img_00001.jpg")
    return tmp_path


def found(*given: Path, **options: str) -> list[tuple[str, int]]:
    videos = load_named([str(place) for place in given], **options)
    return [(videos.path(row), int(videos.labels[row])) for row in range(len(videos))]


def test_each_kind_alone(folder: Path) -> None:
    a, b = str(folder / "set" / "a" / "1.mp4"), str(folder / "set" / "b" / "2.mp4")
    assert found(Path(a)) == [(a, -1)]
    assert found(folder / "set") == [(a, 0), (b, 1)]
    assert found(folder / "list.txt") == [(b, 7)]
    assert found(folder / "frames") == [(str(folder / "frames"), -1)]
    # By its bytes, as its name does not tell.
    assert found(folder / "set" / "odd") == [(str(folder / "set" / "odd"), -1)]
    # That a single video is not there is found out by opening it, so that the others are looked at.
    assert found(folder / "gone.mp4") == [(str(folder / "gone.mp4"), -1)]


def test_several_keep_their_order(folder: Path) -> None:
    a, b = str(folder / "set" / "a" / "1.mp4"), str(folder / "set" / "b" / "2.mp4")
    assert found(Path(b), folder / "set", folder / "list.txt") == [(b, -1), (a, -1), (b, -1), (b, -1)]
    # Where labels mean the same, they stay.
    assert found(folder / "list.txt", folder / "list.txt") == [(b, 7), (b, 7)]
    assert found(folder / "set", folder / "set") == [(a, 0), (b, 1)] * 2


def test_a_root_for_lists(folder: Path) -> None:
    (folder / "bare.csv").write_text("2.mp4\n")
    inside = folder / "set" / "b"
    assert found(folder / "bare.csv", data_root=str(inside)) == [(str(inside / "2.mp4"), -1)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("none.csv",), "none.csv: no such list or folder"),
        (("frames", "x/{0..1}.tar"), "{0..1}.tar: shards cannot be combined with other inputs"),
        (("empty",), "empty: no video or image in this folder or below it"),
    ],
)
def test_what_is_not_there(folder: Path, given: tuple[str, ...], message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UserError) as raised:
        load_named([str(folder / place) for place in given])
    assert message in str(raised.value)


def test_what_can_be_written_is_known_before_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "below" / "x.npz")
    check_writable(tmp_path / "new" / "below", folder=True)
    check_writable(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for path, folder, reason in (
        (tmp_path / "file", True, "Not a directory"),
        (tmp_path / "file" / "x.npz", False, "Not a directory"),
        (tmp_path, False, "Is a directory"),
        (Path("/proc/none/x"), False, ""),
    ):
        with pytest.raises(UserError, match=rf"^{path}: cannot be written \({reason}"):
            check_writable(path, folder=folder)
