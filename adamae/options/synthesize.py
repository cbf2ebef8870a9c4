"""The options of ``adamae synthesize``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.flags import LARGEST_SIDE, MOST_FRAMES, MOST_WORKERS, OptionGroup, flag
from adamae.options.parser import OptionParser


@dataclass(frozen=True)
class SynthesisOptions(OptionGroup):
    """Number, size and content of the videos or images."""

    out: str = flag(
        MISSING, "output folder: new, empty, or started with the same options", positional=True, metavar="OUT"
    )
    videos_per_class: int = flag(32, "training videos or images of each class", least=1)
    val_per_class: int = flag(8, "validation videos or images of each class", least=0)
    test_per_class: int = flag(8, "test videos or images of each class", least=0)
    images: bool = flag(False, "write PNG images of single frames, whose classes are the shapes of the objects")
    classes: str = flag("all", "comma-separated names of motions, of twelve, or of shapes, of four", metavar="NAMES")
    frames: int = flag(16, "frames per video", least=2, limit=MOST_FRAMES)
    size: int = flag(64, "height and width in pixels", least=16, limit=LARGEST_SIDE)
    fps: int = flag(10, "frames per second", least=1, limit=MOST_FRAMES)
    background: Literal["smooth", "textured", "mixed"] = flag("smooth", "background of the moving objects")
    camera_noise: float = flag(0.0, "std of the noise in every pixel (1 is white)", least=0, most=1)
    contrast: float = flag(
        0.6,
        "brightness contrast between background and objects; 0: any colours; 1: white on black",
        least=0,
        most=1,
    )
    objects: int = flag(1, "objects per video or image", least=1)
    object_size: float = flag(0.5, "maximum diameter of an object relative to the side of the frame", above=0, most=1)
    speed: float = flag(
        0.03, "speed of the motion in cycles (one crossing, rotation or scaling) per frame", above=0, most=0.25
    )
    gop: int = flag(16, "keyframe interval in frames", least=1, limit=MOST_FRAMES)
    crf: int = flag(12, "H.264 constant rate factor: lower is better quality", least=0, most=51)
    seed: int = flag(0, "random seed", least=0)
    workers: int | None = flag(None, "number of writer processes; none: one per core", least=0, limit=MOST_WORKERS)


@dataclass(frozen=True)
class SynthesizeOptions:
    """Options of ``adamae synthesize``."""

    videos: SynthesisOptions


def synthesize_parser() -> OptionParser[SynthesizeOptions]:
    """The command line of ``adamae synthesize``."""
    return OptionParser(
        SynthesizeOptions,
        prog="adamae synthesize",
        description="Generate short labelled H.264 videos whose classes differ only in motion, or labelled images.",
        examples=(
            "adamae synthesize runs/motion",
            "adamae synthesize runs/hard --background textured --camera_noise 0.02 --videos_per_class 200",
            "adamae synthesize runs/shapes --images --videos_per_class 200",
            "adamae synthesize runs/four --classes left,right,up,down --size 112 --frames 32",
        ),
    )
