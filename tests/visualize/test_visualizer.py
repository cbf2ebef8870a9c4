"""What the files of a video are called."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adamae.files import LONGEST_NAME
from adamae.visualize.visualizer import Visualizer, output_names


def test_videos_of_one_name_are_numbered() -> None:
    assert output_names(["a/v.mp4", "b/v.mkv", "c/v-2.mp4", "d/v.mp4"]) == ["v", "v-2", "v-2-2", "v-3"]


@pytest.mark.parametrize("letter", ["n", "é"])
def test_names_that_are_too_long_for_what_follows_are_cut(letter: str) -> None:
    stem = letter * ((LONGEST_NAME - 5) // len(letter.encode()))
    names = output_names([f"{stem}{last}.mp4" for last in "xyz"])
    assert names == [names[0], f"{names[0]}-2", f"{names[0]}-3"]
    assert stem.startswith(names[0])
    assert all(len(f"{name}-saliency.gif".encode()) <= LONGEST_NAME for name in names)


@pytest.mark.parametrize(
    ("checkpoint", "name"), [(".", "my\\nrun"), ("checkpoints/..", "my\\nrun"), ("checkpoints/1.pth", "1.pth")]
)
def test_captions_name_the_checkpoint_on_one_line(
    checkpoint: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my\nrun"
    (folder / "checkpoints").mkdir(parents=True)
    monkeypatch.chdir(folder)
    shown: Any = SimpleNamespace(checkpoint=checkpoint, file=SimpleNamespace(step=3))
    assert Visualizer.caption(shown, "videos/a.mp4") == f"a.mp4, checkpoint {name} (3 steps)"
