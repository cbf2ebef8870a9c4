"""What a run goes on from, and what it refuses to go on from; nothing is written over then."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert "none of its 2 checkpoints is whole" in told
    assert "--resume none begins anew" in told
    assert told.count("\n") == 1
    assert snapshot(run) == before
    assert pretrain(videos, run, "--epochs", "1", "--resume", "none") == 0
    assert sorted(losses(run)) == [1, 2, 3]
    assert log(run)[-1]["step"] == 3
