"""Fuzzed options are read or refused in one line; what the whole fuzzing of ``make faults`` found stays found."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from adamae.cli.main import COMMANDS, main
from adamae.errors import UserError
from tests.data.conftest import encode
from tests.faults.fuzz import examples, line_that_works, parsers
from tests.launching import ROOT

# Ended in tracebacks, or went on for hours.
FOUND = (
    "pretrain --num_frames 576460752303423488",
    "pretrain --encoder_depth 24307181010",
    "finetune --input_size 144115188075855872",
    "finetune --recount 2199023255552",
    "bench step --decoder_depth 91948981",
    "bench memory --sampler_dim 18446744073709551616",
    "bench loader --input_size 262144",
    "evaluate --video_timeout 3.0029506309372464e+16",
    "saliency --num_frames 2147483648",
    "visualize --num_frames 137438953472",
)


@pytest.mark.parametrize("line", FOUND)
def test_what_was_found_ends_with_one_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"adamae: error: --{line.split('--')[1].split()[0]}: ")
    assert told.count("\n") == 1


def test_a_name_that_no_file_can_have_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / ("9" * 5000)
    encode(tmp_path / "a.mp4", 2)
    assert main(["prepare", "folder", str(tmp_path), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"adamae: error: {out}") and told.endswith(": cannot be written (File name too long)\n")
    assert told.count("\n") == 1


def test_fuzzed_options_are_read_or_refused() -> None:
    """Always the same examples: a new defect is found by ``make faults``, not by whoever changes something else."""
    refused = 0
    for command, words in examples(seed=0, wanted=60):
        known = [str(word) for word in line_that_works(command, ROOT / "none", ROOT / "none")]
        try:
            parsers()[command].parse(known[len(command.split()) :] + words)
        except UserError:
            refused += 1
    assert 6 < refused < 54


def test_every_command_is_fuzzed() -> None:
    assert {name.split()[0] for name in parsers()} == set(COMMANDS)
