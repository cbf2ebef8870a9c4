"""Where in a run a checkpoint stands, when the run goes on with steps of another size."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from adamae.data.loader import BatchKeys
from adamae.training.plan import CheckpointPosition, Plan


def rows(videos: int, batch: int, epoch: int, first: int, count: int) -> list[int]:
    """The rows of ``count`` steps from a place of an epoch on."""
    keys = iter(BatchKeys(videos, batch, seed=1, epoch=epoch, batch=first))
    return [row for _ in range(count) for _, row in next(keys)]


def test_the_videos_of_the_epoch_go_on_where_they_stopped() -> None:
    """Whatever the sizes: what was seen and what is seen next are the epoch's own order, cut at another place."""
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    found = 0
    for _ in range(400):
        videos, before, after = chance.randint(24, 60), chance.randint(1, 12), chance.randint(1, 12)
        old, new = videos // before, videos // after
        step = chance.randint(1, 3 * old)
        plan = CheckpointPosition(step, step / old, old, before).resumed_plan(
            Plan(epochs=4, steps_per_epoch=new, videos_per_step=after)
        )
        epoch, part = divmod(step, old)
        if plan is None:
            assert part * before % after
            continue
        found += 1
        assert plan.last_step - step == 4 * new - plan.schedule_step(step)
        resumed_epoch, steps = divmod(plan.schedule_step(step), new)
        if resumed_epoch == epoch:
            seen, coming = rows(videos, before, epoch, 0, part), rows(videos, after, epoch, steps, new - steps)
            assert seen + coming == rows(videos, 1, epoch, 0, videos)[: new * after]
        else:
            # What is left of the epoch is less than one of the larger steps.
            assert (resumed_epoch, steps) == (epoch + 1, 0)
            assert videos - part * before < after + before
    assert found > 100


@pytest.mark.parametrize(("before", "after", "offset"), [(10, 10, 0), (10, 20, -400), (10, 5, 200)])
def test_at_the_end_of_an_epoch_the_epochs_go_on(before: int, after: int, offset: int) -> None:
    """Forty epochs of 800 are forty epochs whatever an epoch's steps are; updates are counted on."""
    plan = CheckpointPosition(400, 40.0, before, 60 // before).resumed_plan(
        Plan(epochs=800, steps_per_epoch=after, videos_per_step=60 // after)
    )
    assert plan is not None
    assert plan.step_offset == offset
    assert (plan.epochs_at(400), plan.schedule_step(400)) == (40.0, 40 * after)
    assert plan.ends_epoch(400)
    assert plan.last_step == 400 + 760 * after
    again = CheckpointPosition(plan.last_step - after, 799.0, after, 60 // after).resumed_plan(
        replace(plan, videos_per_step=60 // after)
    )
    assert again == plan


def test_a_longer_list_keeps_the_epochs_too() -> None:
    plan = CheckpointPosition(30, 3.0, 10, 4).resumed_plan(Plan(epochs=5, steps_per_epoch=20, videos_per_step=4))
    assert plan is not None
    assert (plan.epochs_at(30), plan.last_step) == (3.0, 70)
