"""List files and folders: what is understood, and what is said about the rest."""

from pathlib import Path

import numpy as np
import pytest

from adamae.data.annotations import Annotations, load_annotations, read_list, scan_folder
from adamae.errors import UserError


def write(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(annotations: Annotations) -> list[tuple[str, int]]:
    paths = [annotations.path(row) for row in range(len(annotations))]
    return [(str(Path(path).relative_to(annotations.root)), int(annotations.labels[i])) for i, path in enumerate(paths)]


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4 3\nb/c.mp4 0\n",
        "a.mp4,3\nb/c.mp4,0\n",
        "a.mp4\t3\nb/c.mp4\t0",
        "path label\na.mp4 3\nb/c.mp4 0\n",
        "label,video_path\n3,a.mp4\n0,b/c.mp4\n",
        "Video\tframes\tClass\na.mp4\t120\t3\nb/c.mp4\t80\t0\n",
        "a.mp4,3,x,y\nb/c.mp4,0,,z\n",
        "\n  \na 3\n\nb/c 0\n",
        "a.mp4 3\r\nb/c.mp4 0\r\n",
        "\ufeffa.mp4 3\nb/c.mp4 0\n",
        '"a.mp4" 3\n"b/c.mp4" 0\n',
        '"a.mp4", 3\n"b/c.mp4", 0\n',
        "a.mp4  3 \n b/c.mp4   0\n",
    ],
)
def test_one_list_in_many_dresses(tmp_path: Path, text: str) -> None:
    found = read_list(write(tmp_path, text))
    assert rows(found) == [("a.mp4", 3), ("b/c.mp4", 0)]
    assert found.classes is None


def test_round_trip_of_random_lists(tmp_path: Path, rng: np.random.Generator) -> None:
    letters = np.array(list("abcXYZ019_-.,'()äß日 "))
    for _ in range(30):
        names = ["".join(rng.choice(letters, rng.integers(1, 12))).strip(" ,") for _ in range(rng.integers(1, 20))]
        paths = [f"d/{name}x.mp4" for name in names]
        labels = rng.integers(0, 400, len(paths)).tolist()
        delimiter = str(rng.choice([" ", ",", "\t"]))
        header = f"path{delimiter}label\n" if rng.integers(2) else ""
        lines = [f'"{path}"{delimiter}{label}' for path, label in zip(paths, labels, strict=True)]
        found = read_list(write(tmp_path, header + "\n".join(lines)))
        assert rows(found) == list(zip(paths, labels, strict=True))


def test_labels_may_be_missing_or_names_or_none(tmp_path: Path) -> None:
    assert rows(read_list(write(tmp_path, "a.mp4\nb.mp4\n"))) == [("a.mp4", -1), ("b.mp4", -1)]
    assert rows(read_list(write(tmp_path, "path\na.mp4\n"))) == [("a.mp4", -1)]
    assert rows(read_list(write(tmp_path, "a.mp4 -1\n"))) == [("a.mp4", -1)]
    named = read_list(write(tmp_path, "a.mp4,riding a bike\nb.mp4,archery\nc.mp4,riding a bike\n"))
    assert named.classes == ("archery", "riding a bike")
    assert named.labels.tolist() == [1, 0, 1]
    known = ["riding a bike", "other", "archery"]
    assert read_list(write(tmp_path, "a.mp4,archery\n"), classes=known).labels.tolist() == [2]


def test_paths_are_relative_to_the_list_or_the_root(tmp_path: Path) -> None:
    place = write(tmp_path, "a.mp4 0\n/abs/b.mp4 1\nc 2\nd.e/f 3\n")
    found = read_list(place)
    assert [found.path(i) for i in range(4)] == [
        f"{tmp_path}/a.mp4", "/abs/b.mp4", f"{tmp_path}/c.mp4", f"{tmp_path}/d.e/f.mp4",
    ]  # fmt: skip
    assert read_list(place, data_root="/data").path(0) == "/data/a.mp4"


