"""Command-line options: option groups, parsers, presets, and the options file of a run."""

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
