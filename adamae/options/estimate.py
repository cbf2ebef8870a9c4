"""The options of ``adamae estimate``: those of a pre-training run and of the estimate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adamae.flags import OptionGroup, flag
from adamae.gpu_specs import gpu_names
from adamae.options.economy import change_mode
from adamae.options.parser import OptionParser
from adamae.options.pretrain import PretrainOptions, check_pretraining
from adamae.options.published import PRETRAIN_ANSWERS, REMOVED_ANSWERS


@dataclass(frozen=True)
class Measurement(OptionGroup):
    """What is measured for the estimate."""

    gpus: int = flag(
        1,
        "training processes on each machine, each on a GPU (or, without one, a CPU) like that of this machine",
        least=1,
    )
    nodes: int = flag(1, "machines; the bytes that they exchange in a step are printed for several", least=1)
    predict: str | None = flag(
        None, "measure no pass; predict its least time on this GPU, as adamae bench step --predict", choices=gpu_names
    )
    num_videos: int | None = flag(None, "videos or images per epoch; none: those of --data_path", least=1)
    loader_rate: float | None = flag(
        None, "clips per second and core of the loader; none: measured on --data_path", above=0
    )
    loader_videos: int = flag(32, "number of videos or images to measure --loader_rate on", least=1)
    passes: int = flag(3, "measured forward and backward passes after one warm-up pass; the median is used", least=1)
    clips_per_pass: int | None = flag(
        None, "clips in a measured pass; none: the micro-batch of the run, but at most 2 on a CPU", least=1
    )
    hours_per_epoch: bool = flag(False, "print only the hours per epoch")
    json: bool = flag(False, "print JSON")

    @property
    def processes(self) -> int:
        """Number of processes over all machines."""
        return self.gpus * self.nodes


@dataclass(frozen=True)
class EstimateOptions(PretrainOptions):
    """Options of ``adamae estimate``."""

    measurement: Measurement = field(default_factory=Measurement)

    @classmethod
    def of(cls, *presets: str, **values: Any) -> EstimateOptions:
        """Build options by name, see :meth:`adamae.options.pretrain.PretrainOptions.of`."""
        return estimate_parser().of(presets, values)


def estimate_parser() -> OptionParser[EstimateOptions]:
    """The command line of ``adamae estimate``."""
    return OptionParser(
        EstimateOptions,
        prog="adamae estimate",
        description="Estimate memory, throughput and hours of a pre-training run from a few measured passes on "
        "this machine.",
        examples=(
            "adamae estimate --config adamae_ssv2_base --data_path ssv2/train.csv --gpus 8",
            "adamae estimate --config adamae_ssv2_base --num_videos 168913 --loader_rate 25 --gpus 8 --economy",
            "adamae estimate --config adamae_ssv2_base --num_videos 168913 --gpus 8 --nodes 4 --batch_size 8 "
            "--predict h100",
        ),
        foreign={**PRETRAIN_ANSWERS, **REMOVED_ANSWERS},
        preset_folder="pretrain",
        layered=change_mode,
        check=check_pretraining,
    )
