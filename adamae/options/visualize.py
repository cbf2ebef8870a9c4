"""The options of ``adamae visualize``, ``saliency``, ``timeline`` and ``report``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.flags import OptionGroup, flag
from adamae.options.parser import OptionParser
from adamae.options.viewing import FrameOptions, NamedVideosOptions, NetworkOptions
from adamae.samplers import mask_types


@dataclass(frozen=True)
class FootageOptions(NamedVideosOptions):
    """What is looked at."""

    start: float = flag(0.0, "seconds into each video", least=0)
    seconds: float = flag(30.0, "look at no more than so many seconds of each", above=0)


@dataclass(frozen=True)
class MaskOptions(OptionGroup):
    """How tokens are hidden; several values are shown side by side."""

    mask_type: tuple[str, ...] | None = flag(
        None,
        lambda: f"any of {', '.join(mask_types())}; none: the checkpoint's own",
        choices=mask_types,
        metavar="NAME...",
    )
    mask_ratio: tuple[float, ...] | None = flag(
        None, "shares of hidden tokens; none: the checkpoint's own", above=0, below=1, metavar="X..."
    )
    draws: int = flag(1, "how many times tokens are drawn", least=1)
    seed: int = flag(0, "what the first draw follows from; the next one takes the next number", least=0)


@dataclass(frozen=True)
class PictureOptions(OptionGroup):
    """What is made."""

    out: str = flag(MISSING, "folder to write to", aliases=("-o",), metavar="OUT")
    own_statistics: bool = flag(
        False, "show predictions with mean and deviation of visible neighbours, borrowing nothing from the target"
    )
    columns: int = flag(8, "frames on the contact sheet", least=1)
    html: bool = flag(False, "make a page to look around in, in one file, with several mask ratios")


@dataclass(frozen=True)
class LookComputeOptions(OptionGroup):
    """Where and how it is computed."""

    batch_size: int = flag(8, "clips that go through the network at once", least=1)
    decoder: Literal["pyav", "decord", "torchcodec"] = flag(
        "pyav", "library that decodes; PyAV is the one that gives the right frames on odd files"
    )
    device: str = flag("auto", "cpu, cuda or auto: cuda where there is one", metavar="DEVICE")


@dataclass(frozen=True)
class VisualizeOptions:
    """Everything that decides the pictures of videos."""

    network: NetworkOptions
    footage: FootageOptions
    masks: MaskOptions
    pictures: PictureOptions
    frames: FrameOptions
    compute: LookComputeOptions


def visualize_parser() -> OptionParser[VisualizeOptions]:
    """The command line of ``adamae visualize``."""
    return OptionParser(
        VisualizeOptions,
        prog="adamae visualize",
        description="Show what a pre-trained model draws, predicts and errs on: a film, a contact sheet, raw arrays.",
        examples=(
            "adamae visualize runs/pretrain holiday.mp4 -o pictures",
            "adamae visualize runs/pretrain videos/ -o pictures --seconds 4",
            "adamae visualize checkpoint-799.pth a.mp4 b.mp4 -o pictures --mask_type learnable random tube frame",
            "adamae visualize runs/pretrain a.mp4 -o pictures --html --mask_ratio 0.8 0.9 0.95",
        ),
    )


@dataclass(frozen=True)
class HeatMapOptions(OptionGroup):
    """What is made."""

    out: str = flag(MISSING, "folder to write to", aliases=("-o",), metavar="OUT")
    opacity: float = flag(0.6, "of the colours over the video", least=0, most=1)


@dataclass(frozen=True)
class SaliencyOptions:
    """Everything that decides a heat map."""

    network: NetworkOptions
    footage: FootageOptions
    pictures: HeatMapOptions
    frames: FrameOptions
    compute: LookComputeOptions


@dataclass(frozen=True)
class CurveOptions(OptionGroup):
    """What is made."""

    out: str = flag(MISSING, "folder to write to", aliases=("-o",), metavar="OUT")
    top: int = flag(6, "most informative frames to show", least=1)
    seed: int = flag(0, "what the draw of tokens follows from, on whose prediction the error is", least=0)


@dataclass(frozen=True)
class TimelineOptions:
    """Everything that decides a curve over time."""

    network: NetworkOptions
    footage: FootageOptions
    pictures: CurveOptions
    frames: FrameOptions
    compute: LookComputeOptions


@dataclass(frozen=True)
class RunsOptions(OptionGroup):
    """What is compared."""

    runs: tuple[str, ...] = flag(MISSING, "output folders of runs", positional=True, metavar="RUN_DIR...")
    out: str = flag("report.html", "file to write", aliases=("-o",), metavar="OUT")


@dataclass(frozen=True)
class ReportOptions:
    """Everything that decides a report."""

    runs: RunsOptions


def saliency_parser() -> OptionParser[SaliencyOptions]:
    """The command line of ``adamae saliency``."""
    return OptionParser(
        SaliencyOptions,
        prog="adamae saliency",
        description="Write the sampler's probability as a heat map over videos.",
        examples=(
            "adamae saliency runs/pretrain holiday.mp4 -o pictures",
            "adamae saliency checkpoint-799.pth a.mp4 b.mp4 -o pictures --opacity 0.4 --sampling_rate 2",
        ),
    )


def timeline_parser() -> OptionParser[TimelineOptions]:
    """The command line of ``adamae timeline``."""
    return OptionParser(
        TimelineOptions,
        prog="adamae timeline",
        description="Write how information is spread over the time of videos, with their most informative frames.",
        examples=("adamae timeline runs/pretrain holiday.mp4 -o pictures --top 8",),
    )


def report_parser() -> OptionParser[ReportOptions]:
    """The command line of ``adamae report``."""
    return OptionParser(
        ReportOptions,
        prog="adamae report",
        description="Write one page with the curves, the differing options and the last numbers of runs.",
        examples=("adamae report runs/adaptive runs/random -o comparison.html", "adamae report runs/mine"),
    )
