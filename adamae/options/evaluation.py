"""The options of ``adamae evaluate``, ``predict``, ``extract`` and ``probe``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from os import PathLike
from typing import Any, Literal

from adamae.errors import UserError
from adamae.flags import MOST_FRAMES, OptionGroup, flag
from adamae.options.inference import (
    ComputeOptions,
    FewViewOptions,
    FrameOptions,
    NamedVideosOptions,
    NetworkOptions,
    SelectionOptions,
    ViewComputeOptions,
    ViewOptions,
)
from adamae.options.parser import OptionParser
from adamae.options.shared import data_root_flag, softmax_flag


@dataclass(frozen=True)
class LabelledListOptions(OptionGroup):
    """The labelled videos or images."""

    title = "Data"

    data_path: str | None = flag(
        None, "list (path and label on each line), folder with test.csv, or shards", metavar="PATH"
    )
    data_root: str | None = data_root_flag()
    classes: str | None = flag(
        None,
        "text file with one class name on each line; none: the checkpoint's names, else classes.txt beside the list",
        metavar="FILE",
    )


@dataclass(frozen=True)
class PredictedVideosOptions(NamedVideosOptions):
    """The videos or images, and how many classes are printed for each."""

    classes: str | None = flag(
        None, "text file with one class name on each line; none: the checkpoint's names", metavar="FILE"
    )
    top: int = flag(5, "number of most likely classes to print for each video or image", least=1)
    softmax: bool | None = softmax_flag()


@dataclass(frozen=True)
class ProbeDataOptions(OptionGroup):
    """Training and test data of the probes."""

    title = "Data"

    data_path: str | None = flag(
        None, "folder with train.csv and test.csv, folder with one folder per class, list, or shards", metavar="DIR"
    )
    eval_data_path: str | None = flag(None, "test list, if it is not in --data_path", metavar="PATH")
    data_root: str | None = data_root_flag()


@dataclass(frozen=True)
class ScoreOutputOptions(OptionGroup):
    """What is printed and written."""

    title = "Output"

    output_dir: str | None = flag(
        None, "folder for scores.json, scores.csv, per_class.csv, confusion.csv and confusion.png", metavar="DIR"
    )
    softmax: bool | None = softmax_flag()
    json: bool = flag(False, "print the summary as JSON")


@dataclass(frozen=True)
class FeatureOptions(OptionGroup):
    """Level and spacing of the features, and the file to write."""

    out: str = flag(MISSING, "file to write: .npz or .parquet", aliases=("-o",), metavar="OUT")
    level: Literal["window", "time", "tubelet"] = flag(
        "window",
        "one feature per window, per time step of it (averaged over space), or per tubelet",
    )
    window_step: int | None = flag(
        None, "stride of the windows in frames; none: the length of a window (no overlap)", least=1, limit=MOST_FRAMES
    )


@dataclass(frozen=True)
class ProbingOptions(OptionGroup):
    """Settings of the probes."""

    k: int = flag(20, "number of neighbours of the k-NN probe", least=1)
    probe_tokens: int = flag(196, "tokens per view for the attentive probe; 0: no attentive probe", least=0)
    random_weights: bool = flag(False, "probe the same network with random weights, as a baseline")
    seed: int = flag(0, "random seed", least=0)
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``adamae evaluate``."""

    network: NetworkOptions
    data: LabelledListOptions
    frames: FrameOptions
    selection: SelectionOptions
    views: ViewOptions
    compute: ViewComputeOptions
    output: ScoreOutputOptions

    @classmethod
    def of(cls, checkpoint: str | PathLike[str], **values: Any) -> EvaluateOptions:
        """Build options by name: ``EvaluateOptions.of("runs/tuned", data_path="test.csv")``.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return evaluate_parser().of((), values, (checkpoint,))

    @property
    def source(self) -> str:
        """``data_path``, which is required.

        Raises:
            UserError: If it is missing.
        """
        return _needed(self.data.data_path, "a list of videos or images with labels, or a folder with test.csv")


@dataclass(frozen=True)
class PredictOptions:
    """Options of ``adamae predict``."""

    network: NetworkOptions
    data: PredictedVideosOptions
    frames: FrameOptions
    selection: SelectionOptions
    views: ViewOptions
    compute: ViewComputeOptions

    @classmethod
    def of(cls, checkpoint: str | PathLike[str], *videos: str | PathLike[str], **values: Any) -> PredictOptions:
        """Build options by name: ``PredictOptions.of("runs/tuned", "videos", test_num_crop=1)``.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return predict_parser().of((), values, (checkpoint, *videos))


