"""What a run goes on from, and what it refuses to go on from; nothing is written over then."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from adamae.checkpoints.store import CheckpointStore
from adamae.cli.main import main
from adamae.distributed import World
from adamae.training.preemption import Preemption
from adamae.training.run_logger import TIMING
from tests.cli.test_pretrain import log, losses, pretrain


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, to see that nothing was touched."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_checkpoint_damaged_ends_the_run_and_changes_nothing(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert pretrain(videos, run, "--save_ckpt_steps", "3") == 0
    for file in run.glob("checkpoints/step-*/training.pt"):
        file.write_bytes(file.read_bytes()[:-1])
    before = snapshot(run)
    capsys.readouterr()
    assert pretrain(videos, run, "--epochs", "3") == 2
    told = capsys.readouterr().err
    assert "none of its 2 checkpoints is valid" in told
    assert "--resume none starts a new run" in told
    assert told.count("\n") == 1
    assert snapshot(run) == before
    assert pretrain(videos, run, "--epochs", "1", "--resume", "none") == 0
    assert sorted(losses(run)) == [1, 2, 3]
    assert log(run)[-1]["step"] == 3


def resumed_from(capsys: pytest.CaptureFixture[str]) -> str:
    """Where the run said that it starts."""
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith(("resuming", "starting")))
    return line


def recorded_resume(output: Path) -> object:
    return yaml.safe_load((output / "options.yaml").read_text())["resume"]


def test_a_run_that_began_in_another_goes_on_with_the_same_command(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert pretrain(videos, first, "--max_steps", "2") == 0
    for steps, place in ((3, first), (4, second)):
        capsys.readouterr()
        assert pretrain(videos, second, "--max_steps", str(steps), "--resume", str(first)) == 0
        assert f"resuming from step {steps - 1}" in (told := resumed_from(capsys)) and f"{place}/" in told
        assert recorded_resume(second) == str(first)
    # And with --resume auto; then its options repeat it elsewhere.
    assert pretrain(videos, second, "--max_steps", "5") == 0
    capsys.readouterr()
    assert main(["pretrain", "--config", str(second / "options.yaml"), "--output_dir", str(third)]) == 0
    assert resumed_from(capsys).endswith(f"{first}/checkpoints/step-00000002")
    # To go back within a run is to go back, each time.
    for _ in range(2):
        back = str(second / "checkpoints" / "step-00000004")
        assert pretrain(videos, second, "--max_steps", "5", "--resume", back) == 0
        assert resumed_from(capsys).endswith(back)
        assert recorded_resume(second) == str(first)


@pytest.mark.parametrize("resume", ["none", "checkpoint"])
def test_a_requeued_job_goes_on_with_what_it_has_begun(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, resume: str
) -> None:
    run = tmp_path / "run"
    assert pretrain(videos, run, "--max_steps", "2", "--keep_last", "9") == 0
    path = run / "checkpoints" / "step-00000002"
    words = ("--resume", "none" if resume == "none" else str(path), "--keep_last", "9")
    start = f"starting a new run in {run}" if resume == "none" else str(path)

    def go_on(max_steps: int, job: str, restarts: str | None) -> str:
        monkeypatch.setenv("SLURM_JOB_ID", job)
        if restarts is not None:
            monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
        capsys.readouterr()
        assert pretrain(videos, run, "--max_steps", str(max_steps), *words) == 0
        return resumed_from(capsys)

    # Requeued before it has saved anything, the job begins as it was told.
    assert go_on(3, "7", "1").endswith(start)
    assert recorded_resume(run) == "auto"
    assert go_on(4, "7", "2").endswith("step-00000003")
    assert go_on(3, "8", "1").endswith(start)
    assert go_on(3, "8", "0").endswith(start)


@pytest.mark.parametrize(("resume", "hint"), [("auto", ""), ("none", " with --resume auto")])
def test_a_stopped_run_says_how_it_is_resumed(
    videos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    resume: str,
    hint: str,
) -> None:
    monkeypatch.setattr(Preemption, "agreed", lambda self: True)
    pretrain(videos, tmp_path, "--resume", resume)
    assert f"run the same command{hint} to resume" in capsys.readouterr().err


def test_a_rank_that_does_not_see_the_checkpoint_ends_the_run(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pretrain(videos, tmp_path, "--max_steps", "2") == 0
    before = snapshot(tmp_path)
    # What two further ranks see: one of them has another disk.
    monkeypatch.setattr(World, "gather", lambda self, value: [value, value, not value])
    capsys.readouterr()
    assert pretrain(videos, tmp_path) == 2
    told = capsys.readouterr().err
    assert "step-00000002: rank 0 found this checkpoint, and rank 2 cannot see it" in told
    assert "expected one --output_dir (and --resume PATH) for all machines" in told
    assert told.count("\n") == 1
    assert snapshot(tmp_path) == before


def steps(output: Path, kind: str = "step") -> list[tuple[int, int]]:
    return [(int(str(line["epoch"])), int(str(line["step"]))) for line in log(output) if line["kind"] == kind]


def rates(output: Path) -> list[object]:
    return [line["lr"] for line in log(output) if line["kind"] == "step"]


def timeless(output: Path) -> list[dict[str, object]]:
    return [{name: value for name, value in line.items() if name not in TIMING} for line in log(output)]


@pytest.mark.parametrize(("pause", "before"), [(6, "2"), (4, "1.333")])
def test_another_batch_goes_on_after_as_many_videos(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pause: int, before: str
) -> None:
    """Three steps to an epoch become six: epochs and rates go on, updates are counted on, no line of the log goes."""
    run, rest = tmp_path / "run", 24 - 2 * pause
    assert pretrain(videos, tmp_path / "whole", "--epochs", "4", "--batch_size", "2") == 0
    assert pretrain(videos, run, "--epochs", "4", "--max_steps", str(pause)) == 0
    first = log(run)
    capsys.readouterr()
    assert pretrain(videos, run, "--epochs", "4", "--batch_size", "2", "--max_steps", str(pause + 3)) == 0
    assert f"resuming from step {pause}, {before} of 4 epochs done" in capsys.readouterr().err
    # And once more, from a checkpoint whose steps and epochs do not go together.
    assert pretrain(videos, run, "--epochs", "4", "--batch_size", "2") == 0
    assert log(run)[: len(first)] == first
    assert [step for _, step in steps(run)] == list(range(1, pause + rest + 1))
    assert steps(run)[pause:] == [(epoch, step - pause) for epoch, step in steps(tmp_path / "whole")[2 * pause :]]
    assert steps(run)[pause:] == [((2 * pause + number) // 6, pause + number + 1) for number in range(rest)]
    assert rates(run)[pause:] == rates(tmp_path / "whole")[2 * pause :]
    assert [epoch for epoch, _ in steps(run, "epoch")] == [0, 1, 2, 3]
    unpaused = tmp_path / "unpaused"
    assert pretrain(videos, unpaused, "--epochs", "4", "--max_steps", str(pause)) == 0
    assert pretrain(videos, unpaused, "--epochs", "4", "--batch_size", "2") == 0
    assert timeless(unpaused) == timeless(run)


def test_clips_of_one_decode_are_counted_as_one_video(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many clips to a step as before are half as many videos: six steps to an epoch become three."""
    assert pretrain(videos, tmp_path, "--batch_size", "2", "--num_sample", "2", "--max_steps", "8") == 0
    capsys.readouterr()
    assert pretrain(videos, tmp_path) == 0
    assert "resuming from step 8, 1.333 of 2 epochs done" in capsys.readouterr().err
    assert steps(tmp_path, "epoch") == [(0, 6), (1, 10)]


