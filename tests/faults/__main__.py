"""``python -m tests.faults``: run trials, store their results, print the table."""

from __future__ import annotations

import os
import sys

# Forks of a process with threads are not safe, and parallel trials share the cores. Set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

if __name__ == "__main__":
    from tests.faults.disk_wrapper import load_and_restart
    from tests.launching import ROOT

    load_and_restart("tests.faults", sys.argv[1:], ROOT / "build" / "faults")
    from tests.faults.program import main

    sys.exit(main(sys.argv[1:]))
