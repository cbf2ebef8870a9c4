"""``adamae visualize`` from the command line to its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adamae.cli.main import main
from adamae.data.h264_encoder import encode_h264
from tests.cli.test_pretrain import pretrain
from tests.evaluation.tiny import write_classifier


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    out = tmp_path_factory.mktemp("run")
    assert pretrain(videos, out, "--max_steps", "1") == 0
    return out


@pytest.fixture(scope="module")
def video(videos: Path) -> str:
    return str(min((videos / "val").rglob("*.mp4")))


def show(run: Path, video: str, out: Path, *words: str) -> int:
    return main(["visualize", str(run), video, "-o", str(out), "--device", "cpu", *words])


def test_it_leaves_a_film_a_sheet_and_arrays(
    run: Path, video: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(run, video, tmp_path / "a" / "b") == 0
    stem = Path(video).stem
    names = [f"{stem}.{suffix}" for suffix in ("png", "gif", "mp4", "npz")]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "a" / "b" / name) for name in names]
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == set(names)
    arrays = np.load(tmp_path / "a" / "b" / f"{stem}.npz")
    assert arrays["video"].shape == arrays["prediction"][0].shape == (8, 32, 32, 3)
    assert arrays["visible"].shape == (1, 2, 32)
    assert arrays["visible"].sum() == 2 * 8
    assert arrays["moving"].any()
    assert np.isnan(arrays["error"]).sum() == 16


@pytest.mark.slow
def test_samplers_ratios_and_draws_side_by_side(run: Path, video: str, tmp_path: Path) -> None:
    words = "--mask_type learnable random --mask_ratio 0.5 0.75 --draws 2 --seed 5 --seconds 0.4 --own_statistics"
    assert show(run, video, tmp_path, *words.split()) == 0
    arrays = np.load(next(tmp_path.glob("*.npz")))
    assert arrays["mask_type"].tolist() == ["learnable"] * 4 + ["random"] * 4
    assert arrays["mask_ratio"].tolist() == [0.5, 0.5, 0.75, 0.75] * 2
    assert arrays["seed"].tolist() == [5, 6] * 4
    assert arrays["video"].shape[0] == 4
    assert "neighbours" in str(arrays["prediction_statistics"])
    # Two draws differ, and the same seed makes the same one.
    assert (arrays["visible"][0] != arrays["visible"][1]).any()
    assert show(run, video, tmp_path / "again", *words.split()) == 0
    assert np.array_equal(np.load(next((tmp_path / "again").glob("*.npz")))["visible"], arrays["visible"])


def test_videos_of_equal_names_do_not_overwrite_each_other(run: Path, video: str, tmp_path: Path) -> None:
    assert main(["visualize", str(run), video, video, "-o", str(tmp_path)]) == 0
    stem = Path(video).stem
    assert {path.stem for path in tmp_path.iterdir()} == {stem, f"{stem}-2"}


def one_frame(folder: Path) -> str:
    path = folder / "one.mp4"
    path.write_bytes(encode_h264(np.zeros((1, 32, 32, 3), np.uint8), fps=10, gop=1, crf=20))
    return str(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{run} {text} -o {out}", "{text}: not a readable video"),
        ("{run} {one} -o {out}", "{one}: 1 frame, expected at least 2"),
        ("{classifier} {good} -o {out}", "without a decoder; expected a pre-trained checkpoint"),
        ("nowhere {good} -o {out}", "nowhere"),
        ("{run} {good} -o {text}", "{text}: cannot be written (Not a directory)"),
        ("{run} {good} -o {out} --mask_type tubes", "expected one of learnable, random"),
        ("{run} {good} -o {out} --mask_ratio 0.999", "mask_ratio = 0.999 leaves 0 of 32 tokens visible"),
        ("{run} {good} -o {out} --mask_ratio 2", "--mask_ratio: got 2.0, expected a number above 0 and below 1"),
        ("{run} {good} -o {out} --start 99", "0 frames from second 99 on"),
        ("{run} {good} -o {out} --num_frames 3", "num_frames = 3 does not divide into tokens"),
        ("{random} {good} -o {out} --mask_type learnable", "the checkpoint has no learned sampler"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_leaves_nothing(
    words: str,
    message: str,
    run: Path,
    videos: Path,
    video: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"run": str(run), "good": video, "out": str(tmp_path / "out"), "text": str(tmp_path / "text.mp4")}
    places["one"] = one_frame(tmp_path)
    (tmp_path / "text.mp4").write_text("no video at all")
    if "classifier" in words:
        places["classifier"] = str(write_classifier(tmp_path / "classifier.safetensors"))
    if "random" in words:
        assert pretrain(videos, tmp_path / "random", "--max_steps", "1", "--mask_type", "random") == 0
        places["random"] = str(tmp_path / "random")
    capsys.readouterr()
    assert main(["visualize", *words.format(**places).split(), "--device", "cpu"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "training time" not in line]
    errors = [line for line in lines if line.startswith("adamae: error: ")]
    assert len(errors) == 1
    assert lines[-1] == errors[0]
    assert message.format(**places) in errors[0]
    assert not (tmp_path / "out").exists()


def test_saliency_and_timeline(run: Path, video: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, suffixes in (("saliency", ("mp4", "gif")), ("timeline", ("png", "csv"))):
        assert main([command, str(run), video, "-o", str(tmp_path), "--device", "cpu"]) == 0
        names = [str(tmp_path / f"{Path(video).stem}-{command}.{suffix}") for suffix in suffixes]
        assert capsys.readouterr().out.splitlines() == names


@pytest.mark.parametrize("command", ["saliency", "timeline"])
def test_without_a_sampler_there_is_nothing_to_say(
    command: str, video: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(videos, tmp_path / "tube", "--max_steps", "1", "--mask_type", "tube") == 0
    assert main([command, str(tmp_path / "tube"), video, "-o", str(tmp_path / "out")]) == 2
    assert "the checkpoint has no learned sampler" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_network_worse_than_the_trivial_predictor_is_warned_of(
    run: Path, video: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # After one step it is still as it was drawn, and errs more than a prediction of each token's mean.
    capsys.readouterr()
    assert show(run, video, tmp_path, "--mask_type", "learnable", "frame") == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    error = np.nanmean(np.load(next(tmp_path.glob("*.npz")))["error"][0])
    assert len(warnings) == 2
    assert warnings[0].startswith(
        f"warning: {video}: adaptive, 75 % masked: the error of the model, {error:.4g}, is not below"
    )


@pytest.mark.slow
def test_a_large_sheet_is_cut_into_pages(run: Path, video: str, tmp_path: Path) -> None:
    assert show(run, video, tmp_path, "--draws", "10", "--columns", "2") == 0
    pages = sorted(tmp_path.glob("*.png"))
    assert [page.name for page in pages] == [f"{Path(video).stem}-sheet-{number}.png" for number in (1, 2)]


def test_a_page_has_more_ratios_than_were_asked_for(run: Path, video: str, tmp_path: Path) -> None:
    assert show(run, video, tmp_path, "--html") == 0
    page = next(tmp_path.glob("*.html")).read_text()
    assert "adaptive, 75 % masked" in page
    assert "adaptive, 95 % masked" in page
    assert "hit_rate" in page
