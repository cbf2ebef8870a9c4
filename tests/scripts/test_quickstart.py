"""What scripts/quickstart.sh starts on somebody's own videos: ``adamae`` is a stand-in that prints its words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launching import ROOT


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    programs = {
        "scripts/install.sh": "exit 0\n",
        ".venv/bin/adamae": '#!/bin/sh\necho "$@"\n',
        ".venv/bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
    }
    for name, text in programs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    shutil.copy(ROOT / "scripts" / "quickstart.sh", folder / "scripts")
    return folder


def started(repository: Path, *words: str | Path, out: str = "out") -> tuple[str, str]:
    """The words of ``adamae pretrain`` and ``visualize``."""
    call = ["bash", repository / "scripts" / "quickstart.sh", *words]
    environment = os.environ | {"OUT": out}
    done = subprocess.run(call, env=environment, cwd="/", capture_output=True, text=True, check=True)
    pretraining, visualizing = (
        line for line in done.stdout.splitlines() if line.startswith(("pretrain ", "visualize "))
    )
    return pretraining, visualizing


@pytest.mark.parametrize(
    ("count", "steps"),
    [
        (2, "--batch_size 2 --num_sample 8 --epochs 480 --warmup_epochs 48"),
        (33, "--batch_size 4 --num_sample 4 --epochs 59 --warmup_epochs 6"),
        (5000, "--batch_size 4 --num_sample 4 --epochs 1 --warmup_epochs 1"),
    ],
)
def test_as_many_steps_for_any_number_of_videos(repository: Path, count: int, steps: str) -> None:
    (repository / ".venv/bin/python").write_text(f"#!/bin/sh\necho {count}\necho /a.mp4\n")
    words, _ = started(repository, "/videos", "--lr", "0.01")
    assert f" {steps} --max_steps 480 " in words
    # What is typed comes last and wins.
    assert words.endswith(" --lr 0.01")


@pytest.mark.slow
def test_the_videos_are_counted_and_one_is_visualized(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my videos"
    (folder / "more").mkdir(parents=True)
    for name in ("b.TS", "a.wmv", "more/c.mp4", "notes.txt"):
        (folder / name).touch()
    pretraining, visualizing = started(repository, folder)
    assert " --batch_size 3 --num_sample 5 " in pretraining
    assert visualizing.startswith(f"visualize out/pretrain {folder}/a.wmv ")

    (tmp_path / "list.csv").write_text('label,path\n3,"my videos/b.TS"\n')
    pretraining, visualizing = started(repository, tmp_path / "list.csv")
    assert " --batch_size 1 --num_sample 16 " in pretraining
    assert f" {folder}/b.TS --out" in visualizing

    (folder / "train.csv").write_text("a.wmv 0\nb.TS 0\n")
    (folder / "val.csv").write_text("more/c.mp4 0\n")
    pretraining, visualizing = started(repository, folder)
    assert " --batch_size 2 --num_sample 8 " in pretraining
    assert f" {folder}/more/c.mp4 --out" in visualizing


def test_every_source_has_a_folder_of_its_own(repository: Path, tmp_path: Path) -> None:
    (repository / ".venv/bin/python").write_text("#!/bin/sh\necho 1\necho /a.mp4\n")
    folders = set()
    for name in ("videos", "other/videos", "mit Leerzeichen"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "a.mp4").touch()
        words, _ = started(repository, tmp_path / name, out="")
        folder = f"runs/quickstart{str(tmp_path / name).replace('/', '-')}"
        assert f" --output_dir {folder}/pretrain " in words
        folders.add(folder)
    assert len(folders) == 3 and "runs/quickstart" not in folders
    words, _ = started(repository, tmp_path / "videos")
    assert " --output_dir out/pretrain " in words


def test_without_any_video_the_command_says_so(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (repository / ".venv/bin/adamae").write_text('#!/bin/sh\necho "$@"\nexit 2\n')
    command = ["bash", repository / "scripts" / "quickstart.sh", tmp_path / "empty"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout.startswith("pretrain ")


def test_the_built_in_videos_take_the_recipe_as_it_is(repository: Path) -> None:
    words = ["bash", repository / "scripts" / "quickstart.sh"]
    # It ends after visualize, where it looks for what the stand-in has not made.
    done = subprocess.run(words, env=os.environ | {"OUT": "out"}, cwd="/", capture_output=True, text=True, check=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("pretrain ")]
    assert (
        line == "pretrain --config quickstart --data_path out/videos --output_dir out/pretrain --log_images_every 100"
    )
