"""Groups of options that say how a checkpoint's network looks at videos, shared by the commands that let it."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.flags import OptionGroup, flag


@dataclass(frozen=True)
class NetworkOptions(OptionGroup):
    """The network."""

    checkpoint: str = flag(
        MISSING,
        "a run of ours, or a checkpoint of any format that `adamae inspect` knows",
        positional=True,
        metavar="CHECKPOINT",
    )
    model_key: str | None = flag(
        None, "where in the file the weights are, for example model_ema; none: the usual places", metavar="KEY"
    )


@dataclass(frozen=True)
class PlainListOptions(OptionGroup):
    """The videos."""

    data_path: str = flag(
        MISSING, "list or folder of videos, or shards; labels may be missing", positional=True, metavar="LIST"
    )
    data_root: str | None = flag(
        None, "folder that relative paths of the list start from; none: the list's own", metavar="DIR"
    )


@dataclass(frozen=True)
class NamedVideosOptions(OptionGroup):
    """The videos."""

    videos: tuple[str, ...] = flag(
        MISSING, "video files, folders of videos or lists; or one set of shards", positional=True, metavar="VIDEO..."
    )
    data_root: str | None = flag(
        None, "folder that relative paths of lists start from; none: the lists' own", metavar="DIR"
    )


@dataclass(frozen=True)
class FrameOptions(OptionGroup):
    """What the network sees of a video; none: as the checkpoint was trained."""

    num_frames: int | None = flag(None, "frames in a clip", least=1)
    sampling_rate: int | None = flag(None, "take every n-th frame", least=1)
    input_size: int | None = flag(None, "height and width of a view in pixels", least=1)
    short_side_size: int | None = flag(
        None, "resize the short side to this before views are cut; none: --input_size", least=1
    )


@dataclass(frozen=True)
class SelectionOptions(OptionGroup):
    """Which tokens and frames the network looks at; auto: as a fine-tuned checkpoint was trained, else at all."""

    token_selection: Literal["auto", "none", "motion", "adaptive", "random"] = flag(
        "auto",
        "motion: tokens that move most; adaptive: those that the checkpoint's learned sampler prefers; random: any",
    )
    keep_ratio: float | None = flag(
        None, "share of the tokens that is encoded; none: as the checkpoint was trained, else 0.6", above=0, most=1
    )
    frame_selection: Literal["auto", "none", "motion"] = flag(
        "auto", "motion: read more frames than the network sees and choose those on which most moves"
    )
    frame_oversample: float | None = flag(
        None,
        "frames that are read, in multiples of --num_frames; none: as the checkpoint was trained, else 1.5",
        least=1,
    )
    frame_keep_ratio: float | None = flag(
        None, "share of the tokens that is counted for that; none: as the checkpoint was trained", above=0, most=1
    )
    frame_choice: Literal["auto", "draw", "top"] = flag(
        "auto", "take the tubelets with the highest counts, as auto does too, or draw them by their counts"
    )


@dataclass(frozen=True)
class ViewOptions(OptionGroup):
    """Clips in time by squares in space, whose scores are averaged."""

    frame_sampling: Literal["dense", "segment"] | None = flag(
        None, "dense: clips at --sampling_rate; segment: clips that span the video; none: as the checkpoint was trained"
    )
    test_num_segment: int | None = flag(
        None, "clips of each video, spread evenly; none: 5 dense ones, or 2 that span the video", least=1
    )
    test_num_crop: int = flag(3, "squares along the longer side of each clip", least=1)


@dataclass(frozen=True)
class FewViewOptions(OptionGroup):
    """Clips in time by squares in space, whose features are averaged."""

    frame_sampling: Literal["dense", "segment"] | None = flag(
        None, "dense: clips at --sampling_rate; segment: clips that span the video; none: as the checkpoint was trained"
    )
    test_num_segment: int = flag(1, "clips of each video, spread evenly; one is the middle one", least=1)
    test_num_crop: int = flag(1, "squares along the longer side of each clip; one is the middle one", least=1)


@dataclass(frozen=True)
class ComputeOptions(OptionGroup):
    """Where and how it is computed."""

    batch_size: int = flag(16, "views that go through the network at once", least=1)
    decoder: Literal["pyav", "decord", "torchcodec"] = flag(
        "pyav", "library that decodes; PyAV is the one that gives the right frames on odd files"
    )
    num_workers: int | None = flag(None, "processes that decode, for each process; none: by the cores", least=0)
    device: str = flag("auto", "cpu, cuda or auto: cuda where there is one", metavar="DEVICE")
    rendezvous_timeout: float = flag(
        120.0,
        "seconds to wait for the other processes at the start",
        above=0,
        most=86400,
        metavar="SECONDS",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag(
        "auto", "auto: bf16 where the GPU has it, else fp16; fp32 on the CPU"
    )


@dataclass(frozen=True)
class ViewComputeOptions(ComputeOptions):
    """Where and how views of videos are computed."""

    video_timeout: float = flag(
        60.0, "seconds after which a video counts as one that cannot be read; 0: no limit", least=0
    )
