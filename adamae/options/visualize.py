"""The options of ``adamae visualize``, ``saliency``, ``timeline`` and ``report``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from os import PathLike
from typing import Any

from adamae.flags import MOST_AT_ONCE, OptionGroup, flag
from adamae.options.inference import FrameOptions, NamedVideosOptions, NetworkOptions
from adamae.options.parser import OptionParser
from adamae.options.shared import decoder_flag, device_flag
from adamae.samplers import mask_types


@dataclass(frozen=True)
class ShownVideosOptions(NamedVideosOptions):
    """The videos or images, and which part of a video is shown."""

    start: float = flag(0.0, "start time in each video in seconds", least=0)
    seconds: float = flag(30.0, "maximum duration to show of each video in seconds", above=0)


@dataclass(frozen=True)
class MaskOptions(OptionGroup):
    """Masking; several values are shown side by side."""

    mask_type: tuple[str, ...] | None = flag(
        None,
        lambda: f"any of {', '.join(mask_types())}; none: that of the checkpoint",
        choices=mask_types,
        metavar="NAME...",
    )
    mask_ratio: tuple[float, ...] | None = flag(
        None, "mask ratios; none: that of the checkpoint", above=0, below=1, metavar="X..."
    )
    draws: int = flag(1, "number of samples of the mask", least=1, limit=MOST_AT_ONCE)
    seed: int = flag(0, "random seed of the first sample; further samples use the following seeds", least=0)


@dataclass(frozen=True)
class PictureOptions(OptionGroup):
    """Output."""

    title = "Output"

    out: str = flag(MISSING, "output folder", aliases=("-o",), metavar="OUT")
    own_statistics: bool = flag(
        False, "denormalise predictions with the mean and std of visible neighbours instead of those of the target"
    )
    columns: int = flag(8, "number of frames on the contact sheet", least=1)
    html: bool = flag(False, "also write an interactive HTML page with several mask ratios")


@dataclass(frozen=True)
class VisualizeComputeOptions(OptionGroup):
    """Batch size, decoder and device."""

    title = "Inference"

    batch_size: int = flag(8, "clips per forward pass", least=1, limit=MOST_AT_ONCE)
    decoder: str = decoder_flag()
    device: str = device_flag()


@dataclass(frozen=True)
class VisualizeOptions:
    """Options of ``adamae visualize``."""

    network: NetworkOptions
    videos: ShownVideosOptions
    masks: MaskOptions
    pictures: PictureOptions
    frames: FrameOptions
    compute: VisualizeComputeOptions

    @classmethod
    def of(
        cls, checkpoint: str | PathLike[str], *videos: str | PathLike[str], out: str = "pictures", **values: Any
    ) -> VisualizeOptions:
        """Build options by name: ``VisualizeOptions.of("runs/mine", "holiday.mp4", mask_ratio=(0.75, 0.95))``.

        Args:
            checkpoint: The checkpoint.
            videos: Files, folders or lists.
            out: The folder of ``adamae visualize``; :func:`adamae.visualize.pictures.visualize` writes no files.
            values: The other options.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return visualize_parser().of((), {"out": out, **values}, (checkpoint, *videos))


def visualize_parser() -> OptionParser[VisualizeOptions]:
    """The command line of ``adamae visualize``."""
    return OptionParser(
        VisualizeOptions,
        prog="adamae visualize",
        description="Visualise sampled tokens, predictions and errors of a pre-trained model: video, contact "
        "sheet, raw arrays.",
        examples=(
            "adamae visualize runs/pretrain holiday.mp4 -o pictures",
            "adamae visualize runs/pretrain videos/ -o pictures --seconds 4",
            "adamae visualize checkpoint-799.pth a.mp4 b.mp4 -o pictures --mask_type learnable random tube frame",
            "adamae visualize runs/pretrain a.mp4 -o pictures --html --mask_ratio 0.8 0.9 0.95",
        ),
    )


@dataclass(frozen=True)
class HeatMapOptions(OptionGroup):
    """Output."""

    title = "Output"

    out: str = flag(MISSING, "output folder", aliases=("-o",), metavar="OUT")
    opacity: float = flag(0.6, "opacity of the heat map", least=0, most=1)


@dataclass(frozen=True)
class SaliencyOptions:
    """Options of ``adamae saliency``."""

    network: NetworkOptions
    videos: ShownVideosOptions
    pictures: HeatMapOptions
    frames: FrameOptions
    compute: VisualizeComputeOptions


@dataclass(frozen=True)
class CurveOptions(OptionGroup):
    """Output."""

    title = "Output"

    out: str = flag(MISSING, "output folder", aliases=("-o",), metavar="OUT")
    top: int = flag(6, "number of most informative frames to show", least=1)
    seed: int = flag(0, "random seed of the mask for which the error is computed", least=0)


@dataclass(frozen=True)
class TimelineOptions:
    """Options of ``adamae timeline``."""

    network: NetworkOptions
    videos: ShownVideosOptions
    pictures: CurveOptions
    frames: FrameOptions
    compute: VisualizeComputeOptions


@dataclass(frozen=True)
class RunsOptions(OptionGroup):
    """The runs, and the file to write."""

    runs: tuple[str, ...] = flag(
        MISSING, "output folders of the runs to compare", positional=True, metavar="RUN_DIR..."
    )
    out: str = flag("report.html", "file to write", aliases=("-o",), metavar="OUT")


@dataclass(frozen=True)
class ReportOptions:
    """Options of ``adamae report``."""

    runs: RunsOptions


def saliency_parser() -> OptionParser[SaliencyOptions]:
    """The command line of ``adamae saliency``."""
    return OptionParser(
        SaliencyOptions,
        prog="adamae saliency",
        description="Overlay the sampling probability on videos or images as a heat map.",
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
        description="Plot sampling probability and reconstruction error over time, with the most informative frames.",
        examples=("adamae timeline runs/pretrain holiday.mp4 -o pictures --top 8",),
    )


def report_parser() -> OptionParser[ReportOptions]:
    """The command line of ``adamae report``."""
    return OptionParser(
        ReportOptions,
        prog="adamae report",
        description="Write an HTML report with curves, differing options and final metrics of runs.",
        examples=("adamae report runs/adaptive runs/random -o comparison.html", "adamae report runs/mine"),
    )
