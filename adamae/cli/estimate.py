"""``adamae estimate``: estimate the memory and time of a pre-training run."""

from __future__ import annotations

import json
from collections.abc import Sequence

from adamae.errors import UserError
from adamae.options.estimate import estimate_parser
from adamae.plain_text import counted
from adamae.progress import say


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the options are invalid, or the hours are requested and the number of videos is unknown.
    """
    parsed = estimate_parser().parse(words)
    options, measurement = parsed.options, parsed.options.measurement
    if measurement.hours_per_epoch and measurement.num_videos is None and options.data.data_path is None:
        raise UserError("--hours_per_epoch needs the number of videos or images: give --data_path or --num_videos")
    say(*(f"note: {note}" for note in parsed.notes))
    from adamae.estimate import estimate

    estimated = estimate(options)
    if measurement.hours_per_epoch:
        print(f"{estimated.hours_per_epoch:.4f}")
    elif measurement.json:
        print(json.dumps(estimated.as_dict(), indent=2))
    else:
        print(f"{options.model.model} on {estimated.device}, {counted(measurement.processes, 'process', 'processes')}")
        print(estimated.render())
    return 0
