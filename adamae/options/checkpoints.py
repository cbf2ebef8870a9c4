"""The options of ``adamae inspect`` and ``adamae convert``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.flags import OptionGroup, flag
from adamae.options.parser import OptionParser

_KINDS = (
    "a .pth, .pt, .bin or .safetensors file, a directory of Transformers or DeepSpeed, a checkpoint or a run of ours"
)


@dataclass(frozen=True)
class SourceOptions(OptionGroup):
    """The checkpoint to read."""

    file: str = flag(MISSING, _KINDS, positional=True, metavar="FILE")
    model_key: str | None = flag(
        None,
        "where in the file the weights are, alternatives with | between them; none: the usual places",
        metavar="KEY",
    )


@dataclass(frozen=True)
class ReportOptions(OptionGroup):
    """How it is told."""

    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class TargetOptions(OptionGroup):
    """What to write."""

    out: str = flag(MISSING, "file to write, or directory for transformers", aliases=("-o",), metavar="OUT")
    to: Literal["reference", "safetensors", "transformers"] = flag(
        "safetensors",
        "reference: a .pth for the published code; safetensors: our own; transformers: for from_pretrained",
    )


@dataclass(frozen=True)
class InspectOptions:
    """Everything that decides what is told of a checkpoint."""

    source: SourceOptions
    report: ReportOptions


@dataclass(frozen=True)
class ConvertOptions:
    """Everything that decides a conversion."""

    source: SourceOptions
    target: TargetOptions


def inspect_parser() -> OptionParser[InspectOptions]:
    """The command line of ``adamae inspect``."""
    return OptionParser(
        InspectOptions,
        prog="adamae inspect",
        description="Tell what a checkpoint is: format, method, architecture, clip, classes. Nothing in it is run.",
        examples=(
            "adamae inspect checkpoint-799.pth",
            "adamae inspect runs/ssv2 --json",
            "adamae inspect checkpoint-best.pth --model_key model_ema",
        ),
    )


def convert_parser() -> OptionParser[ConvertOptions]:
    """The command line of ``adamae convert``."""
    return OptionParser(
        ConvertOptions,
        prog="adamae convert",
        description="Rewrite a checkpoint's weights, every bit as it is, in the layout of another program.",
        examples=(
            "adamae convert runs/ssv2 -o checkpoint-799.pth --to reference",
            "adamae convert checkpoint-799.pth -o checkpoint.safetensors",
            "adamae convert runs/k400-finetune -o videomae-k400 --to transformers",
        ),
    )
