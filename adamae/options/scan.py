"""The options of ``adamae scan``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.flags import MOST_WORKERS, OptionGroup, flag
from adamae.options.parser import OptionParser
from adamae.options.shared import data_root_flag, decoder_flag, video_timeout_flag


@dataclass(frozen=True)
class ScannedListOptions(OptionGroup):
    """The videos or images."""

    data_path: str = flag(MISSING, "list, folder of videos or images, or shards", positional=True, metavar="LIST")
    data_root: str | None = data_root_flag()
    image_files: Literal["auto", "frames", "images"] = flag(
        "auto",
        "what image files in folders are: frames of videos, one folder each, or images; auto: frames if they are "
        "numbered without a gap",
    )


@dataclass(frozen=True)
class ScanWorkOptions(OptionGroup):
    """How files are checked, and where results are written."""

    out: str | None = flag(
        None,
        "output folder; none: the folder of the list, where training finds them",
        aliases=("-o",),
        metavar="DIR",
    )
    full: bool = flag(False, "decode every frame; otherwise only the first, middle and last")
    decoder: str = decoder_flag()
    workers: int | None = flag(None, "number of decoding processes; none: one per core", least=0, limit=MOST_WORKERS)
    video_timeout: float = video_timeout_flag()
    json: bool = flag(False, "print the report as JSON")


@dataclass(frozen=True)
class ScanOptions:
    """Options of ``adamae scan``."""

    videos: ScannedListOptions
    work: ScanWorkOptions


def scan_parser() -> OptionParser[ScanOptions]:
    """The command line of ``adamae scan``."""
    return OptionParser(
        ScanOptions,
        prog="adamae scan",
        description="Decode every video or image of a list; write a list of good ones, a list of bad ones with "
        "reasons, and frame counts.",
        examples=(
            "adamae scan k400/train.csv",
            "adamae scan ssv2/train.csv --data_root /data/ssv2 --workers 32 --full",
            "adamae scan videos/ -o scanned --video_timeout 20",
        ),
    )
