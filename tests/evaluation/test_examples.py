"""The Python of the guides runs."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("guide", "section"),
    [
        ("FINETUNE.md", "### Scores in Python"),
        ("PRETRAIN.md", "## Reading the panels"),
        ("PRETRAIN.md", "### Before a run"),
        pytest.param("docs/benchmarks/README.md", "## How to repeat", marks=pytest.mark.slow),
    ],
)
def test_the_example_of_the_guide(
    guide: str,
    section: str,
    test_list: Path,
    finetuned: Path,
    pretrained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (ROOT / guide).read_text(encoding="utf-8").partition(f"{section}\n")[2]
    example = re.search(r"^ *```python\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
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
    exec(compile(textwrap.dedent(example[1]), guide, "exec"), {})
