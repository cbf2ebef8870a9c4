"""``extract`` from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.networks import build_encoder
from adamae.data.annotations import load_annotations
from adamae.data.views import plan_test
from adamae.errors import UserError
from adamae.evaluation.window_features import extract_windows
from adamae.evaluation.windows import Windows
from adamae.extract import extract
from adamae.options.evaluation import ExtractOptions
from tests.evaluation.tiny import BAD, PATHS, write_classifier

FAST = {"sampling_rate": 2, "device": "cpu"}


def test_features_of_a_list(
    test_list: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ExtractOptions.of(str(pretrained), str(test_list), window_step=100, **FAST)
    extraction = extract(options)
    found = extraction.windows
    assert found.features.shape == (len(found.path), 32)
    assert [Path(video.path).name for video in found.unread] == ["bad.mp4"]
    assert set(found.path) == {str(test_list.parent / name) for row, name in enumerate(PATHS) if row != BAD}
    assert extraction.about["level"] == "window"
    encoder, _ = build_encoder(open_checkpoint(pretrained))
    plan = plan_test(num_frames=4, sampling_rate=2, size=16, num_crops=1)
    expected = extract_windows(encoder, load_annotations(test_list), windows=Windows(4, 2, 100), plan=plan)
    np.testing.assert_array_equal(found.features, expected.features)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    extraction.write(tmp_path / "features.npz")
    with np.load(tmp_path / "features.npz") as file:
        np.testing.assert_array_equal(file["features"], found.features)
    assert not Path("features.npz").exists()


def test_settings_are_printed_on_request(test_list: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extract(ExtractOptions.of(str(pretrained), str(test_list.parent / PATHS[0]), **FAST), verbose=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "1 video, windows of 4 frames with stride 2" in printed.err


def test_mistakes(test_list: Path, pretrained: Path) -> None:
    with pytest.raises(UserError, match="--level: got 'words', expected one of window, time, tubelet"):
        ExtractOptions.of(str(pretrained), str(test_list), level="words")
    with pytest.raises(UserError, match="none of 1 video has features"):
        extract(ExtractOptions.of(str(pretrained), str(test_list.parent / PATHS[BAD]), **FAST))


def test_levels_need_all_frames(test_list: Path, tmp_path: Path) -> None:
    checkpoint = str(write_classifier(tmp_path / "motion.safetensors", candidate_frames=6))
    for level in ("time", "tubelet"):
        message = f"level is '{level}', which needs all frames; expected window, or frame_selection none"
        with pytest.raises(UserError, match=message):
            extract(ExtractOptions.of(checkpoint, str(test_list), level=level, **FAST))
        found = extract(ExtractOptions.of(checkpoint, str(test_list), level=level, frame_selection="none", **FAST))
        assert found.about["num_frames"] == 4
    assert extract(ExtractOptions.of(checkpoint, str(test_list), **FAST)).windows.features.shape[1] == 32


def test_features_do_not_depend_on_the_number_of_threads(test_list: Path, pretrained: Path) -> None:
    found = [
        extract(ExtractOptions.of(str(pretrained), str(test_list), batch_size=2, window_step=3, num_workers=n, **FAST))
        for n in (0, 1, 4)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.windows.features, found[0].windows.features)
        np.testing.assert_array_equal(other.windows.start, found[0].windows.start)
        assert other.windows.path == found[0].windows.path
        assert other.windows.unread == found[0].windows.unread
