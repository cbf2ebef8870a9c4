"""The options of ``adamae prepare``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.errors import UserError
from adamae.flags import OptionGroup, flag
from adamae.options.parser import OptionParser


@dataclass(frozen=True)
class DownloadOptions(OptionGroup):
    """The data set as it was downloaded."""

    layout: Literal["ssv2", "k400", "ucf101", "hmdb51", "folder"] = flag(
        MISSING,
        "ssv2, k400 (600 and 700 as well), ucf101, hmdb51: the official label files; folder: lists, or a folder for "
        "each class, or just videos",
        positional=True,
        metavar="LAYOUT",
    )
    source: str = flag(MISSING, "folder of the videos, at any depth", positional=True, metavar="SRC")
    annotations: str | None = flag(None, "folder of the label files; none: SRC", metavar="DIR")
    split: int = flag(1, "number of the official split, of UCF101 and HMDB51", least=1, most=3)


@dataclass(frozen=True)
class PreparedOptions(OptionGroup):
    """What is made of it."""

    out: str = flag(
        MISSING, "folder to write to: new, empty, or begun with the same options", metavar="DST", aliases=("-o",)
    )
    transcode: bool = flag(True, "re-encode the videos; without it only the lists are written")
    short_side: int = flag(256, "pixels of the shorter side; smaller videos keep their size", least=16)
    gop: int = flag(16, "frames from one key frame to the next", least=1)
    crf: int = flag(20, "H.264 quality: 0 is best, and largest", least=0, most=51)
    paths: Literal["relative", "absolute"] = flag(
        "relative", "how lists name the videos: from their own folder, or from /"
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UserError: If a value is out of bounds, or the short side is odd.
        """
        super().__post_init__()
        if self.short_side % 2:
            raise UserError(f"--short_side: got {self.short_side}, expected an even number")


@dataclass(frozen=True)
class WorkOptions(OptionGroup):
    """How the work is done."""

    part: str = flag(
        "1/1",
        "share of the videos that this call re-encodes: with one DST, 2/8 on the second of eight machines",
        metavar="I/N",
        changes_result=False,
    )
    workers: int | None = flag(
        None, "processes that re-encode, each with one thread; none: one for each core", least=0, changes_result=False
    )
    video_timeout: float = flag(
        1800.0, "seconds after which a video counts as broken; 0: no limit", least=0, changes_result=False
    )
    retry: bool = flag(False, "try again the videos that an earlier call could not read", changes_result=False)


@dataclass(frozen=True)
class PrepareOptions:
    """Everything that decides a prepared data set."""

    download: DownloadOptions
    prepared: PreparedOptions
    work: WorkOptions


def prepare_parser() -> OptionParser[PrepareOptions]:
    """The command line of ``adamae prepare``."""
    return OptionParser(
        PrepareOptions,
        prog="adamae prepare",
        description=(
            "Turn a downloaded data set into lists and small, fast videos, with a report of what is missing or\n"
            "broken. A call that was stopped goes on when it is given again. Exit code 0 when something was prepared,\n"
            "whatever the report says, and 2 when nothing could be."
        ),
        examples=(
            "adamae prepare ssv2 downloads/ssv2 -o ssv2",
            "adamae prepare k400 downloads/k400 -o k400 --short_side 320",
            "adamae prepare ucf101 UCF-101 --annotations ucfTrainTestlist -o ucf101 --split 1",
            "adamae prepare folder my_videos -o mine --no_transcode",
            "adamae prepare k400 downloads/k400 -o k400 --part 2/8 --workers 16",
        ),
    )
