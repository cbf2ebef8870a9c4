"""Bad videos are written down once, and quarantine reaches every rank and every resumed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from adamae.distributed import World
from adamae.training.fault_log import FaultLog
from adamae.training.run_logger import RunLogger

HUNG = {"path": "5.mp4", "reason": "took longer than 60 seconds", "index": 5, "quarantined": True}
EMPTY = {"path": "7.mp4", "reason": "the file is empty", "index": 7}


class TwoRanks(World):
    """What the other rank gathers as well."""

    others: list[dict[str, Any]]

    def gather(self, value: Any) -> list[Any]:
        return [value, self.others]


def batch(*bad: dict[str, Any]) -> dict[str, Any]:
    return {"index": torch.zeros(2), "seed": torch.zeros(2), "bad": list(bad)}


def test_what_any_rank_quarantines_all_ranks_do(tmp_path: Path) -> None:
    world = TwoRanks()
    world.others = [{"step": 1, "epoch": 0, **HUNG}]
    told: list[int] = []
    faults = FaultLog(RunLogger(tmp_path), world, num_videos=9, quarantine=told.extend)
    faults.add(1, 0, batch(EMPTY))
    faults.settle({}, 0)
    assert told == [5]


def test_one_line_for_each_video_and_quarantine_outlives_the_run(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    told: list[int] = []
    faults = FaultLog(logger, World(), num_videos=9, quarantine=told.extend)
    for step in (1, 2):
        faults.add(step, 0, batch(HUNG, EMPTY))
        faults.add(step, 0, batch(HUNG))
        faults.settle({}, 0)
    assert logger.bad_videos.read() == [{"step": 1, "epoch": 0, **HUNG}, {"step": 1, "epoch": 0, **EMPTY}]
    assert told == [5]
    resumed: list[int] = []
    FaultLog(logger, World(), num_videos=9, quarantine=resumed.extend).resume()
    assert resumed == [5]
