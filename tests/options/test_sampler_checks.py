"""Options that have no effect with the mask type or the sampler network are refused, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adamae.cli.main import main
from adamae.errors import UserError
from adamae.flags import flags_of
from adamae.options.bench import bench_step_parser
from adamae.options.groups import LossOptions, SamplerOptions
from adamae.options.pretrain import pretrain_parser
from adamae.samplers import mask_types
from tests.checkpoints.networks import pretrainer

# Of every option, a value that is not the default.
VALUES: dict[str, Any] = {
    "sampler_network": "mlp",
    "sampler_depth": 2,
    "sampler_dim": 16,
    "sampler_drop_rate": 0.5,
    "keep_ratio": 0.6,
    "uniform_sampling": "step",
    "secondary_mask_ratio": 0.5,
    "normlize_target": False,
    "reconstruction_loss": "l1",
    "sampling_weight": 0.5,
    "sampling_reward": "progress",
    "sampling_reduction": "sum",
    "detach_sampler_input": False,
    "sampling_entropy_weight": 0.5,
}
SIZES = {"img_size": 32, "num_frames": 8, "mask_ratio": 0.75, "encoder_depth": 1}


def refused(name: str, **others: str) -> bool:
    """Whether an option is refused in one line that names one of the others as the cause."""
    try:
        pretrain_parser().of((), {**others, name: VALUES[name]})
    except UserError as error:
        shown = f"--{name} {str(VALUES[name]).lower()} has no effect with"
        assert any(f"{shown} --{other} {value}: expected" in str(error) for other, value in others.items())
        return True
    return False


def step(clips: torch.Tensor, mask_type: str, **options: Any) -> list[torch.Tensor]:
    """Everything that a step of training leaves."""
    renamed = {{"normlize_target": "normalize_target"}.get(name, name): value for name, value in options.items()}
    model = pretrainer(mask_type=mask_type, **SIZES, **renamed).train()
    out = model(clips, seeds=torch.arange(4))
    out.losses["loss"].backward()
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    return [out.losses["loss"].detach(), out.selection.visible, *gradients]


def test_values_has_every_option() -> None:
    options = {option.name for group in (SamplerOptions, LossOptions) for option in flags_of(group)}
    assert set(VALUES) == options - {"mask_type", "mask_ratio"}


@pytest.mark.parametrize("mask_type", mask_types())
def test_an_option_is_refused_exactly_if_a_step_is_the_same_with_it(mask_type: str) -> None:
    clips = torch.randn(4, 3, 8, 32, 32, generator=torch.Generator().manual_seed(7))
    before = step(clips, mask_type)
    for name, value in VALUES.items():
        after = step(clips, mask_type, **{name: value})
        same = len(before) == len(after) and all(map(torch.equal, before, after))
        assert refused(name, mask_type=mask_type) == same, name


@pytest.mark.parametrize(
    ("other", "value"),
    [("sampler_network", "mlp"), ("sampling_reward", "progress")],
)
def test_so_it_is_with_a_network_or_a_reward(other: str, value: str, rng: np.random.Generator) -> None:
    clips = torch.from_numpy(rng.standard_normal((4, 3, 8, 32, 32), dtype=np.float32))
    before = step(clips, "learnable", **{other: value})
    for name in VALUES.keys() - {other}:
        after = step(clips, "learnable", **{other: value, name: VALUES[name]})
        same = len(before) == len(after) and all(map(torch.equal, before, after))
        assert refused(name, mask_type="learnable", **{other: value}) == same, name


def test_the_line_and_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--mask_type", "uniform", "--sampler_depth", "2"]) == 2
    assert capsys.readouterr().err == (
        "adamae: error: --sampler_depth 2 has no effect with --mask_type uniform: expected "
        "--mask_type learnable or adaptive_uniform, or the default, 1\n"
    )
    assert main(["pretrain", "--sampler_network", "mlp", "--sampler_drop_rate", "0.2"]) == 2
    assert capsys.readouterr().err == (
        "adamae: error: --sampler_drop_rate 0.2 has no effect with --sampler_network mlp: expected another "
        "--sampler_network, or the default, none\n"
    )


def test_defaults_are_no_errors(tmp_path: Path) -> None:
    # As launch scripts and the options.yaml of a run spell them out; none is 0.1.
    for line in (
        "--keep_ratio 0.3 --sampling_weight 1e-4",
        "--mask_type random --sampler_drop_rate 0.1 --keep_ratio 0.3",
    ):
        assert pretrain_parser().parse(line.split()).notes == ()
    (tmp_path / "options.yaml").write_text("mask_type: random\nsampler_drop_rate: 0.1\nsampling_reduction: mean\n")
    assert pretrain_parser().parse(["--config", str(tmp_path / "options.yaml")]).notes == ()


def test_values_of_a_preset_are_noted_and_may_be_typed_again(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("sampler_depth: 2\nsampling_reduction: sum\nkeep_ratio: 0.5\n")
    words = ["--config", str(tmp_path / "mine.yaml"), "--mask_type", "motion", "--sampling_reduction", "sum"]
    parsed = pretrain_parser().parse(words)
    assert parsed.notes == ("no effect with --mask_type motion: sampler_depth 2, sampling_reduction sum",)
    with pytest.raises(UserError, match=r"--sampler_depth 3 has no effect with --mask_type motion"):
        pretrain_parser().parse([*words, "--sampler_depth", "3"])


def test_bench_step_counts_the_mask_types_that_it_compares() -> None:
    words = ["--mask_type", "random", "--keep_ratio", "0.5"]
    with pytest.raises(UserError, match="no effect with --mask_type random: expected --mask_type motion"):
        bench_step_parser().parse(words)
    assert bench_step_parser().parse([*words, "--compare", "motion"]).options.sampler.keep_ratio == 0.5
