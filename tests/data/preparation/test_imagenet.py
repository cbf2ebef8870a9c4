"""ImageNet as it is downloaded from several places, and image folders of a person's own: lists, and nothing encoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adamae.data.image_files import image_files_for
from adamae.data.preparation.mat_file import read_struct
from adamae.data.preparation.prepare import prepare
from adamae.data.preparation.report import Report
from adamae.data.splits import load_splits
from adamae.errors import UserError

# In an order that is not that of the official numbers.
CLASSES = ("n01440764", "n01443537", "n02119789")
NUMBERS = {1: "n02119789", 2: "n01443537", 3: "n01440764"}
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(root / name, "JPEG")
    return root


def training(*, before: str = "", inside: str = "") -> list[str]:
    return [f"{before}train/{name}/{inside}{name}_{number}.JPEG" for name in CLASSES for number in (18, 7)]


def flat(*, before: str = "", count: int = 4) -> list[str]:
    return [f"{before}val/ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, count + 1)]


def prepared(tmp_path: Path, **options: object) -> tuple[Report, dict[str, list[tuple[str, int]]]]:
    """The report, and name and label of each row of each list as fine-tuning reads them."""
    report = prepare("imagenet", tmp_path / "own", tmp_path / "out", **options)
    splits = load_splits(tmp_path / "out", image_files=image_files_for(1))
    assert splits.classes == CLASSES
    rows = {}
    for split in ("train", "val", "test"):
        images = getattr(splits, split)
        assert all(Path(images.path(row)).is_file() for row in range(len(images)))
        rows[split] = [(Path(images.path(row)).name, int(images.labels[row])) for row in range(len(images))]
    return report, rows


def test_class_folders(tmp_path: Path) -> None:
    root = make(tmp_path / "own", *training(), *(f"val/{name}/{name}_val.JPEG" for name in CLASSES))
    make(root, "val/n9/x.JPEG", "other/x.png", "train/x.png")
    report, rows = prepared(tmp_path)
    assert rows["train"] == [
        (f"{name}_{number}.JPEG", label) for label, name in enumerate(CLASSES) for number in (18, 7)
    ]
    assert rows["val"] == rows["test"] == [(f"{name}_val.JPEG", label) for label, name in enumerate(CLASSES)]
    assert [(one.kind, one.place) for one in report.problems] == [
        ("unknown_class", "val/n9/x.JPEG"), ("unlisted", "other/x.png"), ("unlisted", "train/x.png"),
    ]  # fmt: skip
    text = report.render(3)
    assert f"{report.done} of {report.planned} images ready" in text and "video" not in text
    assert report.notes[-1] == "images are listed as they are: adamae scan finds the broken ones"
    # Nothing was encoded, and the same call again changes nothing.
    assert not (tmp_path / "out" / "videos").exists()
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.csv")}
    prepared(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.csv")} == before


def test_kaggle(tmp_path: Path) -> None:
    before = "ILSVRC/Data/CLS-LOC/"
    root = make(
        tmp_path / "own", *training(before=before), *flat(before=before), f"{before}test/ILSVRC2012_test_00000001.JPEG"
    )
    lines = ["ImageId,PredictionString", "ILSVRC2012_val_00000003,n02119789 1 2 3 4 n02119789 5 6 7 8 "]
    lines += ["ILSVRC2012_val_00000001,n01443537 1 2 3 4 ", "ILSVRC2012_val_00000002,n01440764 1 2 3 4 "]
    (root / "LOC_val_solution.csv").write_text("\n".join(lines))
    (root / "LOC_train_solution.csv").write_text("ImageId,PredictionString\nn01440764_18,n01440764 1 2 3 4\n")
    (root / "ILSVRC" / "ImageSets" / "CLS-LOC").mkdir(parents=True)
    (root / "ILSVRC" / "ImageSets" / "CLS-LOC" / "val.txt").write_text("ILSVRC2012_val_00000001 1\n")
    report, rows = prepared(tmp_path)
    assert rows["val"] == [
        (f"ILSVRC2012_val_0000000{number}.JPEG", label) for number, label in ((1, 1), (2, 0), (3, 2))
    ]
    assert rows["test"] == rows["val"]
    unlabelled = (tmp_path / "out" / "unlabelled.csv").read_text().split()
    assert [Path(path).name for path in unlabelled] == ["ILSVRC2012_val_00000004.JPEG", "ILSVRC2012_test_00000001.JPEG"]
    assert [(one.kind, Path(one.place).name) for one in report.problems] == [
        ("no_label", "ILSVRC2012_val_00000004.JPEG")
    ]


def test_tiny_imagenet(tmp_path: Path) -> None:
    root = make(
        tmp_path / "own", *training(inside="images/"), *(f"val/images/val_{number}.JPEG" for number in range(3))
    )
    (root / "val" / "val_annotations.txt").write_text(
        "".join(f"val_{number}.JPEG\t{CLASSES[2 - number]}\t0\t32\t44\t62\n" for number in range(3))
    )
    _, rows = prepared(tmp_path)
    assert rows["val"] == [("val_0.JPEG", 2), ("val_1.JPEG", 1), ("val_2.JPEG", 0)]


def element(kind: int, content: bytes) -> bytes:
    """A data element of a MATLAB file; a small one in eight bytes."""
    if kind != 14 and 0 < len(content) <= 4:
        return struct.pack("<2H", kind, len(content)) + content.ljust(4, b"\0")
    return struct.pack("<2I", kind, len(content)) + content + bytes(-len(content) % 8)


def array(kind: int, shape: tuple[int, int], name: str, *parts: bytes) -> bytes:
    head = element(6, struct.pack("<2I", kind, 0)) + element(5, struct.pack("<2i", *shape)) + element(1, name.encode())
    return element(14, head + b"".join(parts))


def meta(numbers: dict[int, str]) -> bytes:
    """The struct of classes, as MATLAB stores it: small numbers as bytes, texts in 16 bits, all of it compressed."""
    fields = ("ILSVRC2012_ID", "WNID", "words", "children")
    names = b"".join(name.encode().ljust(32, b"\0") for name in fields)
    parts = [element(5, struct.pack("<i", 32)), element(1, names)]
    for number, wnid in numbers.items():
        words = f"fish {number}, Pîscis"
        parts += [
            array(
                6, (1, 1), "", element(2, bytes([number])) if number < 256 else element(4, struct.pack("<H", number))
            ),
            array(4, (1, len(wnid)), "", element(4, wnid.encode("utf-16-le"))),
            array(4, (1, len(words)), "", element(4, words.encode("utf-16-le"))),
            array(6, (0, 0), "", element(2, b"")),
        ]
    body = array(2, (len(numbers), 1), "synsets", *parts)
    other = array(6, (1, 2), "unrelated", element(9, struct.pack("<2d", 1, 2)))
    compressed = [struct.pack("<2I", 15, len(packed)) + packed for packed in map(zlib.compress, (other, body))]
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(compressed)


@pytest.mark.parametrize("table", ["meta.mat", "map_clsloc.txt"])
def test_the_official_ground_truth(tmp_path: Path, table: str) -> None:
    make(tmp_path / "own", *training(), *flat())
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    (kit / TRUTH).write_text("2\n3\n1\n2\n")
    with pytest.raises(UserError, match=rf"{TRUTH} without meta\.mat or map_clsloc\.txt in SRC or --annotations"):
        prepared(tmp_path, annotations=kit.parent)
    if table == "meta.mat":
        (kit / table).write_bytes(meta({**NUMBERS, 1001: "n00000001"}))
    else:
        (kit / table).write_text("".join(f"{wnid} {number} some_fish\n" for number, wnid in NUMBERS.items()))
    _, rows = prepared(tmp_path, annotations=kit.parent)
    assert [label for _, label in rows["val"]] == [1, 0, 2, 1]
    (kit / TRUTH).write_text("2\nx\n")
    with pytest.raises(UserError, match=rf"{TRUTH}:2: got 'x', expected the number of a class"):
        prepared(tmp_path, annotations=kit.parent)


def test_matlab_files_that_are_wrong(tmp_path: Path, rng: np.random.Generator) -> None:
    whole = meta(NUMBERS)
    path = tmp_path / "meta.mat"
    path.write_bytes(whole)
    assert read_struct(path, "synsets")[1] == {
        "ILSVRC2012_ID": 2.0, "WNID": "n01443537", "words": "fish 2, Pîscis", "children": None,
    }  # fmt: skip
    with pytest.raises(UserError, match=r"meta\.mat: has no struct other"):
        read_struct(path, "other")
    cuts = [b"", b"text" * 99, whole[:140], *(whole[: int(cut)] for cut in rng.integers(129, len(whole) - 1, 20))]
    for content in cuts:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"meta\.mat: ") as raised:
            read_struct(path, "synsets")
        assert "\n" not in str(raised.value)


def test_what_is_no_imagenet(tmp_path: Path) -> None:
    make(tmp_path / "own", "a/1.JPEG", "b/2.JPEG")
    with pytest.raises(UserError, match="expected a folder train with a folder of images for each class in it"):
        prepared(tmp_path)
    make(tmp_path / "own", *training(), *flat())
    with pytest.raises(UserError, match=r"the images of val, for example val/ILSVRC2012_val_00000001\.JPEG, are in no"):
        prepared(tmp_path)


def test_own_image_folders(tmp_path: Path) -> None:
    make(tmp_path / "own", *(f"{kind}/{kind} {number}.JPG" for kind in ("cats", "dogs") for number in range(20)))
    report = prepare("folder", tmp_path / "own", tmp_path / "out")
    assert report.rows == {"train": 32, "val": 4, "test": 4}
    wanted = load_splits(tmp_path / "own", image_files="images")
    got = load_splits(tmp_path / "out", image_files="images")
    assert got.classes == wanted.classes == ("cats", "dogs")
    for split in ("train", "val", "test"):
        theirs, ours = getattr(wanted, split), getattr(got, split)
        names = [[Path(videos.path(row)).name for row in range(len(videos))] for videos in (theirs, ours)]
        assert names[0] == names[1] and ours.labels.tolist() == theirs.labels.tolist()


def test_images_beside_videos_are_no_data(tmp_path: Path) -> None:
    make(tmp_path / "own", "a/1.jpg", "b/2.jpg")
    for name in ("a/1.mp4", "b/2.mp4"):
        (tmp_path / "own" / name).write_bytes(b"x")
    report = prepare("folder", tmp_path / "own", tmp_path / "out", encoding=None)
    assert report.found == 2 and report.rows == {"train": 2}
