"""Options of the clip that have no effect are refused in one line, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adamae.errors import UserError
from adamae.options.bench import bench_loader_parser, bench_step_parser
from adamae.options.estimate import estimate_parser
from adamae.options.finetune import finetune_parser
from adamae.options.parser import OptionParser
from adamae.options.pretrain import pretrain_parser

FRAMES = [("frame_oversample", "2.0"), ("frame_keep_ratio", "0.5"), ("frame_choice", "top")]


@pytest.mark.parametrize(
    "parser",
    [pretrain_parser, finetune_parser, estimate_parser, bench_step_parser, bench_loader_parser],
)
@pytest.mark.parametrize(("name", "value"), FRAMES)
def test_options_of_frame_selection(parser: Callable[[], OptionParser[Any]], name: str, value: str) -> None:
    typed = [f"--{name}", value]
    shown = " ".join(typed)
    with pytest.raises(
        UserError, match=f"{shown} has no effect with --frame_selection none: expected --frame_selection motion, or the"
    ):
        parser().parse(typed)
    assert parser().parse([*typed, "--frame_selection", "motion"]).notes == ()


@pytest.mark.parametrize("parser", [pretrain_parser, estimate_parser, bench_loader_parser])
def test_the_scale_of_the_random_resized_crop(parser: Callable[[], OptionParser[Any]]) -> None:
    typed = ["--crop_scale", "0.5", "1.0"]
    with pytest.raises(
        UserError, match=r"--crop_scale 0\.5 1\.0 has no effect with --crop multi_scale: expected --crop random_resized"
    ):
        parser().parse(typed)
    assert parser().parse([*typed, "--crop", "random_resized"]).notes == ()


def test_fine_tuning_always_takes_a_random_resized_crop() -> None:
    assert finetune_parser().parse(["--crop_scale", "0.5", "1.0"]).notes == ()


@pytest.mark.parametrize("parser", [pretrain_parser, finetune_parser])
def test_the_interpolation_of_the_crop_always_has_an_effect(parser: Callable[[], OptionParser[Any]]) -> None:
    assert parser().parse(["--crop_interpolation", "bicubic"]).notes == ()


def test_values_of_a_preset_are_noted(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("frame_selection: motion\nframe_oversample: 2\ncrop_scale: [0.5, 1.0]\n")
    parsed = pretrain_parser().parse(["--config", str(tmp_path / "mine.yaml"), "--frame_selection", "none"])
    assert parsed.notes == (
        "no effect with --frame_selection none: frame_oversample 2.0",
        "no effect with --crop multi_scale: crop_scale 0.5 1.0",
    )
