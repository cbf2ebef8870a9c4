"""What every command does, recorded before a change and after it, and what differs.

    .venv/bin/python -m tests.behaviour record before.json
    .venv/bin/python -m tests.behaviour check before.json

The numbers differ between CPUs, so a recording is compared with one of the same machine, and none is committed.
"""
