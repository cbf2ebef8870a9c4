"""``adamae predict``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adamae.cli.main import main
from tests.checkpoints.networks import classifier
from tests.evaluation.tiny import NAMES, views, write_classifier, write_pretrainer, write_videos

FAST = "--sampling_rate 2 --device cpu".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos and checkpoints."""
    folder = tmp_path_factory.mktemp("predict")
    write_videos(folder)
    write_classifier(folder / "named.safetensors")
    write_pretrainer(folder / "pretrained.safetensors")
    return folder


def test_json_of_the_likeliest_classes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = [str(place / name) for name in ("a/0.mp4", "b/3.mp4")]
    assert main(["predict", str(place / "named.safetensors"), *videos, "--top", "2", *FAST]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["video"] for entry in found] == videos
    model, dataset = classifier(), views(place / "test.csv")
    for entry, row in zip(found, (0, 5), strict=True):
        with torch.no_grad():
            logits = model(dataset[row]["views"]).mean(dim=0)
        first = logits.argsort(descending=True)[:2].tolist()
        assert [best["class"] for best in entry["top"]] == first
        assert [best["name"] for best in entry["top"]] == [NAMES[number] for number in first]
        expected = logits.softmax(-1)[first]
        assert torch.allclose(torch.tensor([best["probability"] for best in entry["top"]]), expected, atol=1e-5)
        assert entry["views"] == 15


def test_probabilities_of_the_views_are_averaged_on_request(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(place / "named.safetensors"), str(place / "a" / "0.mp4"), "--softmax", *FAST]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    with torch.no_grad():
        expected = classifier()(views(place / "test.csv")[0]["views"]).softmax(-1).mean(dim=0)
    assert [set(best) for best in entry["top"]] == [{"class", "name", "probability"}] * len(NAMES)
    found = {best["class"]: best["probability"] for best in entry["top"]}
    torch.testing.assert_close(torch.tensor([found[k] for k in range(len(NAMES))]), expected, atol=1e-5, rtol=1e-5)


def test_names_that_are_not_the_checkpoint_s_are_noted(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join((*NAMES[:3], "below", *NAMES[4:])))
    words = [str(place / "a" / "0.mp4"), "--classes", str(names), "--test_num_crop", "1", "--test_num_segment", "1"]
    assert main(["predict", str(place / "named.safetensors"), *words, *FAST]) == 0
    assert f"note: {names}: class 3 is 'below', 'down' in the checkpoint" in capsys.readouterr().err


def test_a_damaged_video_does_not_keep_the_others_back(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = [str(place / name) for name in ("a/0.mp4", "a/bad.mp4", "no.mp4")]
    assert main(["predict", str(place / "named.safetensors"), *videos, *FAST]) == 2
    told = capsys.readouterr()
    assert [entry["video"] for entry in json.loads(told.out)] == videos[:1]
    line = told.err.splitlines()[-1]
    assert line.startswith(f"adamae: error: {videos[1]}: not a readable video")
    assert line.endswith(", and 1 more without a prediction")


@pytest.mark.parametrize(
    ("checkpoint", "video", "message"),
    [
        ("named", "a/bad.mp4", "bad.mp4: not a readable video"),
        ("named", "none.mp4", "none.mp4: no such file"),
        ("pretrained", "a/0.mp4", "is a pre-trained AdaMAE"),
    ],
)
def test_mistakes_are_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], checkpoint: str, video: str, message: str
) -> None:
    assert main(["predict", str(place / f"{checkpoint}.safetensors"), str(place / video), *FAST]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err.splitlines()[-1]


def test_a_video_is_needed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(place / "named.safetensors")]) == 2
    assert "VIDEO" in capsys.readouterr().err
