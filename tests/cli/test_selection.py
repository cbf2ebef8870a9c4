"""A part of the tokens and frames, in every command that looks at videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adamae.checkpoints.formats import open_checkpoint
from adamae.cli.main import main
from tests.evaluation.tiny import write_classifier, write_pretrainer, write_videos

FAST = "--sampling_rate 2 --num_workers 0 --device cpu".split()
CLIP = "--input_size 32 --num_frames 4 --sampling_rate 1 --patch_size 8 --num_workers 0 --device cpu".split()
FEW = "--encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1 --batch_size 4 --log_every 1".split()
DECODER = "--model adamae_tiny --decoder_embed_dim 16 --decoder_num_heads 2 --decoder_depth 1 --max_steps 1".split()
MORE_FRAMES = "--frame_selection motion --frame_oversample 1.5".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with seven videos, their list, and checkpoints with and without a sampler."""
    folder = tmp_path_factory.mktemp("selection")
    write_videos(folder)
    write_classifier(folder / "all.safetensors")
    write_classifier(folder / "motion.safetensors", token_selection="motion", keep_ratio=0.5, candidate_frames=6)
    write_classifier(folder / "adaptive.safetensors", token_selection="adaptive", keep_ratio=0.5)
    write_pretrainer(folder / "learned.safetensors")
    write_pretrainer(folder / "tube.safetensors", mask_type="tube")
    return folder


def evaluated(place: Path, capsys: pytest.CaptureFixture[str], name: str, *words: str) -> tuple[dict[str, object], str]:
    line = [str(place / f"{name}.safetensors"), "--data_path", str(place / "test.csv"), "--json", *FAST, *words]
    assert main(["evaluate", *line]) == 0
    told = capsys.readouterr()
    return json.loads(told.out), told.err


def test_a_checkpoint_is_scored_as_it_was_trained(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary, told = evaluated(place, capsys, "motion")
    assert "encodes 50% of the tokens, selection: motion" in told
    assert "selects 4 of 6 frames of a clip, those with the most motion" in told
    assert summary["clip"] == {
        "num_frames": 4,
        "frames_read": 6,
        "sampling_rate": 2,
        "input_size": 16,
        "frame_sampling": "dense",
    }
    summary, told = evaluated(place, capsys, "motion", "--token_selection", "none", "--frame_selection", "none")
    assert "encodes" not in told and "selects" not in told
    summary, told = evaluated(place, capsys, "adaptive")
    assert "encodes 50% of the tokens, selection: adaptive" in told


@pytest.mark.parametrize("strategy", ["motion", "random"])
def test_scores_with_a_selection_repeat_themselves(
    place: Path, capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    words = ["--token_selection", strategy, "--keep_ratio", "0.4", *MORE_FRAMES]
    first, told = evaluated(place, capsys, "all", *words)
    assert f"encodes 40% of the tokens, selection: {strategy}" in told
    assert first == evaluated(place, capsys, "all", *words, "--batch_size", "5")[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("motion", []),
        ("all", ["--token_selection", "random", "--keep_ratio", "0.4", *MORE_FRAMES]),
    ],
)
def test_a_test_of_finetune_alone_is_that_of_evaluate(
    place: Path, tmp_path: Path, name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    test = str(place / "test.csv")
    line = ["--finetune", str(place / f"{name}.safetensors"), "--data_path", test, "--eval_data_path", test]
    line += ["--num_frames", "4", "--input_size", "16", "--batch_size", "4", "--output_dir", str(tmp_path / "run")]
    assert main(["finetune", *line, *FAST, "--eval", *words]) == 0
    told = capsys.readouterr().err
    evaluated(place, capsys, name, "--batch_size", "8", "--output_dir", str(tmp_path / "again"), *words)
    results = [tmp_path / "run" / "test", tmp_path / "again"]
    first, second = ((folder / "scores.csv").read_text() for folder in results)
    assert first == second
    ours, theirs = (json.loads((folder / "scores.json").read_text()) for folder in results)
    assert ours["selection"].items() <= theirs["selection"].items()
    assert ours["clip"] == theirs["clip"]
    assert (ours["clip"]["num_frames"], ours["clip"]["frames_read"]) == (4, 6)
    assert "encodes" in told


@pytest.mark.parametrize(("name", "words"), [("all", []), ("motion", ["--token_selection", "none"])])
def test_a_share_without_a_selection_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], name: str, words: list[str]
) -> None:
    line = [str(place / f"{name}.safetensors"), "--data_path", str(place / "test.csv"), *FAST, "--keep_ratio", "0.5"]
    assert main(["evaluate", *line, *words]) == 2
    assert capsys.readouterr().err.endswith(
        "adamae: error: --keep_ratio 0.5 has no effect: all tokens are encoded; expected --token_selection motion, "
        "adaptive or random with it\n"
    )


