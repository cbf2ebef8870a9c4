"""What blocks is left after the limit; what raises, raises."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from adamae import distributed
from adamae.time_limit import finishes_within


def refuse() -> None:
    raise ValueError("refused")


def test_a_call_is_waited_for_up_to_the_limit() -> None:
    never = threading.Event()
    assert not finishes_within(timedelta(seconds=0.1), never.wait)
    with pytest.raises(RuntimeError, match=r"cannot connect to each other: .* GLOO_SOCKET_IFNAME \(now"):
        distributed._connect(timedelta(seconds=0.1), never.wait)
    never.set()
    assert finishes_within(timedelta(seconds=60), never.wait)
    with pytest.raises(ValueError, match="refused"):
        finishes_within(timedelta(seconds=60), refuse)
