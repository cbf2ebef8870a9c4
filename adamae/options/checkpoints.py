"""The options of ``adamae inspect`` and ``adamae convert``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.flags import OptionGroup, flag
from adamae.options.parser import OptionParser

_KINDS = (
    "a .pth, .pt, .bin or .safetensors file, a Transformers or DeepSpeed directory, or a checkpoint or output "
    "folder of adamae"
)


@dataclass(frozen=True)
class SourceOptions(OptionGroup):
    """The checkpoint to read."""

    file: str = flag(MISSING, _KINDS, positional=True, metavar="FILE")
    model_key: str | None = flag(
        None,
        "key of the weights in the file, alternatives separated by |; none: the usual keys",
        metavar="KEY",
    )


@dataclass(frozen=True)
class ReportOptions(OptionGroup):
    """Output format."""

    title = "Output"

    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class TargetOptions(OptionGroup):
    """What to write."""

    out: str = flag(MISSING, "file to write, or directory for transformers", aliases=("-o",), metavar="OUT")
    to: Literal["reference", "safetensors", "transformers"] = flag(
        "safetensors",
        "reference: a .pth for the official code; safetensors: for adamae; transformers: for from_pretrained",
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
        description="Print format, method, architecture, clip and classes of a checkpoint. No code in it is executed.",
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
        description="Convert a checkpoint to the layout of another program; the weights are bit-identical.",
        examples=(
            "adamae convert runs/ssv2 -o checkpoint-799.pth --to reference",
            "adamae convert checkpoint-799.pth -o checkpoint.safetensors",
            "adamae convert runs/k400-finetune -o videomae-k400 --to transformers",
        ),
    )
