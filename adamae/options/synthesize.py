"""The options of ``adamae synthesize``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.flags import OptionGroup, flag
from adamae.options.parser import OptionParser


@dataclass(frozen=True)
class SynthesisOptions(OptionGroup):
    """What the videos are like."""

    out: str = flag(
        MISSING, "folder to write to: new, empty, or begun with the same options", positional=True, metavar="OUT"
    )
    videos_per_class: int = flag(32, "training videos of each class", least=1)
    val_per_class: int = flag(8, "validation videos of each class", least=0)
    test_per_class: int = flag(8, "test videos of each class", least=0)
    classes: str = flag("all", "names out of the twelve motions, with commas between them", metavar="NAMES")
    frames: int = flag(16, "frames of a video", least=2)
    size: int = flag(64, "height and width in pixels", least=16)
    fps: int = flag(10, "frames per second", least=1)
    background: Literal["smooth", "textured", "mixed"] = flag("smooth", "what the objects move before")
    camera_noise: float = flag(0.0, "deviation of the noise in every pixel, where 1 is white", least=0, most=1)
    contrast: float = flag(
        0.6,
        "share of the brightness kept between background and objects; 0: any colours; 1: white before black",
        least=0,
        most=1,
    )
    objects: int = flag(1, "moving objects in a video", least=1)
    object_size: float = flag(0.5, "largest diameter of an object over the frame's side", above=0, most=1)
    speed: float = flag(0.03, "cycles (a crossing, a turn, a growth) in a frame", above=0, most=0.25)
    gop: int = flag(16, "frames from one key frame to the next", least=1)
    crf: int = flag(12, "H.264 quality: 0 is best", least=0, most=51)
    seed: int = flag(0, "everything random follows from it", least=0)
    workers: int | None = flag(None, "processes that write; none: one for each core", least=0)


@dataclass(frozen=True)
class SynthesizeOptions:
    """Everything that decides a synthetic data set."""

    videos: SynthesisOptions


def synthesize_parser() -> OptionParser[SynthesizeOptions]:
    """The command line of ``adamae synthesize``."""
    return OptionParser(
        SynthesizeOptions,
        prog="adamae synthesize",
        description="Write short labelled H.264 videos, made on the spot, whose classes only motion tells apart.",
        examples=(
            "adamae synthesize runs/motion",
            "adamae synthesize runs/hard --background textured --camera_noise 0.02 --videos_per_class 200",
            "adamae synthesize runs/four --classes left,right,up,down --size 112 --frames 32",
        ),
    )
