"""When kills by the system are a video's fault, when memory's, and when nobody's."""

from __future__ import annotations

import pytest

from adamae.data.killed_workers import KilledWorkers
from adamae.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:workers were killed")


def killed() -> KilledWorkers:
    return KilledWorkers("workers", "buy some")


def calm(killed: KilledWorkers, results: int) -> None:
    for _ in range(results):
        killed.pass_one()


def test_the_same_video_three_times_in_a_row_is_at_fault() -> None:
    one = killed()
    assert [one.add([4]), one.add([4]), one.add([4])] == [set(), set(), {4}]
    two = killed()  # of which both are at it, in two epochs
    assert [two.add([4, 4]), two.add([4, 4]), two.add([4, 4])] == [set(), set(), {4}]


@pytest.mark.parametrize("places", [[4, 7, 4, 4], [4, None, 4, 4], [7, 4, 4], [None, None, None]])
def test_another_place_between_speaks_for_the_video(places: list[int | None]) -> None:
    tally = killed()
    assert not any(tally.add([place]) for place in places)
    together = killed()
    assert not any(together.add([place, 9]) for place in places)


def test_at_one_place_after_another_it_is_memory() -> None:
    tally = killed()
    for place in range(6):
        calm(tally, 99)
        assert not tally.add([place, None])
    with pytest.raises(
        UserError,
        match=r"^13 workers were killed by the system in short succession, probably because memory ran out; buy some$",
    ):
        tally.add([6])


def test_what_was_long_ago_does_not_count() -> None:
    tally = killed()
    for place in range(20):
        assert not tally.add([4] if place < 2 else [place])
        calm(tally, 100)


def test_several_videos_at_fault_do_not_end_a_run_that_goes_on_between_them() -> None:
    tally = killed()
    for place in range(20):
        assert [tally.add([place]) for _ in range(3)] == [set(), set(), {place}]
        calm(tally, 10)
    # But if nothing else passes, they are innocent.
    with pytest.raises(UserError, match=r"^7 workers"):
        for place in range(3):
            for _ in range(3):
                tally.add([place])
            calm(tally, 9)


def test_the_first_time_is_told() -> None:
    with pytest.warns(UserWarning, match=r"workers were killed by the system, probably .* often, buy some"):
        killed().add([0])