@dataclass(frozen=True)
class ExtractOptions:
    """Options of ``adamae extract``."""

    network: NetworkOptions
    data: NamedVideosOptions
    features: FeatureOptions
    frames: FrameOptions
    selection: SelectionOptions
    compute: ComputeOptions

    @classmethod
    def of(
        cls, checkpoint: str | PathLike[str], *videos: str | PathLike[str], out: str = "features.npz", **values: Any
    ) -> ExtractOptions:
        """Build options by name: ``ExtractOptions.of("runs/mine", "videos", level="time")``.

        Args:
            checkpoint: The checkpoint.
            videos: Files, folders or lists.
            out: The file that ``adamae extract`` writes; :func:`adamae.extract.extract` does not.
            values: The other options.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return extract_parser().of((), {"out": out, **values}, (checkpoint, *videos))


@dataclass(frozen=True)
class ProbeOptions:
    """Options of ``adamae probe``."""

    network: NetworkOptions
    data: ProbeDataOptions
    probing: ProbingOptions
    frames: FrameOptions
    selection: SelectionOptions
    views: FewViewOptions
    compute: ViewComputeOptions

    @classmethod
    def of(cls, checkpoint: str | PathLike[str], **values: Any) -> ProbeOptions:
        """Build options by name: ``ProbeOptions.of("runs/mine", data_path="videos")``.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return probe_parser().of((), values, (checkpoint,))

    @property
    def source(self) -> str:
        """``data_path``, which is required.

        Raises:
            UserError: If it is missing.
        """
        return _needed(self.data.data_path, "a folder with train.csv and test.csv, or with one folder per class")


def evaluate_parser() -> OptionParser[EvaluateOptions]:
    """The command line of ``adamae evaluate``."""
    return OptionParser(
        EvaluateOptions,
        prog="adamae evaluate",
        description="Evaluate a fine-tuned checkpoint on a labelled list, averaging the scores of all views of a "
        "video or image.",
        examples=(
            "adamae evaluate runs/finetune --data_path ssv2/test.csv --output_dir runs/finetune/test",
            "adamae evaluate checkpoint-best.pth --data_path k400 --classes k400/classes.txt --sampling_rate 4",
            "torchrun --nproc_per_node 8 -m adamae evaluate runs/finetune --data_path test.csv --output_dir runs/test",
        ),
    )


def predict_parser() -> OptionParser[PredictOptions]:
    """The command line of ``adamae predict``."""
    return OptionParser(
        PredictOptions,
        prog="adamae predict",
        description="Print the most likely classes of videos or images as JSON.",
        examples=(
            "adamae predict runs/finetune holiday.mp4",
            "adamae predict runs/finetune videos/ list.csv",
            "adamae predict checkpoint-best.pth *.mp4 --top 3 --classes k400/classes.txt --test_num_crop 1",
        ),
    )


def extract_parser() -> OptionParser[ExtractOptions]:
    """The command line of ``adamae extract``."""
    return OptionParser(
        ExtractOptions,
        prog="adamae extract",
        description="Write features of images, or of sliding windows over videos with time stamps, to one file.",
        examples=(
            "adamae extract runs/pretrain videos/ -o features.npz",
            "adamae extract runs/pretrain holiday.mp4 -o holiday.npz",
            "adamae extract checkpoint-799.pth list.csv -o features.parquet --window_step 16",
            "adamae extract runs/finetune list.csv -o times.npz --level time",
        ),
    )


def probe_parser() -> OptionParser[ProbeOptions]:
    """The command line of ``adamae probe``."""
    return OptionParser(
        ProbeOptions,
        prog="adamae probe",
        description="Evaluate frozen features with k-NN, linear and attentive probes.",
        examples=(
            "adamae probe runs/pretrain --data_path motion/",
            "adamae probe runs/pretrain --data_path motion/ --random_weights",
            "adamae probe checkpoint-799.pth --data_path train.csv --eval_data_path test.csv --sampling_rate 2",
        ),
    )


def _needed(value: str | None, what: str) -> str:
    if value is None:
        raise UserError(f"--data_path is missing: expected {what}")
    return value
