"""What several options say together, and the record of them beside a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adamae.errors import UserError
from adamae.options.pretrain import PretrainOptions, pretrain_parser
from adamae.options.record import as_yaml, differences, flatten
from adamae.options.yaml_files import read_mapping


def options(line: str) -> PretrainOptions:
    return pretrain_parser().parse(line.split()).options


@pytest.mark.parametrize(
    ("line", "world_size", "update_freq", "total"),
    [
        ("--batch_size 4", 1, 1, 4),
        ("--batch_size 4 --update_freq 2", 3, 2, 24),
        ("--batch_size 4 --total_batch_size 32", 1, 8, 32),
        ("--batch_size 4 --total_batch_size 32", 8, 1, 32),
        ("--batch_size 4 --total_batch_size 32 --update_freq 4", 2, 4, 32),
        ("--batch_size 4 --num_sample 2 --update_freq 2", 3, 2, 48),
        ("--batch_size 4 --num_sample 2 --total_batch_size 32", 2, 2, 32),
    ],
)
def test_a_total_batch_is_the_same_on_any_number_of_processes(
    line: str, world_size: int, update_freq: int, total: int
) -> None:
    resolved = options(line).for_processes(world_size).optimizer
    assert (resolved.update_freq, resolved.total_batch_size) == (update_freq, total)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "--batch_size 6 --total_batch_size 32",
            "--total_batch_size 32: expected a multiple of 12, which is --batch_size 6 times 2 processes; "
            "--batch_size 4 fits",
        ),
        (
            "--batch_size 6 --num_sample 3 --total_batch_size 32",
            "--total_batch_size 32: expected a multiple of 36, which is --batch_size 6 times --num_sample 3 times 2 "
            "processes",
        ),
        (
            "--batch_size 4 --total_batch_size 32 --update_freq 3",
            "--update_freq 3 with --total_batch_size 32: expected 4, or only one of the two",
        ),
    ],
)
def test_a_total_batch_that_does_not_come_out(line: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        options(line).for_processes(2)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "line", ["", "--update_freq 2", "--total_batch_size 24", "--total_batch_size 8 --update_freq 1"]
)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_record_means_the_same_step_on_any_number_of_processes(line: str, processes: int) -> None:
    made = options(f"--batch_size 4 {line}").for_processes(processes)
    recorded = made.for_any_processes()
    for others in (1, 2):
        try:
            again = recorded.for_processes(others)
        except UserError as error:
            # Too few clips for so many: the batch that fits makes the same step.
            assert str(error).endswith("; --batch_size 2 fits")
            again = replace(recorded, data=replace(recorded.data, batch_size=2)).for_processes(others)
        assert again.clips_per_step(others) == made.clips_per_step(processes)
        assert again.accumulation * again.clips_per_micro_batch * others == made.clips_per_step(processes)
    assert made.for_processes(processes) == made


def test_warm_up_is_a_twentieth_unless_told() -> None:
    assert options("--epochs 800").warmup_epochs == 40
    assert options("--epochs 10").warmup_epochs == 0.5
    assert options("--epochs 10 --warmup_epochs 0").warmup_epochs == 0


def test_the_record_is_a_preset_that_makes_the_same_run(tmp_path: Path) -> None:
    made = options("--config quickstart --opt_betas 0.8 0.9 --lr 1e-7 --data_path a:b#c --clip_grad 0.5 --no_pin_mem")
    path = tmp_path / "options.yaml"
    path.write_text(as_yaml(made, "adamae 0.1.0\nadamae pretrain --config quickstart"))
    assert pretrain_parser().parse(["--config", str(path)]).options == made
    assert differences(read_mapping(path), flatten(made)) == []


@pytest.mark.parametrize("typed", ["\udcff", "\x07", "\uffff", "a\nb", "\u2028", "é"])
def test_the_record_is_read_again_whatever_was_typed(tmp_path: Path, typed: str) -> None:
    path, made = tmp_path / "options.yaml", PretrainOptions.of(output_dir=typed)
    path.write_bytes(as_yaml(made, f"adamae pretrain --output_dir {typed}").encode())
    assert pretrain_parser().parse(["--config", str(path)]).options == made


def test_differences_name_the_option_and_both_values() -> None:
    before, after = flatten(options("")), flatten(options("--flip --opt_betas 0.8 0.9 --clip_grad 1"))
    assert differences(before, after) == [
        "flip: false -> true",
        "opt_betas: 0.9 0.95 -> 0.8 0.9",
        "clip_grad: none -> 1.0",
    ]
    assert differences({"gone": 1, "same": 2}, {"same": 2, "new": 3}) == ["gone: 1 -> none", "new: none -> 3"]
