"""The economical mode from the command line to every command that takes its checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.run_checkpoint import Checkpoint
from adamae.cli.main import main
from adamae.models.economy import apply_economy
from adamae.options.estimate import estimate_parser
from adamae.options.pretrain import PretrainOptions, pretrain_parser
from adamae.options.record import as_yaml
from tests.cli.test_pretrain import TINY, losses, pretrain

ECONOMY = ["--economy", "--encoder_embed_dim", "32"]


def options(line: str) -> PretrainOptions:
    return apply_economy(pretrain_parser().parse(line.split()).options)


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps with a sampler of half width and half of the hidden tokens."""
    out = tmp_path_factory.mktemp("economy") / "run"
    assert pretrain(videos, out, *ECONOMY, "--max_steps", "3") == 0
    return out


@pytest.mark.parametrize(
    ("line", "dim", "drop_rate", "budget"),
    [
        ("", None, 0.1, 1.0),
        ("--economy", 384, 0.0, 0.5),
        ("--economy --model adamae_large", 512, 0.0, 0.5),
        ("--economy --encoder_embed_dim 96", 48, 0.0, 0.5),
        ("--economy --sampler_dim 768 --decoder_budget 1 --sampler_drop_rate 0.1", 768, 0.1, 1.0),
        ("--sampler_dim 96 --decoder_budget 0.25 --sampler_drop_rate 0.2 --economy", 96, 0.2, 0.25),
        ("--decoder_budget 0.25", None, 0.1, 0.25),
        ("--sampler_drop_rate 0", None, 0.0, 1.0),
        ("--economy --mask_type tube", None, 0.1, 0.5),
        ("--economy --mask_type adaptive_uniform", 384, 0.0, 0.5),
        ("--economy --mask_type adaptive_uniform --model um_swin_tiny", 48, 0.0, 0.5),
        ("--economy --no_economy", None, 0.1, 1.0),
    ],
)
def test_what_is_typed_wins(line: str, dim: int | None, drop_rate: float, budget: float) -> None:
    resolved = options(line)
    sampler = resolved.sampler
    assert (sampler.sampler_dim, sampler.sampler_drop_rate, resolved.model.decoder_budget) == (dim, drop_rate, budget)


@pytest.mark.parametrize(
    "sizes",
    [
        "",
        "--model adamae_large",
        "--encoder_embed_dim 96",
        "--mask_type tube",
        "--model um_swin_micro --mask_type adaptive_uniform",
    ],
)
@pytest.mark.parametrize(("first", "then"), [("", "--economy"), ("--economy", "--no_economy")])
def test_the_record_of_one_mode_gives_the_other(tmp_path: Path, sizes: str, first: str, then: str) -> None:
    record = tmp_path / "options.yaml"
    record.write_text(as_yaml(options(f"{first} {sizes}"), "a run"))
    parsed = pretrain_parser().parse(["--config", str(record), then])
    assert apply_economy(parsed.options) == options(f"{then} {sizes}")
    assert not [note for note in parsed.notes if "kept" in note]
    # The same from Python, from another preset, and in the estimate.
    other = tmp_path / "other.yaml"
    other.write_text(f"config: options.yaml\neconomy: {str(then == '--economy').lower()}\n")
    from_python = PretrainOptions.of(str(record), economy=then == "--economy")
    assert from_python == PretrainOptions.of(str(other)) == parsed.options
    assert estimate_parser().parse(["--config", str(record), then]).options.model == parsed.options.model


def test_other_values_of_the_record_are_kept_and_noted(tmp_path: Path) -> None:
    record = tmp_path / "options.yaml"
    record.write_text(
        as_yaml(options("--economy --encoder_embed_dim 96 --sampler_dim 24 --decoder_budget 0.25"), "a run")
    )
    parsed = pretrain_parser().parse(["--config", str(record), "--no_economy", "--sampler_drop_rate", "0"])
    resolved = apply_economy(parsed.options)
    assert (resolved.sampler.sampler_dim, resolved.model.decoder_budget) == (24, 0.25)
    # It was given again.
    assert resolved.sampler.sampler_drop_rate == 0
    assert parsed.notes == ("--no_economy: kept from the recipe: decoder_budget 0.25, sampler_dim 24",)
    # Without another switch, nothing changes.
    parsed = pretrain_parser().parse(["--config", str(record), "--economy"])
    assert parsed.options == parsed.recipe and not parsed.notes


def test_the_record_has_the_values(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = yaml.safe_load((run / "options.yaml").read_text())
    assert (record["economy"], record["sampler_dim"], record["decoder_budget"]) == (True, 16, 0.5)
    assert record["sampler_drop_rate"] == 0
    built = Checkpoint.open(run / "checkpoints" / "step-00000003").meta["model"]["options"]
    assert (built["sampler_dim"], built["decoder_budget"]) == (16, 0.5)
    assert main(["inspect", str(run)]) == 0
    assert "16" in capsys.readouterr().out


def test_a_pause_changes_nothing(videos: Path, run: Path, tmp_path: Path) -> None:
    for steps in ("1", "3"):
        assert pretrain(videos, tmp_path, *ECONOMY, "--max_steps", steps) == 0
    assert losses(tmp_path) == losses(run)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["plain", "deepspeed"])
def test_activations_that_are_not_kept_change_nothing(videos: Path, run: Path, tmp_path: Path, engine: str) -> None:
    words = ["--max_steps", "3", "--checkpoint_activations", "all", "--engine", engine]
    assert pretrain(videos, tmp_path, *ECONOMY, *words) == 0
    assert losses(tmp_path) == (losses(run) if engine == "plain" else pytest.approx(losses(run), rel=1e-5))


def test_its_checkpoints_go_everywhere(videos: Path, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "economy.pth"
    assert main(["convert", str(run), "--out", str(file), "--to", "reference"]) == 0
    assert open_checkpoint(file).architecture.sampler_options()["sampler_dim"] == 16
    clip = "--input_size 32 --num_frames 4 --sampling_rate 1 --patch_size 8 --num_workers 0 --device cpu".split()
    words = "--num_sample 1 --batch_size 4 --max_steps 1 --epochs 1 --aa none --test_num_segment 1 --test_num_crop 1"
    chosen = ["--token_selection", "adaptive", "--keep_ratio", "0.5", "--checkpoint_activations", "all"]
    tuned = ["--output_dir", str(tmp_path / "tuned"), *clip, *words.split(), *chosen]
    assert main(["finetune", "--finetune", str(file), "--data_path", str(videos), *tuned]) == 0
    assert (tmp_path / "tuned" / "log.jsonl").is_file()
    assert main(["visualize", str(run), str(next(videos.rglob("*.mp4"))), "-o", str(tmp_path / "pictures")]) == 0
    assert list((tmp_path / "pictures").glob("*.npz"))


@pytest.mark.slow
def test_a_step_is_measured_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY[: TINY.index("--batch_size")], "--rounds", "1", "--device", "cpu", "--json"]
    counts = []
    for extra in ([], ["--economy"]):
        assert main(["bench", "step", *words, *extra]) == 0
        counts.append(json.loads(capsys.readouterr().out)["multiply_adds"]["this pre-training"])
    assert counts[1] < counts[0]


def test_a_classifier_has_no_decoder_to_spare(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = "--input_size 32 --num_frames 4 --patch_size 8 --num_workers 0 --device cpu --model vit_tiny_patch16_224"
    words = ["--data_path", str(videos), "--output_dir", str(tmp_path / "x"), *clip.split()]
    assert main(["finetune", *words, "--checkpoint_activations", "decoder"]) == 2
    assert "'decoder': a classifier has no decoder; expected none or all" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
