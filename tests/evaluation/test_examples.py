"""The Python of FINETUNE.md runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "FINETUNE.md"


def test_the_example_of_the_guide(
    test_list: Path, finetuned: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = GUIDE.read_text(encoding="utf-8").partition("### Scores in Python\n")[2]
    example = re.search(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert example is not None
    shutil.copytree(test_list.parent, tmp_path / "videos")
    (tmp_path / "videos" / "a" / "bad.mp4").unlink()
    shutil.copy(tmp_path / "videos" / "a" / "0.mp4", tmp_path / "holiday.mp4")
    # One list for training and test.
    shutil.copy(test_list, tmp_path / "videos" / "train.csv")
    for name, source in (("tuned/best", finetuned), ("mine", pretrained)):
        (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], str(GUIDE), "exec"), {})
