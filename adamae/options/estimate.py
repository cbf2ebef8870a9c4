"""The options of ``adamae estimate``: those of a pre-training run, and what is estimated of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from adamae.flags import OptionGroup, flag
from adamae.options.parser import OptionParser
from adamae.options.pretrain import PretrainOptions
from adamae.options.published import PRETRAIN_ANSWERS


@dataclass(frozen=True)
class Measurement(OptionGroup):
    """What is estimated, and from what."""

    gpus: int = flag(
        1, "processes that train, each on a GPU like this machine's; without one, on a CPU like it", least=1
    )
    num_videos: int | None = flag(None, "videos of an epoch; none: those of --data_path", least=1)
    loader_rate: float | None = flag(
        None, "clips that one core of the loader makes in a second; none: measured on --data_path", above=0
    )
    loader_videos: int = flag(32, "videos to measure it on", least=1)
    passes: int = flag(3, "measured passes after one to warm up; the median is taken", least=1)
    clips_per_pass: int | None = flag(
        None, "clips in a measured pass; none: those of the run, but at most 2 on a CPU", least=1
    )
    hours_per_epoch: bool = flag(False, "print only the hours of one epoch")
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class EstimateOptions(PretrainOptions):
    """A run, and what is asked about it."""

    measurement: Measurement = field(default_factory=Measurement)


def estimate_parser() -> OptionParser[EstimateOptions]:
    """The command line of ``adamae estimate``."""
    return OptionParser(
        EstimateOptions,
        prog="adamae estimate",
        description="Tell memory, speed and hours of a pre-training run from a few measured passes on this machine.",
        examples=(
            "adamae estimate --config adamae_ssv2_base --data_path ssv2/train.csv --gpus 8",
            "adamae estimate --config adamae_ssv2_base --num_videos 168913 --loader_rate 25 --gpus 8 --economy",
        ),
        foreign=PRETRAIN_ANSWERS,
        preset_folder="pretrain",
    )