@pytest.mark.parametrize(("name", "words"), [("all", []), ("motion", ["--frame_selection", "none"]), ("adaptive", [])])
@pytest.mark.parametrize(
    ("option", "value"), [("frame_oversample", "1.25"), ("frame_keep_ratio", "0.5"), ("frame_choice", "draw")]
)
def test_options_of_frame_selection_without_one_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], name: str, words: list[str], option: str, value: str
) -> None:
    line = [str(place / f"{name}.safetensors"), "--data_path", str(place / "test.csv"), *FAST, f"--{option}", value]
    assert main(["evaluate", *line, *words]) == 2
    assert capsys.readouterr().err.endswith(
        f"adamae: error: --{option} {value} has no effect: no frames are selected; expected --frame_selection motion "
        "with it\n"
    )


def test_options_of_frame_selection_replace_those_of_the_checkpoint(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--frame_oversample", "2", "--frame_keep_ratio", "0.5", "--frame_choice", "draw"]
    assert "selects 4 of 8 frames of a clip" in evaluated(place, capsys, "motion", *words)[1]


def test_predictions(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = str(place / "a" / "0.mp4")
    for name, words in (("all", ["--token_selection", "motion", *MORE_FRAMES]), ("adaptive", [])):
        assert main(["predict", str(place / f"{name}.safetensors"), video, *FAST, *words]) == 0
        assert len(json.loads(capsys.readouterr().out)[0]["top"]) == 5


@pytest.mark.parametrize(("name", "strategy"), [("learned", "adaptive"), ("tube", "motion"), ("adaptive", "adaptive")])
def test_features(place: Path, tmp_path: Path, name: str, strategy: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "features.npz"
    line = [str(place / f"{name}.safetensors"), str(place / "test.csv"), "-o", str(out), *FAST[:2], *FAST[4:]]
    assert main(["extract", *line, "--token_selection", strategy, *MORE_FRAMES]) == 0
    with np.load(out) as file:
        assert file["features"].shape[1:] == (32,)
        assert json.loads(str(file["about"]))["selection"]["token_selection"] == strategy
    capsys.readouterr()
    assert main(["extract", *line, "--token_selection", strategy, "--level", "time"]) == 2
    told = capsys.readouterr().err
    assert "level is 'time', which needs all tokens; expected window, or token_selection none" in told


def test_probes(place: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [str(place / "learned.safetensors"), "--data_path", str(videos), *FAST, "--probe_tokens", "3"]
    assert main(["probe", *line, "--token_selection", "adaptive", "--keep_ratio", "0.5", *MORE_FRAMES]) == 0
    told = capsys.readouterr()
    assert [row.split()[0] for row in told.out.splitlines()] == ["probe", "knn", "linear", "attentive"]
    assert "encodes 50% of the tokens, selection: adaptive" in told.err


@pytest.mark.parametrize(
    ("command", "name"), [("evaluate", "all"), ("predict", "all"), ("extract", "tube"), ("probe", "tube")]
)
def test_a_checkpoint_without_a_sampler_gets_one_line(
    place: Path, tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    rest = {
        "evaluate": ["--data_path", str(place / "test.csv")],
        "predict": [str(place / "a" / "0.mp4")],
        "extract": [str(place / "test.csv"), "-o", str(tmp_path / "out.npz")],
        "probe": ["--data_path", str(videos)],
    }[command]
    path = str(place / f"{name}.safetensors")
    words = [path, *rest, "--token_selection", "adaptive", "--sampling_rate", "2", "--device", "cpu"]
    assert main([command, *words]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("adamae: error")]
    assert line.startswith(f"adamae: error: {path}: is a ")
    assert "no learned sampler can choose the tokens" in line


@pytest.mark.parametrize("strategy", ["motion", "adaptive"])
def test_from_pretraining_to_a_test(
    videos: Path, tmp_path: Path, strategy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = "--mask_type motion --keep_ratio 0.6 --mask_ratio 0.7" if strategy == "motion" else "--mask_ratio 0.7"
    pretrained, tuned = tmp_path / "pretrained", tmp_path / "tuned"
    data = ["--data_path", str(videos)]
    words = [*CLIP, *FEW, *DECODER, *mask.split(), *MORE_FRAMES]
    assert main(["pretrain", *data, "--output_dir", str(pretrained), *words]) == 0
    records = [json.loads(line) for line in (pretrained / "log.jsonl").read_text().splitlines()]
    assert any("hit_rate" in record for record in records)
    capsys.readouterr()
    words = [*CLIP, *FEW, "--epochs", "1", "--token_selection", strategy, "--keep_ratio", "0.5", *MORE_FRAMES]
    words += [*"--num_sample 1 --mixup 0 --cutmix 0 --eval_data_path".split(), str(videos / "val.csv")]
    assert main(["finetune", "--finetune", str(pretrained), *data, "--output_dir", str(tuned), *words]) == 0
    assert f"tokens: 16 of 32 encoded, selection: {strategy}" in capsys.readouterr().err
    file = open_checkpoint(tuned / "best")
    assert file.architecture.given["token_selection"] == strategy
    assert file.architecture.given["candidate_frames"] == 6
    assert (file.architecture.sampler is not None) == (strategy == "adaptive")


def test_a_learned_sampler_is_not_there_from_the_start(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data_path", str(videos), "--output_dir", str(tmp_path / "out"), *CLIP, "--token_selection", "adaptive"]
    assert main(["finetune", *words]) == 2
    assert "--token_selection adaptive needs a checkpoint with a learned sampler: --finetune is missing" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
