"""Option groups shared by the commands that run a checkpoint on videos."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.flags import LARGEST_SIDE, MOST_AT_ONCE, MOST_FRAMES, OptionGroup, flag
from adamae.options.shared import (
    data_root_flag,
    decoder_flag,
    device_flag,
    model_key_flag,
    num_workers_flag,
    precision_flag,
    rendezvous_timeout_flag,
    test_num_crop_flag,
    test_num_segment_flag,
    video_timeout_flag,
)


@dataclass(frozen=True)
class NetworkOptions(OptionGroup):
    """The checkpoint."""

    checkpoint: str = flag(
        MISSING,
        "output folder of a run, or a checkpoint in any format that `adamae inspect` supports",
        positional=True,
        metavar="CHECKPOINT",
    )
    model_key: str | None = model_key_flag()


@dataclass(frozen=True)
class PlainListOptions(OptionGroup):
    """The videos or images."""

    data_path: str = flag(
        MISSING, "list or folder of videos or images, or shards; labels are optional", positional=True, metavar="LIST"
    )
    data_root: str | None = data_root_flag()


@dataclass(frozen=True)
class NamedVideosOptions(OptionGroup):
    """The videos or images."""

    title = "Videos"

    videos: tuple[str, ...] = flag(
        MISSING,
        "video or image files, folders or lists of them; or one set of shards",
        positional=True,
        metavar="VIDEO...",
    )
    data_root: str | None = data_root_flag()


@dataclass(frozen=True)
class FrameOptions(OptionGroup):
    """Frames and size of a clip; none: as in training of the checkpoint."""

    num_frames: int | None = flag(None, "frames in a clip", least=1, limit=MOST_FRAMES)
    sampling_rate: int | None = flag(None, "use every n-th frame", least=1, limit=MOST_FRAMES)
    input_size: int | None = flag(None, "height and width of a view in pixels", least=1, limit=LARGEST_SIDE)
    short_side_size: int | None = flag(
        None, "resize the short side to this before views are cropped; none: --input_size", least=1, limit=LARGEST_SIDE
    )


@dataclass(frozen=True)
class SelectionOptions(OptionGroup):
    """Selection of tokens and frames; auto: as in fine-tuning of the checkpoint, otherwise none."""

    token_selection: Literal["auto", "none", "motion", "adaptive", "random"] = flag(
        "auto",
        "motion: tokens with the most motion; adaptive: the most probable tokens of the learned sampler; random: "
        "random tokens",
    )
    keep_ratio: float | None = flag(
        None, "fraction of tokens to encode; none: as in training of the checkpoint, else 0.6", above=0, most=1
    )
    frame_selection: Literal["auto", "none", "motion"] = flag(
        "auto", "motion: decode more frames than the network takes and keep those with the most motion"
    )
    frame_oversample: float | None = flag(
        None,
        "number of decoded frames, as a multiple of --num_frames; none: as in training of the checkpoint, else 1.5",
        least=1,
        limit=100,
    )
    frame_keep_ratio: float | None = flag(
        None, "fraction of tokens counted per tubelet; none: as in training of the checkpoint", above=0, most=1
    )
    frame_choice: Literal["auto", "draw", "top"] = flag(
        "auto", "top: tubelets with the highest counts (auto does the same); draw: sample in proportion to their counts"
    )


@dataclass(frozen=True)
class ViewOptions(OptionGroup):
    """Temporal clips and spatial crops whose scores are averaged."""

    title = "Views"

    frame_sampling: Literal["dense", "segment"] | None = flag(
        None,
        "dense: clips at --sampling_rate; segment: clips that span the video; none: as in training of the checkpoint",
    )
    test_num_segment: int | None = test_num_segment_flag()
    test_num_crop: int = test_num_crop_flag()


@dataclass(frozen=True)
class FewViewOptions(OptionGroup):
    """Temporal clips and spatial crops whose features are averaged."""

    title = "Views"

    frame_sampling: Literal["dense", "segment"] | None = flag(
        None,
        "dense: clips at --sampling_rate; segment: clips that span the video; none: as in training of the checkpoint",
    )
    test_num_segment: int = flag(
        1,
        "evenly spaced clips per video; 1: the middle clip, or with segment sampling the first of two",
        least=1,
        limit=MOST_AT_ONCE,
    )
    test_num_crop: int = test_num_crop_flag(1)


@dataclass(frozen=True)
class ComputeOptions(OptionGroup):
    """Batch size, decoder, device and precision."""

    title = "Inference"

    batch_size: int = flag(16, "views per forward pass", least=1, limit=MOST_AT_ONCE)
    decoder: str = decoder_flag()
    num_workers: int | None = num_workers_flag()
    device: str = device_flag()
    rendezvous_timeout: float = rendezvous_timeout_flag()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = precision_flag()


@dataclass(frozen=True)
class ViewComputeOptions(ComputeOptions):
    """Batch size, decoder, device and precision."""

    video_timeout: float = video_timeout_flag(then=" and is not opened again")
