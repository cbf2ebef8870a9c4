"""The data set on disk."""

import json

import av
import numpy as np
import pytest

from adamae.data.synthetic import MOTIONS, synthesize
from adamae.errors import UserError

SMALL = {"videos_per_class": 2, "val_per_class": 1, "test_per_class": 0, "frames": 6, "size": 32}


def read(path):
    with av.open(str(path)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_lists_videos_and_masks_fit_together(tmp_path):
    report = synthesize(tmp_path / "set", **SMALL)
    assert report.videos == {"train": 24, "val": 12}
    assert report.written == 36
    assert (report.root / "classes.txt").read_text().split() == list(MOTIONS) == list(report.classes)
    assert not (report.root / "test.csv").exists()
    rows = [line.split(" ") for line in report.lists["train"].read_text().splitlines()]
    assert sorted(int(label) for _, label in rows) == sorted(2 * list(range(12)))
    for path, label in rows[:12]:
        video = report.root / path
        assert video.parent.name == report.classes[int(label)]
        assert read(video).shape == (6, 32, 32, 3)
        with np.load(video.with_suffix(".moving.npz")) as truth:
            assert tuple(truth["shape"]) == (6, 32, 32)
            moving = np.unpackbits(truth["moving"], axis=-1)[..., : truth["shape"][2]]
        assert 0.005 < moving.mean() < 0.25


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        synthesize(tmp_path / name, **SMALL, seed=seed)
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    videos = [path for path in one if path.suffix == ".mp4"]
    assert all(one[path] != other[path] for path in videos)
    assert len({one[path] for path in videos}) == len(videos)


def test_a_video_depends_on_its_number_not_on_how_many_there_are_or_who_makes_them(tmp_path):
    synthesize(tmp_path / "few", **SMALL)
    synthesize(tmp_path / "many", **{**SMALL, "videos_per_class": 3}, workers=2)
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    shared = [path for path in few if path.suffix in {".mp4", ".npz"}]
    assert len(shared) == 72
    assert all(few[path] == many[path] for path in shared)


def test_a_whole_set_is_left_alone_and_a_broken_off_one_completed(tmp_path):
    seen = []
    first = synthesize(tmp_path, **SMALL, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 36) for done in range(1, 37)]
    before = contents(tmp_path)
    times = {path: (tmp_path / path).stat().st_mtime_ns for path in before if path.suffix == ".mp4"}
    assert synthesize(tmp_path, **SMALL).written == 0
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in times} == times
    first.lists["val"].unlink()
    (tmp_path / "train" / "left" / "00012.mp4").unlink()
    (tmp_path / "train" / "left" / ".unfinished-99-00012.mp4").write_bytes(b"half")
    assert synthesize(tmp_path, **SMALL).written == 1
    assert contents(tmp_path) == before


def test_options_are_not_part_of_a_video_that_was_made_with_others(tmp_path):
    synthesize(tmp_path, **SMALL)
    with pytest.raises(UserError, match=r"was started with frames = 6, got frames = 8"):
        synthesize(tmp_path, **{**SMALL, "frames": 8})


def test_another_folder_is_not_written_into(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"contains no synthetic\.json"):
        synthesize(tmp_path, **SMALL)
    with pytest.raises(UserError, match="expected a new or empty folder"):
        synthesize(tmp_path / "thesis.tex", **SMALL)
    with pytest.raises(UserError, match=r"cannot write the data set to .*Not a directory"):
        synthesize(tmp_path / "thesis.tex" / "below", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("manifest", ["{", "[]"])
def test_a_damaged_manifest_is_named(tmp_path, manifest):
    (tmp_path / "synthetic.json").write_text(manifest)
    with pytest.raises(UserError, match=r"synthetic\.json cannot be read"):
        synthesize(tmp_path, **SMALL)


def test_the_manifest_holds_the_options(tmp_path):
    synthesize(tmp_path, **SMALL, background="textured", camera_noise=0.01)
    manifest = json.loads((tmp_path / "synthetic.json").read_text())
    assert manifest["videos_per_class"] == {"train": 2, "val": 1, "test": 0}
    assert (manifest["background"], manifest["camera_noise"], manifest["size"]) == ("textured", 0.01, 32)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("frames", 1),
        ("size", 33),
        ("fps", 0),
        ("background", "plaid"),
        ("camera_noise", -0.1),
        ("classes", ()),
        ("classes", ("left", "sideways")),
        ("classes", ("left", "left")),
        ("contrast", 1.1),
        ("objects", 0),
        ("object_size", 1.5),
        ("speed", 0.0),
        ("gop", 0),
        ("crf", 52),
        ("seed", -1),
        ("videos_per_class", 0),
        ("val_per_class", -1),
        ("workers", -1),
    ],
)
def test_bad_options_give_one_line_and_write_nothing(tmp_path, option, value):
    with pytest.raises(UserError) as raised:
        synthesize(tmp_path / "set", **{**SMALL, option: value})
    assert "\n" not in str(raised.value)
    assert "expected" in str(raised.value)
    assert not (tmp_path / "set").exists()


def test_chosen_classes_give_the_labels(tmp_path):
    report = synthesize(tmp_path, **SMALL, classes=("growing", "left"))
    labels = {line.split("/")[1]: line.split(" ")[1] for line in report.lists["train"].read_text().splitlines()}
    assert labels == {"growing": "0", "left": "1"}


def still_variation(root):
    """Mean over videos of the standard deviation over time of pixels on which nothing ever moves, of 255."""
    spread = []
    for video in sorted(root.rglob("*.mp4")):
        with np.load(video.with_suffix(".moving.npz")) as truth:
            moving = np.unpackbits(truth["moving"], axis=-1)[..., : truth["shape"][2]].any(axis=0)
        spread.append(read(video).astype(float).std(axis=0)[~moving].mean())
    return np.mean(spread)


def test_backgrounds_stand_still_unless_the_camera_is_noisy(tmp_path):
    options = {**SMALL, "val_per_class": 0, "videos_per_class": 1, "crf": 8}
    for background in ("smooth", "textured", "mixed"):
        synthesize(tmp_path / background, **options, background=background)
        assert still_variation(tmp_path / background) < 1
    synthesize(tmp_path / "noisy", **options, camera_noise=0.04)
    assert 4 < still_variation(tmp_path / "noisy") < 14


def test_textured_backgrounds_have_texture(tmp_path):
    steps = {}
    for background in ("smooth", "textured"):
        report = synthesize(tmp_path / background, **SMALL, background=background, contrast=0)
        frames = [read(report.root / line.split(" ")[0])[0] for line in report.lists["val"].read_text().splitlines()]
        steps[background] = np.mean([np.abs(np.diff(frame.astype(float), axis=0)).mean() for frame in frames])
    assert steps["textured"] > 2 * steps["smooth"]
