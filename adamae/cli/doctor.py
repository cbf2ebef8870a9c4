"""``adamae doctor``: check whether this machine is ready for training, and what to change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from adamae.options.doctor import doctor_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Returns:
        0, or 1 if something must be changed.

    Raises:
        UserError: If the device does not exist, or a process does not answer in time.
    """
    options = doctor_parser().parse(words).options.examination
    from adamae import distributed
    from adamae.doctor.examination import examine
    from adamae.doctor.findings import as_dicts, must_change, render

    with distributed.start(options.device, timeout_seconds=options.rendezvous_timeout) as world:
        found = examine(world, Path(options.output_dir), options.data_path)
        if world.is_main:
            print(json.dumps(as_dicts(found), indent=2) if options.json else render(found))
        return int(world.broadcast(must_change(found)))
