"""The options of ``adamae inspect`` and ``adamae convert``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from adamae.errors import UserError
from adamae.flags import OptionGroup, flag
from adamae.options.parser import OptionParser
from adamae.options.shared import model_key_flag

_KINDS = (
    "a .pth, .pt, .bin or .safetensors file, a Transformers or DeepSpeed directory, or a checkpoint or output "
    "folder of adamae"
)


# Values of --to that write a network instead of its weights.
GRAPHS = ("onnx", "torch_export")


@dataclass(frozen=True)
class SourceOptions(OptionGroup):
    """The checkpoint to read."""

    file: str = flag(MISSING, _KINDS, positional=True, metavar="FILE")
    model_key: str | None = model_key_flag()


@dataclass(frozen=True)
class ReportOptions(OptionGroup):
    """Output format."""

    title = "Output"

    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class TargetOptions(OptionGroup):
    """What to write."""

    out: str = flag(MISSING, "file to write, or directory for transformers", aliases=("-o",), metavar="OUT")
    to: Literal["reference", "safetensors", "transformers", "onnx", "torch_export"] = flag(
        "safetensors",
        "reference: a .pth for the official code; safetensors: for adamae; transformers: for from_pretrained; onnx and "
        "torch_export: a graph that runs without adamae",
    )
    part: Literal["encoder", "classifier", "pretrainer"] | None = flag(
        None,
        "what onnx and torch_export contain; none: the classifier of a fine-tuned checkpoint, else the encoder; "
        "pretrainer: the masked autoencoder with the visible tokens as an input",
    )

    def __post_init__(self) -> None:
        """Check that --part has an effect.

        Raises:
            UserError: If it has no effect.
        """
        if self.part is not None and self.to not in GRAPHS:
            raise UserError(f"--part {self.part}: expected --to {' or '.join(GRAPHS)}, got --to {self.to}")


@dataclass(frozen=True)
class InspectOptions:
    """Options of ``adamae inspect``."""

    source: SourceOptions
    report: ReportOptions


@dataclass(frozen=True)
class ConvertOptions:
    """Options of ``adamae convert``."""

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
        description="Convert a checkpoint to another program's layout, bit for bit, or export its network as a graph.",
        examples=(
            "adamae convert runs/ssv2 -o checkpoint-799.pth --to reference",
            "adamae convert checkpoint-799.pth -o checkpoint.safetensors",
            "adamae convert runs/k400-finetune -o videomae-k400 --to transformers",
            "adamae convert runs/k400-finetune -o k400.onnx --to onnx",
            "adamae convert runs/ssv2 -o reconstruct.pt2 --to torch_export --part pretrainer",
        ),
    )