def test_fine_tuning_goes_on_with_another_batch(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Repeated clips do not count in its steps."""
    assert finetune(videos, tmp_path, "--epochs", "3", "--max_steps", "6", "--num_sample", "2") == 0
    capsys.readouterr()
    assert finetune(videos, tmp_path, "--epochs", "3", "--num_sample", "1", "--batch_size", "2") == 0
    assert "resuming from step 6, 2 of 3 epochs done" in capsys.readouterr().err
    assert steps(tmp_path, "epoch") == [(0, 3), (1, 6), (2, 12)]
    best = CheckpointStore(tmp_path / "best").newest()
    assert best is not None
    assert best.meta["epoch"] in (1, 2, 3)


def test_another_batch_inside_an_epoch_says_what_to_do(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, words = tmp_path / "run", ["--epochs", "4"]
    assert pretrain(videos, run, *words, "--max_steps", "4") == 0
    before = snapshot(run)
    capsys.readouterr()
    assert pretrain(videos, run, *words, "--total_batch_size", "12") == 2
    told = capsys.readouterr().err
    assert "stopped after 4 videos or images of epoch 1, which is not a multiple of the 12 of a step" in told
    assert "--total_batch_size 4 --max_steps 6" in told
    assert told.count("\n") == 1
    assert snapshot(run) == before
    assert pretrain(videos, run, *words, "--total_batch_size", "4", "--max_steps", "6") == 0
    assert pretrain(videos, run, *words, "--total_batch_size", "12") == 0
    assert steps(run, "epoch") == [(0, 3), (1, 6), (2, 7), (3, 8)]


def test_an_epoch_that_a_larger_batch_completes_is_logged_once(videos: Path, tmp_path: Path) -> None:
    """Eight of twelve videos were seen: with eight to a step, the other four are no step."""
    words = ["--epochs", "3"]
    assert pretrain(videos, tmp_path, *words, "--max_steps", "2") == 0
    for _ in range(2):
        assert pretrain(videos, tmp_path, *words, "--batch_size", "8") == 0
    assert steps(tmp_path) == [(0, 1), (0, 2), (1, 3), (2, 4)]
    assert steps(tmp_path, "epoch") == [(0, 2), (1, 3), (2, 4)]
    values = {step: float(str(loss)) for step, loss in losses(tmp_path).items()}
    means = [line["loss"] for line in log(tmp_path) if line["kind"] == "epoch"]
    assert means == pytest.approx([(values[1] + values[2]) / 2, values[3], values[4]])


def test_an_only_epoch_that_a_larger_batch_completes_is_validated(videos: Path, tmp_path: Path) -> None:
    assert finetune(videos, tmp_path, "--max_steps", "2") == 0
    assert not (tmp_path / "best").exists()
    assert finetune(videos, tmp_path, "--batch_size", "8") == 0
    (line,) = (line for line in log(tmp_path) if line["kind"] == "epoch")
    assert (line["step"], line["best_val_top1"]) == (2, line["val_top1"])
    assert (tmp_path / "best" / "step-00000002").exists()


def finetune(videos: Path, output: Path, *more: str) -> int:
    words = "--model vit_tiny_patch16_224 --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1 --patch_size 8"
    words += " --input_size 32 --num_frames 4 --sampling_rate 1 --batch_size 4 --num_workers 0 --epochs 1 --device cpu"
    words += " --aa none --test_num_segment 1"
    return main(["finetune", "--data_path", str(videos), "--output_dir", str(output), *words.split(), *more])


@pytest.fixture(scope="module")
def learnable(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("learnable")
    assert pretrain(videos, output, "--max_steps", "2") == 0
    return output


@pytest.fixture(scope="module")
def classifier(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("classifier")
    assert finetune(videos, output) == 0
    return output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--encoder_depth 6", "is of a different model (encoder_depth: 1 -> 6)"),
        ("--patch_size 16", "is of a different model (patch_size: 8 -> 16)"),
        ("--mask_type tube", "is of a different model (mask_type: learnable -> tube)"),
        ("--sampler_network mlp --init_values 0.1", "(init_values: false -> true, sampler_network: mha -> mlp)"),
        ("--input_size 64 --num_frames 8", "is of a different model (img_size: 32 -> 64, num_frames: 4 -> 8)"),
        ("--resume {classifier}", "is a fine-tuning checkpoint, expected a pre-training checkpoint"),
        ("--resume {classifier}/best", "is the best checkpoint of validation, which contains only weights"),
    ],
)
def test_a_run_of_another_kind_or_network_is_refused_and_changes_nothing(
    learnable: Path,
    classifier: Path,
    videos: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    before = snapshot(learnable)
    capsys.readouterr()
    assert pretrain(videos, learnable, *words.format(classifier=classifier).split()) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "--resume none to start a new run" in told
    assert told.count("\n") == 1
    assert snapshot(learnable) == before


def test_weights_that_no_description_tells_apart_are_refused_too(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a sampler whose MLP followed the encoder's ratio: the same words, other shapes."""
    assert pretrain(videos, tmp_path, "--max_steps", "2") == 0
    store = CheckpointStore(tmp_path / "checkpoints")
    found = store.newest()
    assert found is not None
    weights = found.weights()
    name = "encoder.get_token_probs.0.mlp.fc1.weight"
    store.save(2, {**weights, name: weights[name][:32].clone()}, found.training(), found.meta)
    capsys.readouterr()
    assert pretrain(videos, tmp_path) == 2
    told = capsys.readouterr().err
    assert f"is of a different model ({name}: 32x16 -> 64x16)" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "--mask_ratio 0.5 --drop_path 0.1 --sampling_weight 0.1 --decoder_budget 0.5 --sampler_drop_rate 0",
        "--no_normlize_target --reconstruction_loss l1 --flip",
    ],
)
def test_what_only_acts_while_training_may_change(videos: Path, tmp_path: Path, words: str) -> None:
    assert pretrain(videos, tmp_path, "--max_steps", "1") == 0
    assert pretrain(videos, tmp_path, "--max_steps", "2", *words.split()) == 0
    assert sorted(losses(tmp_path)) == [1, 2]


def test_blind_masks_take_each_other_s_weights(videos: Path, tmp_path: Path) -> None:
    assert pretrain(videos, tmp_path, "--max_steps", "1", "--mask_type", "tube") == 0
    (tmp_path / "deep.yaml").write_text("sampler_depth: 2\n")
    words = ("--config", str(tmp_path / "deep.yaml"), "--mask_type", "random")
    assert pretrain(videos, tmp_path, "--max_steps", "2", *words) == 0
    assert sorted(losses(tmp_path)) == [1, 2]
