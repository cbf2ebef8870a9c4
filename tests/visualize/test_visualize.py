"""``visualize`` from Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from adamae.errors import UserError
from adamae.options.visualize import VisualizeOptions
from adamae.visualize.pictures import VideoPictures, other_ratios, visualize
from adamae.visualize.reconstruction import Variant
from tests.evaluation.tiny import BAD, PATHS, write_pretrainer, write_videos
from tests.visualize.scenes import tiny_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos and a pre-trained checkpoint."""
    folder = tmp_path_factory.mktemp("visualize")
    write_videos(folder)
    write_pretrainer(folder / "pretrained.safetensors")
    return folder


def show(place: Path, *videos: str, **values: object) -> list[VideoPictures]:
    paths = [str(place / video) for video in videos]
    options = VisualizeOptions.of(str(place / "pretrained.safetensors"), *paths, device="cpu", **values)
    return list(visualize(options))


def test_reconstructions_and_files_of_a_video(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    masks = {"mask_type": ("random", "tube"), "mask_ratio": 0.5, "draws": 2, "seed": 3}
    (shown,) = show(place, PATHS[0], sampling_rate=1, **masks)
    assert (shown.name, shown.video.path) == ("0", str(place / PATHS[0]))
    variants = [Variant(mask, 0.5, seed) for mask in ("random", "tube") for seed in (3, 4)]
    assert [result.variant for result in shown.results] == variants
    assert shown.page_results is None
    assert all(isinstance(warning, str) for warning in shown.warnings)
    files = shown.files()
    assert list(files) == [".png", ".gif", ".mp4", ".npz"]
    assert list(tmp_path.iterdir()) == []
    paths = shown.write(tmp_path / "out")
    assert paths == [tmp_path / "out" / f"0{suffix}" for suffix in files]
    with np.load(tmp_path / "out" / "0.npz") as arrays:
        assert arrays["mask_type"].tolist() == ["random", "random", "tube", "tube"]
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_warning_is_one_line_whatever_the_video_is_called(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("adamae.visualize.pictures.worse_than_trivial", lambda results: ["the sentence"])
    video = tmp_path / "new\nline.mp4"
    shutil.copy(place / PATHS[0], video)
    checkpoint = str(place / "pretrained.safetensors")
    list(visualize(VisualizeOptions.of(checkpoint, str(video), device="cpu", sampling_rate=1), verbose=True))
    assert f"warning: {tmp_path}/new\\nline.mp4: the sentence" in capsys.readouterr().err.splitlines()


def test_a_page_has_further_ratios(place: Path) -> None:
    (shown,) = show(place, PATHS[0], sampling_rate=1, html=True, mask_type="random")
    assert [result.variant.mask_ratio for result in shown.results] == [0.5]
    assert shown.page_results is not None
    assert [result.variant.mask_ratio for result in shown.page_results] == [0.5, 0.75, 0.9]
    assert list(shown.files())[-1] == ".html"


def test_ratios_that_a_sampler_does_not_support_are_left_out() -> None:
    model = tiny_model()
    found = {
        mask: [other.mask_ratio for other in other_ratios(model, [Variant(mask, 0.5)])]
        for mask in ("random", "frame", "tube")
    }
    # Two tubelets of four tokens: one of eight is the least; one of two tubelets, and one of four tubes.
    assert found == {"random": [0.75, 0.9], "frame": [], "tube": [0.75]}
    assert other_ratios(model, [Variant("random", 0.5), Variant("random", 0.75)]) == []


def test_an_unreadable_video_is_an_error_after_the_others(place: Path) -> None:
    options = VisualizeOptions.of(
        str(place / "pretrained.safetensors"), str(place / PATHS[BAD]), str(place / PATHS[0]), device="cpu"
    )
    shown = visualize(options)
    assert next(shown).video.path == str(place / PATHS[0])
    with pytest.raises(UserError, match=r"bad\.mp4: not a readable video"):
        next(shown)


def test_a_mask_that_does_not_fit_is_an_error_at_once(place: Path) -> None:
    options = VisualizeOptions.of(
        str(place / "pretrained.safetensors"), str(place / PATHS[0]), device="cpu", mask_ratio=0.999
    )
    with pytest.raises(UserError, match=r"mask_ratio = 0\.999 leaves 0 of 8 tokens visible"):
        visualize(options)
