"""Generators that run ahead of their reader."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

import pytest

from adamae.data.read_ahead import read_ahead


def counting(number: int, items: int = 5) -> Generator[tuple[int, int], None, None]:
    for item in range(items):
        yield number, item


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.mark.parametrize("threads", [0, 1, 3, 20])
def test_items_come_in_order(threads: int) -> None:
    sources = [partial(counting, number, items=number % 4) for number in range(12)]
    found = [list(items) for items in read_ahead(sources, threads)]
    assert found == [list(source()) for source in sources]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_what_is_not_read_is_dropped(threads: int) -> None:
    found = [next(items) for items in read_ahead((partial(counting, number) for number in range(6)), threads)]
    assert found == [(number, 0) for number in range(6)]


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_an_error_comes_where_the_item_would_and_the_next_source_is_read(threads: int) -> None:
    def failing() -> Generator[tuple[int, int], None, None]:
        yield 7, 0
        raise ValueError("damaged")

    found: list[object] = []
    for items in read_ahead([partial(counting, 0, 2), failing, partial(counting, 2, 1)], threads):
        try:
            found += items
        except ValueError as error:
            found.append(str(error))
    assert found == [(0, 0), (0, 1), (7, 0), "damaged", (2, 0)]


def test_as_many_run_at_once_as_are_asked_for_and_not_far_ahead() -> None:
    made: dict[int, int] = {}

    def source(number: int) -> Generator[int, None, None]:
        for item in range(50):
            made[number] = item + 1
            yield item

    with closing(read_ahead([partial(source, number) for number in range(8)], 3)) as all_items:
        items = next(all_items)
        # Two items in the queue, and one that waits for its place.
        wait_until(lambda: made == {0: 3, 1: 3, 2: 3})
        assert next(items) == 0
        wait_until(lambda: made[0] == 4)
        time.sleep(0.3)
        assert made == {0: 4, 1: 3, 2: 3}


def test_closing_ends_the_threads_and_the_generators() -> None:
    begun: list[int] = []
    closed: list[int] = []

    def source(number: int) -> Generator[int, None, None]:
        begun.append(number)
        try:
            yield from range(50)
        finally:
            closed.append(number)

    before = set(threading.enumerate())
    with closing(read_ahead([partial(source, number) for number in range(8)], 3)) as all_items:
        assert next(next(all_items)) == 0
        wait_until(lambda: len(begun) == 3)
        assert len(set(threading.enumerate()) - before) == 3
    wait_until(lambda: not set(threading.enumerate()) - before)
    assert sorted(closed) == [0, 1, 2]
