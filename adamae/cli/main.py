"""``adamae COMMAND``: finds and runs the command, and converts errors to exit codes."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
import textwrap
from collections.abc import Sequence

import adamae
from adamae.cli.output import accept_all_names, discard_output, flush_output, is_full, output_is_closed
from adamae.errors import UserError
from adamae.flags import did_you_mean
from adamae.memory_errors import out_of_memory
from adamae.options.help_layout import help_width
from adamae.plain_text import one_line

# command: (module whose ``run`` takes the rest of the command line, purpose)
COMMANDS = {
    "pretrain": ("adamae.cli.pretrain", "pre-train a masked autoencoder on a list or folder of videos or images"),
    "finetune": ("adamae.cli.finetune", "fine-tune a classifier from a checkpoint and test it"),
    "prepare": ("adamae.cli.prepare", "convert a downloaded data set to lists, and to videos that decode fast"),
    "scan": ("adamae.cli.scan", "find files of a list that cannot be decoded, and count frames"),
    "pack": (
        "adamae.cli.pack",
        "pack a list of videos or images into WebDataset shards, for file systems that are slow with small files",
    ),
    "synthesize": (
        "adamae.cli.synthesize",
        "generate a small labelled data set: videos whose classes differ only in motion, or images",
    ),
    "evaluate": ("adamae.cli.evaluate", "evaluate a fine-tuned checkpoint on a labelled list"),
    "predict": ("adamae.cli.predict", "predict the most likely classes of videos or images"),
    "extract": ("adamae.cli.extract", "extract features of images, or of sliding windows over videos"),
    "visualize": ("adamae.cli.visualize", "visualise sampled tokens, predictions and errors of a pre-trained model"),
    "saliency": ("adamae.cli.saliency", "overlay the sampling probability on videos or images as a heat map"),
    "timeline": ("adamae.cli.timeline", "plot sampling probability and error over time"),
    "report": ("adamae.cli.report", "compare runs in an HTML report: curves, differing options, final metrics"),
    "probe": ("adamae.cli.probe", "evaluate frozen features with k-NN, linear and attentive probes"),
    "inspect": ("adamae.cli.inspect", "print format, method and architecture of a checkpoint"),
    "convert": ("adamae.cli.convert", "convert a checkpoint to the layout of another program, or to ONNX"),
    "doctor": ("adamae.cli.doctor", "check this machine for training: GPUs, decoders, limits, file systems"),
    "estimate": ("adamae.cli.estimate", "estimate memory, throughput and hours of a pre-training run"),
    "bench": ("adamae.cli.bench", "benchmark a training step, the data loader or test views"),
}


def usage() -> str:
    """Return the output of ``adamae --help``."""
    width = help_width()
    commands = "\n".join(
        textwrap.fill(purpose, width, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14)
        for name, (_, purpose) in COMMANDS.items()
    )
    return f"""usage: adamae COMMAND [--option value ...]

Video masked autoencoders that learn which tokens to sample.

commands:
{commands}

adamae COMMAND --help lists the options of a command.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        words: The command line without the program's name; None: that of the process.

    Returns:
        The exit code: 0, 2 for errors that the user can fix, 130 after Ctrl-C, 141 if the reader of standard output
        (such as ``head``) has exited, as in shells.
    """
    try:
        code = _run(words)
        flush_output()
    except BrokenPipeError:
        if not output_is_closed():
            raise
        discard_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if not is_full(error):
            raise
        discard_output()
        print(f"adamae: error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return code


def _run(words: Sequence[str] | None) -> int:
    words = _without_local_rank(sys.argv[1:] if words is None else list(words))
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0
    if words[0] == "--version":
        print(f"adamae {adamae.__version__}")
        return 0
    accept_all_names()
    try:
        return run_command(words[0], words[1:])
    except UserError as error:
        print(f"adamae: error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        # No file of this project has such a long name, so it is from the command line or a list.
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"adamae: error: {one_line(str(error.filename))}: {error.strerror}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        told = out_of_memory(error)
        if told is None:
            raise
        print(f"adamae: error: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run_command(name: str, words: Sequence[str]) -> int:
    """Run one command.

    Raises:
        UserError: If there is no such command.
    """
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or f": expected one of {', '.join(COMMANDS)}"
        raise UserError(f"unknown command {name!r}{hint}")
    module, _ = COMMANDS[name]
    code: int = importlib.import_module(module).run(words)
    return code


def _without_local_rank(words: list[str]) -> list[str]:
    """Drop the option that the deepspeed launcher adds before the command; the environment has the same value."""
    return words[1:] if words and words[0].startswith(("--local_rank=", "--local-rank=")) else words
