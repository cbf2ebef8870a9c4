"""``adamae bench``: what a step costs, and how fast clips and test views come."""

from __future__ import annotations

from collections.abc import Sequence

from adamae.cli.bench_eval import measure_eval
from adamae.cli.bench_loader import measure_list
from adamae.cli.bench_memory import count_memory
from adamae.cli.bench_step import measure_step
from adamae.errors import UserError
from adamae.flags import did_you_mean

_USAGE = """usage: adamae bench SUBJECT [--option value ...]

subjects:
  step     time a training step and its parts; no videos are needed
  memory   count the activation memory per clip; nothing is executed
  loader   measure the throughput of the data loader on a list
  eval     measure the throughput of test views of a list

examples:
  adamae bench step --model adamae_base --batch_size 2
  adamae bench loader train.csv --num_workers 2
  adamae bench eval test.csv

adamae bench SUBJECT --help lists the options.
"""


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the subject is unknown, or its options do not fit together.
    """
    subjects = {
        "step": measure_step,
        "loader": measure_list,
        "eval": measure_eval,
        "memory": count_memory,
    }
    if not words or words[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    if words[0] not in subjects:
        hint = did_you_mean(words[0], subjects) or f": expected one of {', '.join(subjects)}"
        raise UserError(f"adamae bench: unknown subject {words[0]!r}{hint}")
    print(subjects[words[0]](words[1:]))
    return 0
