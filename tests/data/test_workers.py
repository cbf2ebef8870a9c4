"""A crash, a hang or an error costs one job; workers do not outlive what started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adamae.data.workers import Failure, run_jobs
from adamae.errors import UserError


def work(job: str) -> str:
    """What a job's name says."""
    if job == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if job == "leave":
        os._exit(7)
    if job == "hang":
        time.sleep(600)
    if job == "fail":
        raise ValueError("a value\nof two lines")
    return job.upper()


def test_every_job_has_a_result(root: Path) -> None:
    jobs = ["one", "crash", "two", "fail", "leave", "hang", "three"]
    results = dict(run_jobs(work, iter(jobs), workers=2, time_limit=8))
    assert results.keys() == set(jobs)
    for job in ("one", "two", "three"):
        assert results[job] == job.upper()
    assert results["crash"] == Failure("the process that read it ended (SIGSEGV)")
    assert results["leave"] == Failure("the process that read it ended (exit code 7)")
    assert results["hang"] == Failure("took longer than 8 seconds")
    assert results["fail"].reason == "ValueError: a value"
    assert isinstance(results["fail"].error, ValueError)


@pytest.mark.parametrize("workers", [0, 2])
def test_no_jobs_no_processes(workers: int) -> None:
    assert list(run_jobs(work, [], workers=workers)) == []


def test_a_script_that_its_workers_would_run_again_is_one_line(root: Path, tmp_path: Path) -> None:
    """Each process runs the script first, and ends at the call; that is no fault of the jobs."""
    script = tmp_path / "script.py"
    script.write_text(
        "from adamae.data.workers import run_jobs\n"
        "from tests.data.test_workers import work\n"
        "print(list(run_jobs(work, ['one', 'two'], workers=1)))\n"
    )
    done = subprocess.run(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "UserError: worker processes end before they take a job (exit code 1); in a script" in done.stderr


def test_in_this_process() -> None:
    results = dict(run_jobs(work, ["one", "fail"], workers=0))
    assert results["one"] == "ONE"
    assert results["fail"].reason == "ValueError: a value"


def test_jobs_are_taken_as_workers_become_free() -> None:
    taken = []

    def jobs():
        for number in range(20):
            taken.append(number)
            yield str(number)

    results = run_jobs(work, jobs(), workers=1)
    next(results)
    assert len(taken) < 4
    results.close()


def die(job: str) -> str:
    """Get killed as the system does it: each job once, "always" always; a job is the path of a file to note it in."""
    note = Path(job)
    if "once" in note.name and not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "always" in note.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return note.name


KILLED = pytest.mark.filterwarnings("ignore:worker processes were killed")


@KILLED
@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_whose_process_the_system_killed_is_done_again(workers: int, tmp_path: Path) -> None:
    """The job that gets its process killed each time, while others pass, is lost."""
    # One other kill alone: with two workers it may fall between those of "always", which are then counted anew.
    jobs = [str(tmp_path / name) for name in ("once", "fine1", "always", *(f"fine{n}" for n in range(2, 14)))]
    results = dict(run_jobs(die, jobs, workers=workers))
    assert results.keys() == set(jobs)
    lost = Failure("the process that read it ended (SIGKILL, as sent by the system when memory runs out)")
    assert results.pop(str(tmp_path / "always")) == lost
    assert all(result == Path(job).name for job, result in results.items())


@KILLED
@pytest.mark.parametrize("workers", [1, 2])
def test_where_memory_is_short_the_work_ends_and_says_so(workers: int, tmp_path: Path) -> None:
    jobs = [str(tmp_path / "fine"), *(str(tmp_path / f"always{number}") for number in range(20))]
    results = run_jobs(die, jobs, workers=workers)
    assert next(results) == (jobs[0], "fine")
    expected = (
        r"^7 worker processes were killed by the system in short succession, probably because memory ran out; "
        r"use fewer --workers\. Finished work is kept: run the same command to resume$"
    )
    with pytest.raises(UserError, match=expected):
        list(results)


class EndsAtTheStart:
    """Ends the process that loads it, before it is up: once, by a kill as of the system or by itself."""

    def __init__(self, note: Path, killed: bool) -> None:
        self.note, self.killed = note, killed

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self.note.exists():
            self.note.touch()
            if self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(7)

    def __call__(self, job: str) -> str:
        return job.upper()


@KILLED
@pytest.mark.parametrize("killed", [True, False])
def test_one_process_that_ends_before_it_is_up_costs_nothing(killed: bool, tmp_path: Path) -> None:
    function = EndsAtTheStart(tmp_path / "note", killed)
    assert list(run_jobs(function, ["one", "two"], workers=1)) == [("one", "ONE"), ("two", "TWO")]
    assert function.note.exists()


def test_a_process_that_took_too_long_was_not_killed_by_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamae.data.killed_workers._MOST_KILLS", 0)
    assert dict(run_jobs(work, ["hang"], workers=1, time_limit=0.1)) == {
        "hang": Failure("took longer than 0.1 seconds")
    }


@KILLED
def test_a_process_that_is_killed_while_it_has_nothing_to_do_costs_nothing() -> None:
    results = run_jobs(work, ["one", "two"], workers=1)
    assert next(results) == ("one", "ONE")
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert list(results) == [("two", "TWO")]


SCRIPT = """
import os, sys, time
from adamae.data.workers import run_jobs
from tests.data.test_workers import work
results = run_jobs(work, ["one", "hang"], workers=1)
print(next(results), flush=True)
next(results)
"""


def test_workers_leave_with_a_killed_parent(root: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "('one', 'ONE')\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(alive(int(child)) for child in children):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


FAILING = """
from adamae.data.workers import run_jobs
from tests.data.test_workers import work
results = run_jobs(work, ["one", "hang"], workers=1)
next(results)
raise ValueError("a defect")
"""


@pytest.mark.slow
def test_an_error_ends_the_program_that_has_workers(root: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FAILING], cwd=root, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 1
    assert "ValueError: a defect" in ended.stderr


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
