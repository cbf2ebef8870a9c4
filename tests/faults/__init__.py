"""A fault harness: what a run promises, broken on purpose, and how often the promise held.

    python -m tests.faults --scale 0.02        a few trials of each promise
    make faults                                all of them; renews docs/RELIABILITY.md

One file per promise, each with ``PROMISE`` and ``trials(seed, scale, shared)``. Trials run in forks of one process that
has imported torch and never computed with it, so that a trial costs no start of an interpreter.
"""
