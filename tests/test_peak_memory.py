"""The peak of a process is its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

# Prints the peak at the start, with 1 GiB more in use, and after that is given back.
SCRIPT = """
import numpy as np
import torch
from adamae.peak_memory import peak_memory
cpu = torch.device("cpu")
print(peak_memory(cpu))
used = np.ones(2**30, dtype=np.uint8)
print(peak_memory(cpu))
del used
print(peak_memory(cpu))
"""


@pytest.mark.slow
def test_it_grows_does_not_fall_and_is_not_the_parents() -> None:
    parents = np.ones(2**30, dtype=np.uint8)
    ended = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    start, used, given_back = map(int, ended.stdout.split())
    assert start < parents.nbytes
    assert 0.9 * 2**30 < used - start < 1.1 * 2**30
    # The kernel counts pages per processor and adds them up now and then.
    assert 0.99 * used < given_back < 1.01 * used
