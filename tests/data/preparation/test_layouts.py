"""Every official layout, whole and malformed, becomes the right lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adamae.data.annotations import load_annotations
from adamae.data.decoding import get_decoder
from adamae.data.preparation.prepare import prepare
from adamae.data.preparation.transcoding import Encoding
from adamae.data.splits import load_splits
from adamae.errors import UserError
from tests.data.preparation.miniatures import HMDB51, K400, MINIATURES, SSV2, UCF101, Miniature, encode


def empty(path: Path, frames: int, codec: str) -> None:
    """In place of a video where none is opened."""
    path.write_bytes(b"x" * frames)


@pytest.mark.parametrize("layout", MINIATURES)
def test_an_official_layout_becomes_lists_and_videos(layout: str, tmp_path: Path) -> None:
    mini = MINIATURES[layout]
    source, out = mini.write(tmp_path / "download"), tmp_path / "out"
    report = prepare(layout, source, out, encoding=Encoding(short_side=32, gop=2))
    assert list(report.problems) == []
    for split in ("train", "val", "test"):
        wanted = mini.rows(split, "videos/", ".mp4").replace('"', "")
        wanted = "\n".join(row.rsplit(" ", 1)[0].replace(" ", "_") + f" {row[-1]}" for row in wanted.splitlines())
        assert (out / f"{split}.csv").read_text() == wanted + "\n"
    assert (out / "classes.txt").read_text().splitlines() == list(mini.classes)
    splits = load_splits(out)
    assert splits.classes == tuple(mini.classes)
    for name, frames in mini.videos.items():
        made = out / "videos" / Path(name.replace(" ", "_")).with_suffix(".mp4")
        if made.exists():
            with get_decoder("pyav")(str(made)) as video:
                assert video.num_frames == frames, name
                assert min(video.read([0]).shape[1:3]) == 32
    listed = {row.rsplit(" ", 1)[0] for rows in mini.lists.values() for row in rows}
    unlabelled = 2 if layout == "ssv2" else 0
    assert len(list(out.rglob("*.mp4"))) == len(listed) + unlabelled
    saved = json.loads((out / "report.json").read_text())
    assert saved["videos"]["found"] == len(mini.videos)
    assert saved["videos"]["done"] == len(listed) + unlabelled
    assert saved["lists"]["train"] == len(mini.lists["train"])
    assert saved["durations"]["frames"] == sum(
        frames for name, frames in mini.videos.items() if "D_brush_hair" not in name
    )
    assert saved["bytes"]["after"] == sum(path.stat().st_size for path in out.rglob("*.mp4"))


@pytest.mark.parametrize("layout", MINIATURES)
@pytest.mark.parametrize("paths", ["relative", "absolute"])
def test_lists_of_the_videos_as_they_are(layout: str, paths: str, tmp_path: Path) -> None:
    mini = MINIATURES[layout]
    source, out = mini.write(tmp_path / "down load", empty), tmp_path / "out"
    report = prepare(layout, source, out, encoding=None, paths=paths)
    assert list(report.problems) == []
    start = f"{tmp_path}/down load/" if paths == "absolute" else "../down load/"
    for split in ("train", "val", "test"):
        assert (out / f"{split}.csv").read_text() == mini.rows(split, start, None)
        rows = load_annotations(out, split=split)
        assert all(Path(rows.path(row)).is_file() for row in range(len(rows)))
    assert not list(out.rglob("*.mp4"))


def test_unlabelled_test_videos_have_a_list_of_their_own(tmp_path: Path) -> None:
    source = SSV2.write(tmp_path / "download", empty)
    report = prepare("ssv2", source, tmp_path / "out", encoding=None)
    rows = (tmp_path / "out" / "unlabelled.csv").read_text().split()
    assert [Path(row).name for row in rows] == ["31.webm", "32.webm"]
    assert any("test.csv is the same as val.csv" in note for note in report.notes)


def test_the_answers_label_the_test_videos(tmp_path: Path) -> None:
    source = SSV2.write(tmp_path / "download", empty)
    (source / "labels" / "test-answers.csv").write_text("31;Dropping something\n32;Lifting something onto something\n")
    prepare("ssv2", source, tmp_path / "out", encoding=None)
    rows = (tmp_path / "out" / "test.csv").read_text().splitlines()
    assert [row.rpartition("/")[2] for row in rows] == ["31.webm 2", "32.webm 0"]
    assert not (tmp_path / "out" / "unlabelled.csv").exists()


@pytest.mark.parametrize(("mini", "train", "test"), [(UCF101, "g01_c01", "g08_c01"), (HMDB51, "D_", "B_wave")])
def test_another_official_split(mini: Miniature, train: str, test: str, tmp_path: Path) -> None:
    source = mini.write(tmp_path / "download", empty)
    prepare(mini.layout, source, tmp_path / "out", encoding=None, split=2)
    for split, part in (("train", train), ("test", test)):
        (row,) = (tmp_path / "out" / f"{split}.csv").read_text().splitlines()
        assert part in row
    with pytest.raises(UserError, match=r"no file .*3.*\.txt below"):
        prepare(mini.layout, source, tmp_path / "other", encoding=None, split=3)


def test_label_files_may_lie_elsewhere(tmp_path: Path) -> None:
    source = UCF101.write(tmp_path / "download", empty)
    (source / "labels").rename(tmp_path / "lists")
    with pytest.raises(UserError, match=r"no file classInd\.txt below"):
        prepare("ucf101", source, tmp_path / "out", encoding=None)
    assert not (tmp_path / "out").exists()
    prepare("ucf101", source, tmp_path / "out", annotations=tmp_path / "lists", encoding=None)
    assert (tmp_path / "out" / "train.csv").is_file()


def test_the_results_may_lie_within_the_download(tmp_path: Path) -> None:
    source = K400.write(tmp_path / "download")
    for _ in range(2):
        report = prepare("k400", source, source / "prepared", encoding=Encoding(short_side=32))
        assert list(report.problems) == []
        assert report.found == len(K400.videos)


def test_kinetics_mends_broken_videos_by_a_folder(tmp_path: Path) -> None:
    source = K400.write(tmp_path / "download", empty)
    name = "aaaaaaaaaaa_000010_000020.mp4"
    (source / "replacement").mkdir()
    (source / "replacement" / name).write_bytes(b"better")
    (source / "val" / name).write_bytes(b"worse")
    (source / "train" / "riding_a_bike" / name).rename(source / "train" / name)
    report = prepare("k400", source, tmp_path / "out", encoding=None)
    first = (tmp_path / "out" / "train.csv").read_text().splitlines()[0]
    assert f"/replacement/{name}" in first
    assert sorted(problem.place for problem in report.problems.of_kind("duplicate")) == [f"train/{name}", f"val/{name}"]


def test_kinetics_lists_of_any_line_ends_beside_other_csv_files(tmp_path: Path) -> None:
    source = K400.write(tmp_path / "download", empty)
    lists = source / "labels"
    for name, text in (("train.csv", (lists / "train.csv").read_text()), ("notes.csv", "a\nmemo,why\n")):
        (lists / name).write_bytes(text.replace("\n", "\r").encode())
    (lists / "long.csv").write_text(140_000 * "x")
    report = prepare("k400", source, tmp_path / "out", encoding=None)
    assert list(report.problems) == []
    assert (tmp_path / "out" / "train.csv").read_text() == K400.rows("train", "../download/", None)


# What is done to a miniature -> the kind of problem, where it is told, and how many training rows are left.
Mutation = Callable[[Path], object]


def replaced(name: str, old: str, new: str) -> Mutation:
    def change(root: Path) -> None:
        text = (root / "labels" / name).read_text()
        assert old in text
        (root / "labels" / name).write_text(text.replace(old, new, 1))

    return change


def recoded(name: str, encoding: str, old: str = "", new: str = "") -> Mutation:
    def change(root: Path) -> None:
        text = (root / "labels" / name).read_text().replace(old, new, 1)
        (root / "labels" / name).write_bytes(text.encode(encoding))

    return change


def removed(name: str) -> Mutation:
    return lambda root: (root / name).unlink()


def added(name: str) -> Mutation:
    return lambda root: (root / name).write_bytes(b"x")


TRAIN = "something-something-v2-train.json"
CASES = {
    "ssv2 no template": (SSV2, replaced(TRAIN, '"template"', '"tmplate"'), "no_label", f"{TRAIN}:entry 1", 3),
    "ssv2 unknown class": (SSV2, replaced(TRAIN, "Dropping [", "Droping ["), "unknown_class", f"{TRAIN}:entry 3", 3),
    "ssv2 no annotation": (SSV2, added("20bn-something-something-v2/99.webm"), "unlisted", "99.webm", 4),
    "ssv2 no video": (SSV2, removed("20bn-something-something-v2/13.webm"), "missing", f"{TRAIN}:entry 3", 3),
    "ssv2 duplicate": (SSV2, replaced(TRAIN, '"14"', '"12"'), "duplicate", f"{TRAIN}:entry 4", 3),
    "k400 no label": (K400, replaced("train.csv", "riding a bike", ""), "no_label", "train.csv:2", 3),
    "k400 unknown class": (
        K400,
        replaced("validate.csv", "riding a bike", "riding a byke"),
        "unknown_class",
        "validate.csv:2",
        4,
    ),
    "k400 no annotation": (K400, added("train/air drumming/zzzzzzzzzzz.mp4"), "unlisted", "zzzzzzzzzzz.mp4", 4),
    "k400 no video": (K400, removed("train/air drumming/b_1_2222222.mp4"), "missing", "train.csv:3", 3),
    "k400 duplicate": (K400, replaced("train.csv", "ddddddddddd", "b_1_2222222"), "duplicate", "train.csv:5", 3),
    "k400 other folder": (
        K400,
        lambda root: (root / "train/air drumming/b_1_2222222.mp4").rename(root / "train/riding_a_bike/b_1_2222222.mp4"),
        "other_folder",
        "b_1_2222222.mp4",
        4,
    ),
    "ucf101 no label": (
        UCF101,
        replaced("trainlist01.txt", "c01.avi 1", "c01.avi"),
        "no_label",
        "trainlist01.txt:1",
        3,
    ),
    "ucf101 unknown class": (
        UCF101,
        replaced("trainlist01.txt", "Biking/", "Byking/"),
        "unknown_class",
        "trainlist01.txt:3",
        3,
    ),
    "ucf101 class twice": (UCF101, replaced("classInd.txt", "3 Biking", "3 Archery"), "duplicate", "classInd.txt:3", 3),
    "ucf101 no annotation": (UCF101, added("UCF-101/Biking/v_new.avi"), "unlisted", "v_new.avi", 4),
    "ucf101 no video": (
        UCF101,
        removed("UCF-101/Archery/v_Archery_g08_c02.avi"),
        "missing",
        "trainlist01.txt:4",
        3,
    ),
    "ucf101 duplicate": (UCF101, replaced("trainlist01.txt", "g08_c02", "g08_c01"), "duplicate", "list01.txt:4", 3),
    "hmdb51 no label": (
        HMDB51,
        replaced("wave_test_split1.txt", "B_wave_u.avi 1", "B_wave_u.avi"),
        "no_label",
        ":2",
        2,
    ),
    "hmdb51 no annotation": (HMDB51, added("wave/E.avi"), "unlisted", "wave/E.avi", 3),
    "hmdb51 no video": (HMDB51, removed("wave/B_wave_u.avi"), "missing", "wave_test_split1.txt:2", 2),
    "hmdb51 duplicate": (HMDB51, replaced("wave_test_split1.txt", "A_wave", "B_wave"), "duplicate", "split1.txt:2", 2),
}


# What is done to a label file -> the one error.
MALFORMED = {
    "ssv2 wrong entry": (
        SSV2,
        replaced(TRAIN, '"id": "12"', '"id" "12"'),
        r"train\.json:3: not valid JSON at column 7 \(Expecting ':' delimiter\), expected a list of objects",
    ),
    "ssv2 no id": (
        SSV2,
        replaced(TRAIN, '"id": "12"', '"name": "12"'),
        r"train\.json:entry 2: has name, label, template, placeholders, expected an id",
    ),
    "ssv2 no comma": (
        SSV2,
        replaced(TRAIN, "},\n", "}\n"),
        r"train\.json:3: not valid JSON at column 1 \(Expecting ',' delimiter\)",
    ),
    "ssv2 cut off": (SSV2, replaced(TRAIN, "\n]\n", ""), r"train\.json:5: not valid JSON"),
    "ssv2 cut within": (
        SSV2,
        replaced(TRAIN, '"placeholders": ["a cup"]}\n]\n', '"placeho'),
        r"train\.json:5: not valid JSON",
    ),
    "ssv2 latin-1": (
        SSV2,
        recoded(TRAIN, "latin-1", "a cup", "café"),
        r"train\.json:2: not UTF-8 text: byte 0xe9 at column \d+, expected UTF-8",
    ),
    "ssv2 utf-16": (
        SSV2,
        recoded(TRAIN, "utf-16"),
        r"train\.json:1: not UTF-8 text: byte 0xff at column 1, expected UTF-8",
    ),
    "ssv2 utf-16 without mark": (
        SSV2,
        recoded(TRAIN, "utf-16-le"),
        r"train\.json:1: not UTF-8 text: byte 0x00 at column 2, expected UTF-8",
    ),
    "ssv2 number of a class": (
        SSV2,
        replaced("something-something-v2-labels.json", '"2"', '"two"'),
        r"labels\.json:entry 3: the class 'Dropping something' has the number 'two', expected 0",
    ),
    "k400 columns": (
        K400,
        replaced("train.csv", "drumming,110,100", "drumming,110"),
        r"train\.csv:3: 4 columns, expected 5 as in the header",
    ),
    "k400 time": (
        K400,
        replaced("train.csv", "110,100", "110,soon"),
        r"train\.csv:3: time_start and time_end are 'soon' and '110', expected seconds",
    ),
    "k400 split": (
        K400,
        replaced("train.csv", "train,b_", "trian,b_"),
        r"train\.csv:3: the split is 'trian', expected train, val or test",
    ),
    "k400 long field": (
        K400,
        replaced("train.csv", "air drumming", 140_000 * "x"),
        r"train\.csv:3: field larger than field limit \(131072\), expected 5 columns as in the header",
    ),
    "k400 no id": (K400, replaced("train.csv", "aaaaaaaaaaa", ""), r"train\.csv:2: the youtube_id is empty"),
    "k400 latin-1": (
        K400,
        recoded("train.csv", "latin-1", "ddddddddddd,air", "ddddddddddd,á"),
        r"train\.csv:5: not UTF-8 text: byte 0xe1",
    ),
    "k400 utf-16": (K400, recoded("train.csv", "utf-16"), r"train\.csv:1: not UTF-8 text: byte 0xff at column 1"),
    "ucf101 wrong label": (
        UCF101,
        replaced("trainlist01.txt", "avi 2", "avi 3"),
        r"trainlist01\.txt:2: the number is '3', expected 2, that of BabyCrawling",
    ),
    "ucf101 no class": (
        UCF101,
        replaced("classInd.txt", "3 Biking", "Biking"),
        r"classInd\.txt:3: got 'Biking', expected NUMBER CLASS",
    ),
    "ucf101 no name": (
        UCF101,
        replaced("trainlist01.txt", "Biking/v_Biking_g08_c01.avi 3", "?"),
        r"trainlist01\.txt:3: got '\?', expected CLASS/VIDEO\.avi",
    ),
    "ucf101 latin-1": (
        UCF101,
        recoded("trainlist01.txt", "latin-1", "Baby", "Bäby"),
        r"trainlist01\.txt:2: not UTF-8 text: byte 0xe4",
    ),
    "ucf101 utf-16": (UCF101, recoded("trainlist01.txt", "utf-16"), r"trainlist01\.txt:1: not UTF-8 text: byte 0xff"),
    "hmdb51 wrong label": (
        HMDB51,
        replaced("wave_test_split1.txt", "avi 1", "avi 3"),
        r"wave_test_split1\.txt:2: the number of B_wave_u is '3', expected 0, 1 or 2",
    ),
    "hmdb51 no name": (
        HMDB51,
        replaced("wave_test_split1.txt", "A_wave_u.avi 2", "2"),
        r"wave_test_split1\.txt:1: got '2', expected VIDEO\.avi NUMBER",
    ),
    "hmdb51 latin-1": (
        HMDB51,
        recoded("wave_test_split1.txt", "latin-1", "B_", "ß_"),
        r"wave_test_split1\.txt:2: not UTF-8 text: byte 0xdf",
    ),
    "ssv2 no list": (
        SSV2,
        lambda root: (root / "labels" / TRAIN).write_text("{}"),
        r"train\.json:1: got an object that is",
    ),
    "ssv2 no object": (
        SSV2,
        replaced(TRAIN, "[\n", "[3,\n"),
        r"train\.json:entry 1: got a number, expected a JSON object",
    ),
    "ssv2 answers": (
        SSV2,
        lambda root: (root / "labels" / "test-answers.csv").write_text("31;Dropping something\n32\n"),
        r"test-answers\.csv:2: got '32', expected ID;TEMPLATE",
    ),
    "ssv2 labels": (
        SSV2,
        replaced("something-something-v2-labels.json", ":", ""),
        r"labels\.json:2: not valid JSON at",
    ),
    "ssv2 labels in a list": (
        SSV2,
        lambda root: (root / "labels" / "something-something-v2-labels.json").write_text('["Dropping something"]'),
        r"labels\.json:1: got a list, expected a JSON object",
    ),
}


@pytest.mark.parametrize(("mini", "change", "kind", "place", "left"), CASES.values(), ids=CASES)
def test_what_does_not_fit_is_reported_and_the_rest_is_prepared(
    mini: Miniature, change: Mutation, kind: str, place: str, left: int, tmp_path: Path
) -> None:
    source = mini.write(tmp_path / "download", empty)
    change(source)
    report = prepare(mini.layout, source, tmp_path / "out", encoding=None)
    assert any(problem.place.endswith(place) for problem in report.problems.of_kind(kind))
    assert report.rows.get("train", 0) == left
    saved = json.loads((tmp_path / "out" / "report.json").read_text())
    assert saved["videos"][kind] >= 1
    assert place in (tmp_path / "out" / "report.txt").read_text()


@pytest.mark.parametrize(("mini", "change", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_label_file_is_one_line(mini: Miniature, change: Mutation, message: str, tmp_path: Path) -> None:
    source = mini.write(tmp_path / "download", empty)
    change(source)
    with pytest.raises(UserError, match=message) as raised:
        prepare(mini.layout, source, tmp_path / "out", encoding=None)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mini", "change", "message"),
    [
        (SSV2, removed("labels/something-something-v2-labels.json"), r"no file \*labels\.json below"),
        (K400, lambda root: [path.unlink() for path in root.rglob("*.csv")], "no CSV file with a column youtube_id"),
        (K400, lambda root: [path.unlink() for path in root.rglob("*.m??")], "no video or image in this folder"),
        (UCF101, removed("labels/testlist01.txt"), r"no file testlist01\.txt"),
        (HMDB51, lambda root: [path.unlink() for path in root.rglob("*1.txt")], r"no file \*_test_split1\.txt"),
        (HMDB51, lambda root: (root / "wave").rename(root / ".wave"), ""),
    ],
)
def test_what_cannot_be_prepared_is_one_line(mini: Miniature, change: Mutation, message: str, tmp_path: Path) -> None:
    source = mini.write(tmp_path / "download", empty)
    change(source)
    if not message:
        assert prepare(mini.layout, source, tmp_path / "out", encoding=None).rows["train"] == 2
        return
    with pytest.raises(UserError, match=message) as raised:
        prepare(mini.layout, source, tmp_path / "out", encoding=None)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_two_rows_of_one_recording_without_its_time(tmp_path: Path) -> None:
    source = K400.write(tmp_path / "download", empty)
    listed = source / "labels" / "train.csv"
    listed.write_text(listed.read_text() + "train,b_1_2222222,riding a bike,210,200\n")
    report = prepare("k400", source, tmp_path / "out", encoding=None)
    (problem,) = report.problems
    assert (problem.kind, problem.place.endswith("train.csv:6")) == ("duplicate", True)
    assert report.rows["train"] == 4


def test_a_broken_video_is_left_out_of_the_lists(tmp_path: Path) -> None:
    source = UCF101.write(tmp_path / "download")
    (source / "UCF-101/Biking/v_Biking_g08_c01.avi").write_bytes(b"no video" * 100)
    report = prepare("ucf101", source, tmp_path / "out", encoding=Encoding(short_side=32))
    (problem,) = report.problems
    assert (problem.kind, problem.place) == ("broken", "UCF-101/Biking/v_Biking_g08_c01.avi")
    assert report.rows == {"train": 3, "val": 2, "test": 2}
    assert "Biking_g08" not in (tmp_path / "out" / "train.csv").read_text()
    assert report.as_dict()["classes"]["without_training_video"] == ["Biking"]


def test_results_never_share_a_name(tmp_path: Path) -> None:
    for name in ("a b/x.mp4", "a_b/x.mp4", "a_b/x.avi", "A_b/x.mkv"):
        encode(tmp_path / "download" / name, 3, "mpeg4" if name.endswith("avi") else "libx264")
    prepare("folder", tmp_path / "download", tmp_path / "out", encoding=Encoding(short_side=32))
    lists = "".join(path.read_text() for path in (tmp_path / "out").glob("*.csv"))
    assert len({row.split()[0] for row in lists.splitlines()}) == 4 == len(list((tmp_path / "out").rglob("*.mp4")))
