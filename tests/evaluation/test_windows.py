"""Windows in time."""

from __future__ import annotations

import pytest

from adamae.evaluation.windows import Windows


@pytest.mark.parametrize(
    ("frames", "step", "starts"),
    [(20, None, [0, 8, 12]), (16, None, [0, 8]), (20, 4, [0, 4, 8, 12]), (5, None, [0]), (9, 20, [0, 1])],
)
def test_windows_cover_the_video(frames: int, step: int | None, starts: list[int]) -> None:
    assert Windows(4, 2, step).starts(frames).tolist() == starts


def test_the_last_frame_stands_in_for_those_beyond_the_end() -> None:
    assert Windows(4, 2).frames(0, 5).tolist() == [0, 2, 4, 4]
