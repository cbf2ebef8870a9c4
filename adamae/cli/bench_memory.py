"""``adamae bench memory``: what each further clip keeps for the backward pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from adamae.options.bench import bench_memory_parser
from adamae.options.pretrain import model_arguments


def count_memory(words: Sequence[str]) -> str:
    """What ``adamae bench memory`` prints.

    Raises:
        UserError: If sizes do not divide.
    """
    options = bench_memory_parser().parse(words).options
    from adamae.benchmark.memory_table import memory_table, render
    from adamae.models.economy import apply_economy

    modes = {}
    for mode, economy in (("full", False), ("economy", True)):
        some = apply_economy(replace(options, model=replace(options.model, economy=economy)))
        modes[mode] = model_arguments(some.clip, some.model, some.sampler, some.loss)
    table = memory_table(options.model.model, modes)
    return json.dumps(table, indent=2) if options.measurement.json else render(table)
