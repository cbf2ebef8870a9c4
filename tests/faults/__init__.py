"""Fault injection: break runs on purpose and count how often each promise about reliability holds.

    python -m tests.faults --scale 0.02        a few trials of each promise
    make faults                                all trials; updates docs/RELIABILITY.md

One file per promise, each with ``PROMISE`` and ``trials(seed, scale, shared)``. Trials run in forks of one process that
has imported torch and never computed with it, so a trial does not have to start an interpreter.
"""
