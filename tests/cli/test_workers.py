"""Workers of the commands that use the whole machine."""

from __future__ import annotations

import os

import pytest

from adamae import cores
from adamae.cli.workers import one_per_core


def test_there_is_one_for_each_core_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: 2.0)
    assert one_per_core(None) == 2
    assert one_per_core(0) == 0
