"""``probe`` from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adamae.errors import UserError
from adamae.options.evaluation import ProbeOptions
from adamae.probe import ProbeResult, probe
from tests.evaluation.tiny import NAMES

FAST: dict[str, Any] = {"sampling_rate": 2, "num_workers": 0, "device": "cpu", "k": 1, "probe_tokens": 4}


@pytest.fixture
def data(test_list: Path, tmp_path: Path) -> dict[str, str]:
    """The list for training and for test."""
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_bytes(test_list.read_bytes())
    return {"data_path": str(tmp_path), "data_root": str(test_list.parent)}


def run(checkpoint: Path, data: dict[str, str], **values: Any) -> ProbeResult:
    return probe(ProbeOptions.of(str(checkpoint), **data, **{**FAST, **values}))


def test_probes_of_a_data_set(pretrained: Path, data: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    result = run(pretrained, data)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(result.accuracies) == ["knn", "linear", "attentive"]
    # A video is its own nearest neighbour.
    assert result.accuracies["knn"].top1 == 100
    assert result.splits.classes == NAMES
    assert result.train.pooled.shape == (6, 32)
    # Of 2 x 2 x 2 tokens, neighbours in space are pooled first.
    assert result.train.tokens is not None and result.train.tokens.shape == (6, 2, 32)
    assert [Path(video.path).name for video in result.test.unread] == ["bad.mp4"]
    report = result.as_dict()
    assert (report["weights"], report["training_videos"], report["test_videos"]) == ("checkpoint", 7, 7)
    assert (report["training_unread"], report["test_unread"]) == (1, 1)
    knn = report["probes"]["knn"]
    assert (knn["videos"], knn["scored"], knn["unscored"]) == (7, 6, 1)
    assert knn["top1_unscored_wrong"] == pytest.approx(100 * 6 / 7)
    line = result.render().splitlines()[1]
    assert line.startswith("knn          100.00%")
    assert line.endswith("  6 of 6; 1 without a score: 85.71 % and 85.71 % if counted as wrong")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_random_weights_depend_on_the_seed_alone(pretrained: Path, data: dict[str, str]) -> None:
    first, again, other = (run(pretrained, data, random_weights=True, probe_tokens=0, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.train.pooled, again.train.pooled)
    assert not torch.equal(first.train.pooled, other.train.pooled)
    assert list(first.accuracies) == ["knn", "linear"]


def test_mistakes(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data_path is missing"):
        probe(ProbeOptions.of(str(pretrained), device="cpu"))
    with pytest.raises(UserError, match=r"none\.csv: no such list or folder"):
        probe(ProbeOptions.of(str(pretrained), data_path=str(tmp_path / "none.csv"), device="cpu"))
