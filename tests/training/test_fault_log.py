"""Bad videos are written down once, and quarantine reaches every rank and every resumed run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from adamae.data.annotations import Annotations
from adamae.data.dataset import ClipDataset
from adamae.data.watch import QuarantineError, Watch
from adamae.distributed import World
from adamae.errors import UserError
from adamae.training.batches import Batches
from adamae.training.fault_log import FaultLog
from adamae.training.run_logger import RunLogger

HUNG = {"path": "5.mp4", "reason": "took longer than 60 seconds", "index": 5, "quarantined": True}
EMPTY = {"path": "7.mp4", "reason": "the file is empty", "index": 7}


class TwoRanks(World):
    """What the other rank gathers as well."""

    others: list[dict[str, Any]]

    def gather(self, value: Any) -> list[Any]:
        return [value, self.others]


def rows_of(paths: Iterable[str]) -> dict[str, list[int]]:
    """The list of these tests: 0.mp4, 1.mp4 and so on."""
    return {path: [int(path.removesuffix(".mp4"))] for path in paths}


def batch(*bad: dict[str, Any]) -> dict[str, Any]:
    return {"index": torch.zeros(2), "seed": torch.zeros(2), "bad": list(bad)}


def test_what_any_rank_quarantines_all_ranks_do(tmp_path: Path) -> None:
    world = TwoRanks()
    world.others = [{"step": 1, "epoch": 0, **HUNG}]
    told: list[int] = []
    faults = FaultLog(RunLogger(tmp_path), world, num_videos=9, rows_of=rows_of, quarantine=told.extend)
    faults.add(1, 0, batch(EMPTY))
    faults.settle({}, 0)
    assert told == [5]


def test_one_line_for_each_video_and_quarantine_outlives_the_run(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    told: list[int] = []
    faults = FaultLog(logger, World(), num_videos=9, rows_of=rows_of, quarantine=told.extend)
    for step in (1, 2):
        faults.add(step, 0, batch(HUNG, EMPTY))
        faults.add(step, 0, batch(HUNG))
        faults.settle({}, 0)
    assert logger.bad_videos.read() == [{"step": 1, "epoch": 0, **HUNG}, {"step": 1, "epoch": 0, **EMPTY}]
    assert told == [5]
    resumed: list[int] = []
    FaultLog(logger, World(), num_videos=9, rows_of=rows_of, quarantine=resumed.extend).resume()
    assert resumed == [5]


@pytest.mark.parametrize("steps", [(1, 2), (1, 1)])
def test_a_video_that_could_not_be_read_and_hangs_later_is_quarantined(tmp_path: Path, steps: tuple[int, int]) -> None:
    logger = RunLogger(tmp_path)
    told: list[int] = []
    faults = FaultLog(logger, World(), num_videos=9, rows_of=rows_of, quarantine=told.extend)
    first = {**EMPTY, "reason": "cannot be read (Input/output error)"}
    later = {**EMPTY, "reason": "took longer than 60 seconds", "quarantined": True}
    faults.add(steps[0], 0, batch(first))
    if steps[0] != steps[1]:
        faults.settle({}, 0)
    faults.add(steps[1], 0, batch(later, first))
    faults.settle({}, 0)
    faults.add(3, 0, batch(first, later))
    faults.settle({}, 0)
    assert told == [7]
    lines = [{"step": steps[0], "epoch": 0, **first}, {"step": steps[1], "epoch": 0, **later}]
    assert logger.bad_videos.read() == (lines if steps[0] != steps[1] else lines[1:])
    resumed: list[int] = []
    FaultLog(logger, World(), num_videos=9, rows_of=rows_of, quarantine=resumed.extend).resume()
    # In another list the video may have another row.
    FaultLog(logger, World(), num_videos=9, rows_of=lambda _: {"7.mp4": [2]}, quarantine=resumed.extend).resume()
    assert resumed == [7, 2]


class Listed(ClipDataset):
    """Of a data set only the list and its marks."""

    def __init__(self, paths: list[str]) -> None:
        self.annotations = Annotations.of(paths)
        self.watch = Watch(len(paths))


@pytest.mark.parametrize(
    "names", ["a.mp4 5.mp4 7.mp4 b.mp4", "5.mp4 a.mp4 7.mp4", "a.mp4 b.mp4", "a.mp4", "7.mp4 b.mp4 5.mp4"]
)
def test_what_is_bad_is_found_again_in_a_list_that_has_changed(tmp_path: Path, names: str) -> None:
    logger = RunLogger(tmp_path)
    logger.bad_videos.append(
        {"step": 1, "epoch": 0, **record} for record in (HUNG | {"index": 1}, EMPTY | {"index": 2})
    )
    paths = names.split()
    data = Listed(paths)
    batches = Batches(data, World(), batch_size=1, accumulation=1, num_workers=0, pin_memory=False)
    settings: dict[str, Any] = {"num_videos": len(paths), "rows_of": batches.rows_of, "quarantine": batches.quarantine}
    faults = FaultLog(logger, World(), max_bad_fraction=0.0, **settings)
    faults.resume()
    for row, path in enumerate(paths):
        if path == "5.mp4":
            with pytest.raises(QuarantineError, match="quarantined earlier"), data.watch.over(row, path):
                pass
        else:
            with data.watch.over(row, path):
                pass
    count = 1 + sum(path in ("5.mp4", "7.mp4") for path in paths)
    faults.add(2, 0, batch({"path": "c.mp4", "reason": "the file is empty", "index": 99}))
    with pytest.raises(UserError, match=rf"^{count} of {len(paths)} files could not be read"):
        faults.settle({}, 0)
