"""A pyramid through every command: pre-trained on videos, fine-tuned, and all that reads its checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from adamae.cli.main import main

CLIP = "--input_size 64 --num_frames 4 --sampling_rate 2".split()
TRAIN = "--batch_size 4 --num_workers 0 --epochs 1 --warmup_epochs 0 --log_every 1 --device cpu".split()
MASKS = {
    "uniform": ["--mask_type", "uniform"],
    "adaptive": ["--mask_type", "adaptive_uniform", "--uniform_sampling", "step"],
}


def pretrain(videos: Path, out: Path, *words: str) -> Path:
    given = ["pretrain", "--model", "um_swin_micro", "--data_path", str(videos), "--output_dir", str(out)]
    assert main([*given, *CLIP, *TRAIN, *words]) == 0
    return out


def finetune(videos: Path, pretrained: Path, out: Path, *words: str) -> Path:
    given = ["finetune", "--finetune", str(pretrained), "--data_path", str(videos), "--output_dir", str(out)]
    assert main([*given, *CLIP, *TRAIN, "--num_sample", "1", *words]) == 0
    return out


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(videos, tmp_path_factory.mktemp("pyramid") / "run", *MASKS["adaptive"])


@pytest.fixture(scope="module")
def tuned(videos: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finetune(videos, run, tmp_path_factory.mktemp("tuned") / "run")


def test_half_precision(
    videos: Path, run: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = pretrain(videos, tmp_path / "half", *MASKS["adaptive"], "--precision", "bf16")
    half_tuned = finetune(videos, run, tmp_path / "half_tuned", "--precision", "bf16")
    assert capsys.readouterr().err.count("cpu, bf16") == 2
    for whole, rounded in ((run, half), (tuned, half_tuned)):
        # The same masks, crops and dropped paths; rounding to eight bits moves a loss by less.
        np.testing.assert_allclose(losses(rounded), losses(whole), rtol=0.02)
        assert losses(rounded) != losses(whole)


def test_scores_and_features(
    videos: Path, run: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tuned), "--data_path", str(videos / "val.csv"), "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["scored"] == 2
    assert main(["predict", str(tuned), str(videos / "val.csv"), "--device", "cpu"]) == 0
    assert {len(one["top"]) for one in json.loads(capsys.readouterr().out)} == {2}
    for checkpoint in (run, tuned):
        out = tmp_path / "features.npz"
        words = ["--level", "tubelet", "-o", str(out), "--device", "cpu"]
        assert main(["extract", str(checkpoint), str(videos / "val.csv"), *words]) == 0
        with np.load(out) as file:
            # One for two by two units at each of two times.
            assert file["features"].shape[1:] == (2, 2, 2, 256)
    capsys.readouterr()
    data = ["--data_path", str(videos / "train.csv"), "--eval_data_path", str(videos / "val.csv")]
    assert (
        main(["probe", str(run), *data, "--probe_tokens", "4", "--num_workers", "0", "--json", "--device", "cpu"]) == 0
    )
    assert set(json.loads(capsys.readouterr().out)["probes"]) == {"knn", "linear", "attentive"}


def test_descriptions_and_layouts(run: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for checkpoint, method in ((run, "an adaptive sampler on uniform cells"), (tuned, "classifier of 2 classes")):
        published, ours = tmp_path / "published.pth", tmp_path / "ours.safetensors"
        assert main(["convert", str(checkpoint), "-o", str(published), "--to", "reference"]) == 0
        assert main(["convert", str(published), "-o", str(ours)]) == 0
        for file in (checkpoint, ours):
            capsys.readouterr()
            assert main(["inspect", str(file)]) == 0
            told = capsys.readouterr().out
            assert method in told and "swin: embed_dim 32 64 128 256" in told
        ours.unlink()
        published.unlink()


def test_pictures(videos: Path, run: Path, tmp_path: Path) -> None:
    one = str(next((videos / "val").rglob("*.mp4")))
    words = ["-o", str(tmp_path), "--mask_type", "uniform", "adaptive_uniform", "--device", "cpu"]
    assert main(["visualize", str(run), one, *words]) == 0
    with np.load(tmp_path / f"{Path(one).stem}.npz") as file:
        assert file["mask_type"].tolist() == ["uniform", "adaptive_uniform"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--input_size", "224"],
            "height = 224 does not divide into the 4 stages of the encoder with windows of 8x8 patches: expected",
        ),
        (["--mask_type", "random"], "mask_type = 'random': expected uniform or adaptive_uniform"),
        (
            ["--secondary_mask_ratio", "1.0"],
            "--secondary_mask_ratio: got 1.0, expected a number at least 0 and below 1",
        ),
        (["--secondary_mask_ratio", "-0.1"], "--secondary_mask_ratio: got -0.1, expected"),
        (["--secondary_mask_ratio", "nan"], "--secondary_mask_ratio: got nan, expected"),
        (["--mask_ratio", "0.9"], "mask_ratio = 0.9: expected 0.75"),
        (["--uniform_sampling", "octet", "--num_frames", "2"], "1 tokens along time do not divide into cells of 2x2x2"),
        (["--patch_size", "8"], "patch_size = 8: expected 16"),
        (["--encoder_depth", "2"], "depth = 2: expected 4 numbers"),
        (["--num_frames", "1", "--tubelet_size", "1", "--model", "um_vit_base", "--drop_path", "2"], "--drop_path"),
    ],
)
def test_mistakes_are_one_line(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    given = ["pretrain", "--model", "um_swin_micro", "--data_path", str(videos), "--output_dir", str(tmp_path / "run")]
    assert main([*given, *CLIP, *TRAIN, *MASKS["uniform"], *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("adamae: error: ") and told in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_run_resumes_only_with_its_own_masks(
    videos: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    given = ["pretrain", "--model", "um_swin_micro", "--data_path", str(videos), "--output_dir", str(tmp_path / "run")]
    for words, told in (
        (MASKS["uniform"], "mask_type: adaptive_uniform -> uniform"),
        ([*MASKS["adaptive"], "--uniform_sampling", "tube"], "uniform_sampling: step -> tube"),
        ([*MASKS["adaptive"], "--secondary_mask_ratio", "0"], "vis_mask_token: 1x1x32 -> none"),
        ([*MASKS["adaptive"], "--model", "um_pvt_small"], "encoder swin -> pvt"),
    ):
        capsys.readouterr()
        assert main([*given, *CLIP, *TRAIN, *words, "--epochs", "2"]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert "is of a different model (" in error and told in error
    # Nothing was written over it, so it goes on as it was.
    assert main([*given, *CLIP, *TRAIN, *MASKS["adaptive"], "--epochs", "2"]) == 0
    assert len(losses(tmp_path / "run")) == 2 * len(losses(run))


def test_other_networks_are_refused(run: Path, tuned: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = ["--data_path", str(videos)], ["--output_dir", str(run.parent / "never")]
    tune = ["finetune", "--finetune", str(run), *data, *out, *CLIP, *TRAIN]
    for words, told in (
        ([*tune, "--model", "vit_small_patch16_224"], "--model vit_small_patch16_224 has a vit encoder"),
        ([*tune, "--model", "pvt_small_256"], "--model pvt_small_256 has a pvt encoder"),
        ([*tune, "--input_size", "224"], "height = 224 does not divide"),
        ([*tune, "--token_selection", "random"], "token_selection = 'random': expected none"),
        ([*tune, "--drop", "0.1"], "drop_rate = 0.1: expected 0, because the pyramid encoders have no"),
        (["evaluate", str(run), *data], "is a pre-trained masked autoencoder"),
        (["convert", str(run), "-o", str(run.parent / "never"), "--to", "transformers"], "has a swin encoder"),
    ):
        capsys.readouterr()
        assert main(words) == 2
        error = capsys.readouterr().err
        assert told in error.splitlines()[-1] and "Traceback" not in error
    assert not (run.parent / "never").exists()
