from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adamae.errors import UserError
from adamae.training.run_lock import lock_directory

HOLD = """
import sys
from adamae.training.run_lock import lock_directory
lock_directory(sys.argv[1])
print('in', flush=True)
input()
"""


def test_a_directory_belongs_to_one_process_at_a_time_and_is_free_after_it_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(UserError, match="in use by another run"):
            lock_directory(tmp_path)
        other.kill()
        other.wait()
    lock_directory(tmp_path)
    lock_directory(tmp_path)
