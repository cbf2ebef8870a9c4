"""The options of ``adamae doctor``."""

from __future__ import annotations

from dataclasses import dataclass

from adamae.flags import OptionGroup, flag
from adamae.options.parser import OptionParser
from adamae.options.shared import device_flag, rendezvous_timeout_flag


@dataclass(frozen=True)
class Examination(OptionGroup):
    """What to check, and how to print it."""

    title = "Examination"

    output_dir: str = flag(".", "folder for checkpoints", metavar="DIR")
    data_path: str | None = flag(
        None, "list or folder of videos or images, or shards; none: data is not checked", metavar="PATH"
    )
    device: str = device_flag()
    rendezvous_timeout: float = rendezvous_timeout_flag()
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class DoctorOptions:
    """Options of ``adamae doctor``."""

    examination: Examination


def doctor_parser() -> OptionParser[DoctorOptions]:
    """The command line of ``adamae doctor``."""
    return OptionParser(
        DoctorOptions,
        prog="adamae doctor",
        description="Check packages, decoders, GPUs, limits and file systems, run ten steps of a tiny model, and print "
        "what to change. Exit code 1: something must be changed.",
        examples=(
            "adamae doctor",
            "adamae doctor --output_dir /scratch/runs --data_path /data/ssv2/train.csv",
            "torchrun --nproc_per_node 8 -m adamae doctor",
        ),
    )
