"""Options: groups of them, the command line they make, presets, and the record beside a run."""

from adamae.options.groups import (
    ClipOptions,
    DataOptions,
    LogOptions,
    LossOptions,
    ModelOptions,
    OptimizerOptions,
    RunOptions,
    SamplerOptions,
)
from adamae.options.parser import OptionParser, Parsed
from adamae.options.pretrain import PretrainOptions, pretrain_parser

__all__ = [
    "ClipOptions",
    "DataOptions",
    "LogOptions",
    "LossOptions",
    "ModelOptions",
    "OptimizerOptions",
    "OptionParser",
    "Parsed",
    "PretrainOptions",
    "RunOptions",
    "SamplerOptions",
    "pretrain_parser",
]
