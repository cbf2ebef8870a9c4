"""The command behind the table of gestures: how clips are cut and listed, what is run, how its table is made."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch

from adamae.data.decoding import get_decoder
from adamae.data.splits import load_splits
from adamae.errors import UserError


@pytest.fixture
def cutting() -> ModuleType:
    return importlib.import_module("gesture_parts")


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("gestures")


@pytest.mark.parametrize("num_frames", [47, 48, 109])
def test_parts_share_no_frame(cutting: ModuleType, num_frames: int) -> None:
    parts = cutting.cut_in_time(num_frames, 4, 3)
    assert len(parts) == 4
    assert len({len(part) for part in parts}) == 1
    assert all(later.start - earlier.stop == 3 for earlier, later in pairwise(parts))
    # As long as can be, and within the clip.
    assert num_frames - 4 < parts[-1].stop <= num_frames
    with pytest.raises(UserError, match="12 frames in 4 parts with gaps of 3"):
        cutting.cut_in_time(12, 4, 3)


def test_lists_keep_training_and_test_apart(cutting: ModuleType) -> None:
    lists = cutting.lists_of(4)
    assert len(cutting.GESTURES) == 20
    training, testing = ({row.split()[0] for row in lists[name]} for name in ("train.csv", "test.csv"))
    assert len(training) == len(testing) == 40
    assert not training & testing
    assert set(lists["pretrain.csv"]) == training
    # What a recipe is chosen by are training parts; what a person is tested on are test parts.
    below = {name: {row.split()[0].removeprefix(".") for row in rows} for name, rows in lists.items() if "/" in name}
    chosen_by = below.pop("development/train.csv"), below.pop("development/test.csv")
    assert not chosen_by[0] & chosen_by[1]
    assert chosen_by[0] | chosen_by[1] == training
    assert below.pop("far/train.csv") == {f"./{gesture}/0.mp4" for gesture in cutting.GESTURES}
    assert below.pop("far/test.csv") == {f"./{gesture}/3.mp4" for gesture in cutting.GESTURES}
    for split, rows in (("train", training), ("test", testing)):
        people = [some for name, some in below.items() if name.endswith(f"{split}.csv")]
        assert set().union(*people) == rows
        assert all(not one & other for one, other in combinations(people, 2))


def test_a_clip_is_cut_into_videos(
    cutting: ModuleType, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "GESTURES", ("eat", "want"))
    monkeypatch.setattr(cutting, "SIGNERS", {"two": ("eat", "want")})
    cutting.write_parts(clips, tmp_path, parts=4, gap=3, short_side=32, least=8)
    splits = load_splits(tmp_path)
    assert splits.classes == ("eat", "want")
    assert len(splits.train) == len(splits.test) == 4
    assert load_splits(tmp_path / "two").classes == ("eat", "want")
    with get_decoder()(splits.test.path(0)) as reader:
        assert reader.num_frames == 9
        assert reader.read([0]).shape == (1, 32, 42, 3)
    with pytest.raises(UserError, match="eat: 9 frames in each of 4 parts, expected at least 10"):
        cutting.write_parts(clips, tmp_path, parts=4, gap=3, short_side=32, least=10)


def test_shares_count_every_test_part_once(script: ModuleType) -> None:
    counts = {"videos": (5, 40), "videos/far": (3, 20)}
    people = {f"videos/{name}": (rank, 2 * len(some)) for rank, (name, some) in enumerate(script.SIGNERS.items())}
    found = script.shares(lambda folder: (counts | people)[folder], "videos")
    assert found == {"all": 12.5, "person": 100 * (0 + 1 + 2 + 3 + 4) / 40, "far": 15.0}


def test_plain_features(script: ModuleType) -> None:
    clip = torch.arange(24.0).reshape(2, 2, 2, 3)
    assert [describe(clip).tolist() for describe in script.PLAIN.values()] == [list(range(24)), [10.5, 11.5, 12.5]]


def test_pieces_are_done_once_and_put_together(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def run(words: Sequence[str]) -> str:
        calls.append(list(words))
        if words[0] == "evaluate":
            output = Path(words[words.index("--output_dir") + 1])
            output.mkdir(parents=True)
            (output / "scores.json").write_text(json.dumps({"top1": 60.0 + 10 * ("pretrain" in words[1])}))
        if words[0] != "probe":
            return ""
        right = 10 + 4 * ("pretrain" in words[1] and "--random_weights" not in words) + int(words[1][-1])
        return json.dumps({"probes": {"knn": {"top1_correct": right, "scored": 40}}})

    monkeypatch.setattr(script, "run_here", run)
    monkeypatch.setattr(script.Gestures, "_cut", lambda _: {})
    monkeypatch.setattr(script.Gestures, "_probe_plainly", lambda *_: {"all": 75.0, "person": 80.0, "far": 50.0})

    def compare(**options: float) -> str:
        comparison = script.Gestures(tmp_path, [], [], [], run, **options)
        with contextlib.suppress(script.OutOfTimeError):
            comparison.compare_weights([0, 1])
        table: str = comparison.weights_table([0, 1])
        return table

    assert "not yet" in compare(deadline=-1.0)
    assert calls == []
    table = compare()
    seed = ["pretrain", "pretrain", *["probe"] * 21, *["finetune", "evaluate"] * 2]
    assert [call[0] for call in calls] == seed * 2
    assert ["--finetune" in call for call in calls if call[0] == "finetune"] == [True, False] * 2
    first = next(call for call in calls if call[0] == "pretrain" and "--max_steps" in call)
    assert float(first[first.index("--lr") + 1]) < 1e-9  # weights of 0.02 cannot move by that
    assert table.splitlines()[2:] == [
        f"| pre-trained |{' 36.2 ± 15.9 | 35.0, 37.5 |' * 3} 70.0 ± 0.0 | 70.0, 70.0 |",
        f"| random, as pre-training begins |{' 26.2 ± 15.9 | 25.0, 27.5 |' * 3}  |  |",
        f"| random, as `--random_weights` draws them |{' 26.2 ± 15.9 | 25.0, 27.5 |' * 3} 60.0 ± 0.0 | 60.0, 60.0 |",
        f"| pre-trained minus random, as pre-training begins |{' 10.0 ± 0.0 | 10.0, 10.0 |' * 3}  |  |",
        f"| pre-trained minus random, as `--random_weights` draws them |{' 10.0 ± 0.0 | 10.0, 10.0 |' * 4}",
        "| no network: pixels at 16 x 16 | 75.0 |  | 80.0 |  | 50.0 |  |  |  |",
        "| no network: mean colour | 75.0 |  | 80.0 |  | 50.0 |  |  |  |",
        "| chance | 5.0 |  | 25.0 |  | 5.0 |  | 5.0 |  |",
    ]
    assert compare() == table
    assert len(calls) == 2 * len(seed)
