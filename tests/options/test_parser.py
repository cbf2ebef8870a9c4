"""The command line means what it says, and says so in one line when it means nothing."""

from __future__ import annotations

import pytest

from adamae.errors import UserError
from adamae.options.parser import Parsed
from adamae.options.pretrain import PretrainOptions, pretrain_parser
from adamae.options.visualize import VisualizeOptions, visualize_parser


def parse(line: str) -> Parsed[PretrainOptions]:
    return pretrain_parser().parse(line.split())


def test_without_a_word_the_defaults_hold() -> None:
    assert parse("").options == PretrainOptions()
    assert parse("").recipe is None


@pytest.mark.parametrize("line", ["--data_path x", "--data-path x", "--data_path=x", "--data-path=x"])
def test_hyphens_and_underscores_name_the_same_option(line: str) -> None:
    assert parse(line).options.data.data_path == "x"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("--flip", True),
        ("--flip True", True),
        ("--flip=yes", True),
        ("--no_flip", False),
        ("--no-flip", False),
        ("--flip False", False),
        ("--flip=0", False),
        ("--flip --no_flip", False),
        ("--no_flip --flip --seed 3", True),
    ],
)
def test_switches(line: str, value: bool) -> None:
    assert parse(line).options.clip.flip is value


def test_numbers_pairs_and_none() -> None:
    options = parse("--opt_betas 0.8 0.99 --clip_grad 1 --warmup_steps -1 --num_workers none --lr 1e-3").options
    assert options.optimizer.opt_betas == (0.8, 0.99)
    assert options.optimizer.clip_grad == 1.0
    assert options.optimizer.warmup_steps == -1
    assert options.optimizer.lr == 1e-3
    assert options.data.num_workers is None


def test_none_in_place_of_several_values() -> None:
    parse = visualize_parser().parse
    words = ["runs/mine", "a.mp4", "-o", "out", "--mask_ratio"]
    assert parse([*words, "none"]).options.masks.mask_ratio is None
    assert parse([*words, "0.5", "0.75"]).options.masks.mask_ratio == (0.5, 0.75)
    assert VisualizeOptions.of("runs/mine", "a.mp4", mask_ratio=None, mask_type=None).masks.mask_type is None
    with pytest.raises(UserError, match="--mask_ratio: got none among other values, expected none alone"):
        parse([*words, "0.5", "none"])


def test_both_spellings_of_the_target_option() -> None:
    assert parse("--normlize_target False").options.loss.normlize_target is False
    assert parse("--no_normalize_target").options.loss.normlize_target is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--mask_ration 0.9", "unknown option --mask_ration; did you mean --mask_ratio?"),
        ("--mask-ration=0.9", "unknown option --mask-ration; did you mean --mask_ratio?"),
        ("--xyzzy", "unknown option --xyzzy; adamae pretrain --help lists them"),
        ("stray", "unexpected argument 'stray'"),
        ("--flip maybe", "unexpected argument 'maybe'"),
        ("--flip=maybe", "--flip: got 'maybe', expected true or false"),
        ("--mask_ratio 1", "--mask_ratio: got 1.0, expected a number above 0 and below 1, or none"),
        ("--mask_ratio nan", "--mask_ratio: got nan, expected a number above 0 and below 1, or none"),
        ("--mask_ratio much", "--mask_ratio: got 'much', expected a number above 0 and below 1, or none"),
        ("--batch_size 0", "--batch_size: got 0, expected an integer at least 1"),
        ("--input_size 65537", "--input_size: got 65537, expected at most 65536"),
        ("--seed 9223372036854775808", "--seed: got 9223372036854775808, expected at most 9223372036854775807"),
        (f"--seed 1{'0' * 400}", f"--seed: got 1{'0' * 400}, expected at most 9223372036854775807"),
        (f"--seed -1{'0' * 400}", f"--seed: got -1{'0' * 400}, expected an integer at least 0"),
        ("--batch_size 1.5", "--batch_size: got '1.5', expected an integer at least 1"),
        ("--sampler_dim wide", "--sampler_dim: got 'wide', expected an integer at least 1, or none"),
        (
            "--mask_type tubes",
            "--mask_type: got 'tubes', expected one of learnable, random, tube, frame, motion, uniform, "
            "adaptive_uniform; did you mean tube?",
        ),
        ("--lr", "--lr: expected one argument"),
        ("--lr -1e-3", "--lr: got -0.001, expected a number above 0"),
        ("--no_flip True", "--no_flip takes no value, got 'True'; use --flip=true or --flip=false"),
        ("--no-flip=1", "--no_flip takes no value, got '1'; use --flip=true or --flip=false"),
        ("--opt_betas 0.9", "--opt_betas: expected 2 arguments"),
    ],
)
def test_mistakes_are_answered_in_one_line(line: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(line)
    assert str(caught.value) == message


def test_options_check_themselves_also_from_python() -> None:
    from adamae.options import SamplerOptions

    with pytest.raises(UserError, match=r"mask_ratio: got 2, expected a number above 0 and below 1"):
        SamplerOptions(mask_ratio=2)


def test_help_tells_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    from adamae.options.record import flatten

    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    for name in flatten(PretrainOptions()):
        assert f"--{name}" in text
    assert "each gives --num_sample clips (default: 8)" in text
    assert "--flip, --no_flip" in text