def test_names_that_are_not_utf8_come_back_byte_for_byte(tmp_path: Path) -> None:
    found = read_list(write(tmp_path, b"\xff\xe9.mp4 1\n"))
    assert found.path(0).encode("utf-8", "surrogateescape").endswith(b"/\xff\xe9.mp4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty"),
        ("\n \n", "the list is empty"),
        ("path label\n", "the list is empty"),
        ("a.mp4 0\nb.mp4\n", "list.csv:2: 1 columns, expected 2"),
        ("a.mp4,0\n\nb.mp4,0,1\n", "list.csv:3: 3 columns, expected 2"),
        ("a.mp4 0\nmy video.mp4 1\n", "list.csv:2: 3 columns"),
        ("my video.mp4\n", "list.csv:1: the label is 'video.mp4'"),
        ("a.mp4 0\nb.mp4 one\n", "list.csv:2: the label is 'one', expected a number"),
        ("a.mp4 one\nb.mp4 2\n", "list.csv:2: the label is 2, expected a name"),
        ("a.mp4 0\nb.mp4 -2\n", "list.csv:2: the label is -2"),
        ("a.mp4 0\nb.mp4 99999999999999999999\n", "list.csv:2: the label is '99999999999999999999'"),
        ("a.mp4,0\n,1\n", "list.csv:2: the path is empty"),
        ("a.mp4,0\nb.mp4,\n", "list.csv:2: the label is empty"),
        ('a.mp4,0\n"b.mp4,1\nc.mp4,2\n', "list.csv:2: "),
        ('a.mp4 0\n"b c.mp4 1\n', "list.csv:2: 3 columns"),
        (b"\0\1\2", "not a text file"),
        pytest.param(
            '\n["' + 140_000 * "x" + '"]\n',
            "list.csv:2: field larger than field limit (131072), expected a list with one video or image per line",
            id="long field",
        ),
    ],
)
def test_a_bad_list_is_named_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError) as raised:
        read_list(write(tmp_path, text))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_classes_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"list\.csv:2: the class 'c' is not among the 2 known ones"):
        read_list(write(tmp_path, "x.mp4 a\ny.mp4 c\n"), classes=["a", "b"])
    with pytest.raises(UserError, match=r"list\.csv:2: the label is 2, expected less than 2"):
        read_list(write(tmp_path, "x.mp4 0\ny.mp4 2\n"), classes=["a", "b"])


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: no such list or folder"):
        load_annotations(tmp_path / "none.csv")
    with pytest.raises(UserError, match="no video or image in this folder"):
        load_annotations(tmp_path)
    with pytest.raises(UserError, match="this is a video, expected a list"):
        load_annotations(write(tmp_path, b"\0", "x.mp4"))
    with pytest.raises(UserError, match=r"none of the first 2 paths exists, for example .*a\.mp4"):
        load_annotations(write(tmp_path, "a.mp4 0\nb.mp4 1\n"))


def test_folders(tmp_path: Path) -> None:
    for name in ("b/2.mp4", "a/deep/1.AVI", "b/.hidden.mp4", "b/2.moving.npz", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = scan_folder(tmp_path)
    assert rows(found) == [("a/deep/1.AVI", 0), ("b/2.mp4", 1)]
    assert found.classes == ("a", "b")
    with pytest.raises(UserError, match="the class 'b' is not among"):
        scan_folder(tmp_path, classes=["a"])
    (tmp_path / "0.webm").touch()
    assert rows(load_annotations(tmp_path)) == [("0.webm", -1), ("a/deep/1.AVI", -1), ("b/2.mp4", -1)]
    write(tmp_path, "b/2.mp4 7\n", "train.csv")
    assert rows(load_annotations(tmp_path)) == [("b/2.mp4", 7)]


def test_half_a_million_rows_are_small(tmp_path: Path) -> None:
    """The full size takes two seconds; a tenth of it shows the same sizes."""
    place = write(
        tmp_path, "\n".join(f"videos/class_{i % 174}/a_rather_long_name_{i:09d}.mp4 {i % 174}" for i in range(50_000))
    )
    found = read_list(place)
    assert found.path(49_999).endswith("class_61/a_rather_long_name_000049999.mp4")
    held = len(found.names.data) + found.names.ends.nbytes + found.labels.nbytes
    assert held < 50_000 * 80
