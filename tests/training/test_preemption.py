from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from adamae.distributed import World
from adamae.training import preemption
from adamae.training.preemption import Preemption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_remembered_and_its_echo_changes_nothing(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Preemption(World()) as asked:
        assert not asked.agreed()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert asked.agreed()
        assert asked.name == number.name
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preemption, "_ECHO_SECONDS", 0.0)
    with Preemption(World()) as asked, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.agreed()
        os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_signals_stay_as_they_are() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def asked() -> bool:
        with Preemption(World()) as preemption:
            assert signal.getsignal(signal.SIGTERM) == before
            return preemption.agreed()

    with ThreadPoolExecutor() as threads:
        assert not threads.submit(asked).result()
