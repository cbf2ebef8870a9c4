"""The options of ``adamae prepare``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.errors import UserError
from adamae.flags import LARGEST_SIDE, MOST_FRAMES, MOST_WORKERS, OptionGroup, flag
from adamae.options.parser import OptionParser
from adamae.options.shared import video_timeout_flag


@dataclass(frozen=True)
class DownloadOptions(OptionGroup):
    """The downloaded data set."""

    layout: Literal["ssv2", "k400", "ucf101", "hmdb51", "imagenet", "folder"] = flag(
        MISSING,
        "ssv2, k400 (also 600 and 700), ucf101, hmdb51: read the official label files; imagenet: folders train and "
        "val of images, with a folder per class, or for val an official list; folder: read lists, a folder per class, "
        "or unlabelled videos or images",
        positional=True,
        metavar="LAYOUT",
    )
    source: str = flag(MISSING, "folder of the videos or images, at any depth", positional=True, metavar="SRC")
    annotations: str | None = flag(None, "folder of the label files; none: SRC", metavar="DIR")
    split: int = flag(1, "number of the official split (UCF101 and HMDB51)", least=1, most=3)


@dataclass(frozen=True)
class PreparedOptions(OptionGroup):
    """The prepared data set."""

    out: str = flag(
        MISSING, "output folder: new, empty, or started with the same options", metavar="DST", aliases=("-o",)
    )
    transcode: bool = flag(True, "re-encode the videos; without it, and for images, only the lists are written")
    short_side: int = flag(256, "short side in pixels; smaller videos keep their size", least=16, limit=LARGEST_SIDE)
    gop: int = flag(16, "keyframe interval in frames", least=1, limit=MOST_FRAMES)
    crf: int = flag(20, "H.264 constant rate factor: lower is better quality and larger files", least=0, most=51)
    paths: Literal["relative", "absolute"] = flag(
        "relative", "paths in the lists: relative to the folder of the list, or absolute"
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
    """Processes, parts and retries."""

    part: str = flag(
        "1/1",
        "part of the videos to re-encode, for several machines with one DST: 2/8 on the second of eight",
        metavar="I/N",
        changes_result=False,
    )
    workers: int | None = flag(
        None,
        "number of encoding processes, one thread each; none: one per core",
        least=0,
        limit=MOST_WORKERS,
        changes_result=False,
    )
    video_timeout: float = video_timeout_flag(1800.0)
    retry: bool = flag(False, "retry videos that an earlier call could not read", changes_result=False)


@dataclass(frozen=True)
class PrepareOptions:
    """Options of ``adamae prepare``."""

    download: DownloadOptions
    prepared: PreparedOptions
    work: WorkOptions


def prepare_parser() -> OptionParser[PrepareOptions]:
    """The command line of ``adamae prepare``."""
    return OptionParser(
        PrepareOptions,
        prog="adamae prepare",
        description=(
            "Convert a downloaded data set to lists, and videos to small ones that decode fast, with a report of\n"
            "missing and corrupt files. An interrupted call resumes when it is repeated. The exit code is 0 if\n"
            "anything was prepared, whatever the report says, and 2 otherwise."
        ),
        examples=(
            "adamae prepare ssv2 downloads/ssv2 -o ssv2",
            "adamae prepare k400 downloads/k400 -o k400 --short_side 320",
            "adamae prepare ucf101 UCF-101 --annotations ucfTrainTestlist -o ucf101 --split 1",
            "adamae prepare imagenet downloads/imagenet -o imagenet",
            "adamae prepare folder my_videos -o mine --no_transcode",
            "adamae prepare k400 downloads/k400 -o k400 --part 2/8 --workers 16",
        ),
    )
