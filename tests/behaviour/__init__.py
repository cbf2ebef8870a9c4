"""Record the behaviour of every command before and after a change, and compare the recordings.

    .venv/bin/python -m tests.behaviour record before.json
    .venv/bin/python -m tests.behaviour check before.json

The numbers differ between CPUs, so a recording is compared with one of the same machine, and none is committed.
"""
