"""The step benchmark measures what it says, at sizes that cost nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adamae.benchmark import step_parts
from adamae.benchmark.contenders import Setting, choose, variants
from adamae.benchmark.step import benchmark_step
from adamae.benchmark.step_picture import write_step_picture
from adamae.benchmark.timing import take_turns
from adamae.errors import UserError
from adamae.models import Pretrainer, create_model
from adamae.samplers.adaptive_uniform import AdaptiveUniformSampler
from adamae.samplers.cells import CellSampler
from adamae.selection import TokenSelection

TINY: dict[str, Any] = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}

# Tokens that divide into all cells.
FINE = {"patch_size": 8, "tubelet_size": 1}


def test_contenders_take_turns() -> None:
    order: list[str] = []
    timings = take_turns({name: lambda name=name: order.append(name) for name in "ab"}, 3, torch.device("cpu"))
    assert order == ["a", "b"] + ["a", "b"] * 3
    assert timings.keys() == {"a", "b"}


@pytest.mark.slow
@pytest.mark.parametrize("mask_type", ["learnable", "tube"])
def test_a_report_holds_step_and_parts(mask_type: str) -> None:
    report = benchmark_step(model="adamae_tiny", batch_size=1, rounds=1, mask_type=mask_type, **TINY)
    assert report.step.wall > 0 and report.peak_memory > 2**20
    assert list(report.parts) == [
        "patchify and normalise",
        "tokenizer",
        "sampler",
        "encoder",
        "decoder",
        "targets and loss",
    ]
    assert json.loads(json.dumps(report.as_dict()))["model"] == "adamae_tiny"
    text = report.render()
    assert "clips/s" in text and "sampler" in text


@pytest.mark.slow
def test_every_contender_takes_its_steps(tmp_path: Path) -> None:
    names = "checkpoint_decoder checkpoint_all decoder_budget sampler_half no_sampler_dropout economy tube".split()
    report = benchmark_step(model="adamae_tiny", batch_size=2, rounds=1, compare=choose(names, variants()), **TINY)
    assert list(report.compared) == names
    assert all(other.over_ours > 0 for other in report.compared.values())
    kept = {name: other.kept_per_clip for name, other in report.compared.items()}
    assert report.kept_per_clip > kept["decoder_budget"] > kept["economy"] > 0
    assert report.kept_per_clip > kept["checkpoint_decoder"] > kept["checkpoint_all"] > 0
    assert report.share_of_peak > 0 and report.matrix_peak > 1e8
    assert "checkpoint_decoder" in report.render()
    write_step_picture(report, tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="cannot be written"):
        write_step_picture(report, tmp_path / "step.png" / "step.png")


@pytest.mark.parametrize("budget", [1.0, 0.5])
def test_parts_decode_as_many_tokens_as_the_step(budget: float, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = create_model("adamae_tiny", **{**TINY, **FINE, "decoder_budget": budget})
    assert isinstance(model, Pretrainer)
    clips = torch.randint(0, 256, (2, *model.clip_shape), dtype=torch.uint8)
    rewarded = []
    loss = step_parts.sampling_loss

    def noted(selection: TokenSelection, reward: Tensor, **options: Any) -> Tensor:
        rewarded.append(reward.shape)
        return loss(selection, reward, **options)

    monkeypatch.setattr(step_parts, "sampling_loss", noted)
    predicted = []
    model.decoder.register_forward_hook(lambda *passed: predicted.append(passed[-1].shape))
    expected = model(clips).prediction.shape
    parts = step_parts.step_parts(model, clips, torch.float32)
    for part in parts.values():
        part()
    assert model.training
    # Once for the inputs of the parts, and once in the part.
    assert predicted == [expected] * 2
    assert rewarded == [expected[:2]]


def built(name: str, **options: Any) -> Pretrainer:
    """The network of a contender beside a tiny step with the options."""
    setting = Setting(
        "adamae_tiny", {**TINY, **options}, torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8), torch.float32
    )
    network = choose([name], variants())[name](setting).network
    assert isinstance(network, Pretrainer)
    return network


@pytest.mark.parametrize("mask_type", ["uniform", "adaptive_uniform"])
@pytest.mark.parametrize("uniform_sampling", ["tube", "step", "octet"])
def test_cells_of_contenders_are_those_of_the_options(mask_type: str, uniform_sampling: str) -> None:
    sampler = built(mask_type, uniform_sampling=uniform_sampling, **FINE).sampler
    assert isinstance(sampler, CellSampler)
    assert (sampler.uniform_sampling, sampler.mask_ratio) == (uniform_sampling, 1 - 1 / sampler.pattern.size)


def test_parts_of_the_economy_are_those_of_the_sampler() -> None:
    cells = {"mask_type": "adaptive_uniform", "mask_ratio": 0.75, **FINE}
    half = built("sampler_half", **cells).sampler
    assert isinstance(half, AdaptiveUniformSampler)
    assert half.scorer.network[-1].in_features == 96
    with pytest.raises(UserError) as caught:
        built("no_sampler_dropout", mask_type="tube")
    assert str(caught.value) == (
        "compare = 'no_sampler_dropout': these masks are drawn without sampler_drop_rate; "
        "expected --mask_type learnable or adaptive_uniform"
    )


def test_the_economy_of_a_pyramid_is_that_of_its_first_stage() -> None:
    options = {"img_size": 64, "num_frames": 4, "mask_type": "adaptive_uniform"}
    clips = torch.zeros(1, 4, 64, 64, 3, dtype=torch.uint8)
    network = variants()["economy"](Setting("um_swin_micro", options, clips, torch.float32)).network
    assert isinstance(network, Pretrainer)
    assert isinstance(network.sampler, AdaptiveUniformSampler)
    assert network.sampler.scorer.network[-1].in_features == network.encoder.patch_embed.embed_dim // 2


def test_an_unknown_contender_is_one_line() -> None:
    with pytest.raises(UserError, match="compare = 'ours': expected some of compile, checkpoint_decoder"):
        choose(["tube", "ours"], variants())


def test_classifiers_have_no_pretrain_step() -> None:
    with pytest.raises(UserError, match="vit_tiny_patch16_224 is not supported: expected a pre-training model"):
        benchmark_step(model="vit_tiny_patch16_224")
