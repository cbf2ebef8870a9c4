"""The step benchmark measures what it says, at sizes that cost nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adamae.benchmark.contenders import BUILDERS
from adamae.benchmark.published_style import PublishedStyle
from adamae.benchmark.step import benchmark_step
from adamae.benchmark.step_picture import write_step_picture
from adamae.benchmark.timing import take_turns
from adamae.errors import UserError
from adamae.models import create_model

TINY = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}


def test_contenders_take_turns() -> None:
    order: list[str] = []
    timings = take_turns({name: lambda name=name: order.append(name) for name in "ab"}, 3, torch.device("cpu"))
    assert order == ["a", "b"] + ["a", "b"] * 3
    assert timings.keys() == {"a", "b"}


@pytest.mark.parametrize("mask_type", ["learnable", "tube"])
def test_a_report_holds_step_parts_and_peer(mask_type: str) -> None:
    report = benchmark_step(model="adamae_tiny", batch_size=1, rounds=1, compare=("peer",), mask_type=mask_type, **TINY)
    assert report.step.wall > 0 and report.peak_memory > 2**20
    assert list(report.parts) == [
        "patchify and normalise",
        "tokenizer",
        "sampler",
        "encoder",
        "decoder",
        "targets and loss",
    ]
    assert report.over_peer is not None and report.over_peer > 0
    assert json.loads(json.dumps(report.as_dict()))["model"] == "adamae_tiny"
    text = report.render()
    assert "clips/s" in text and "sampler" in text and "Transformers VideoMAE" in text


def test_every_contender_takes_its_steps(tmp_path: Path) -> None:
    names = [*(name for name in BUILDERS if name not in ("ours", "peer", "compile")), "tube"]
    report = benchmark_step(model="adamae_tiny", batch_size=2, rounds=1, compare=names, **TINY)
    assert list(report.compared) == names
    assert all(other.over_ours > 0 for other in report.compared.values())
    kept = {name: other.kept_per_clip for name, other in report.compared.items()}
    assert kept["published_style"] is None
    assert report.kept_per_clip > kept["decoder_budget"] > kept["economy"] > 0
    assert report.kept_per_clip > kept["checkpoint_decoder"] > kept["checkpoint_all"] > 0
    assert report.share_of_peak > 0 and report.matrix_peak > 1e8
    assert "published_style" in report.render()
    write_step_picture(report, tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="No such file"):
        write_step_picture(report, tmp_path / "nowhere" / "step.png")


def test_the_published_style_is_the_same_network() -> None:
    # Same weights, same visible tokens, nothing dropped: the same loss, by other code.
    model = create_model("adamae_tiny", **TINY).double().eval()
    style = PublishedStyle(model).double().eval()
    matching = {
        "tokenizer": model.encoder.patch_embed.proj,
        "score": model.sampler.network[1],
        "to_decoder": model.encoder_to_decoder,
        "encoder.1": model.encoder.norm,
        "head.0": model.decoder.norm,
        "head.1": model.decoder.head,
    }
    for name, part in matching.items():
        style.get_submodule(name).load_state_dict(part.state_dict())
    pairs = {
        "sampler": model.sampler.network[0],
        "encoder.0": model.encoder.blocks[0],
        "decoder.0": model.decoder.blocks[0],
    }
    for name, block in pairs.items():
        other = style.get_submodule(name)
        torch.nn.init.zeros_(other.qkv.bias)
        for theirs, ours in (("qkv", "attn.qkv"), ("proj", "attn.proj"), ("fc1", "mlp.fc1"), ("fc2", "mlp.fc2")):
            other.get_submodule(theirs).load_state_dict(block.get_submodule(ours).state_dict(), strict=False)
    style.mask_token.data.copy_(model.mask_token)
    clips = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    drawn: list[torch.Tensor] = []
    original = torch.multinomial
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "multinomial", lambda *a: drawn.append(original(*a)) or drawn[-1])
        loss = style(model.pixel_values(clips).permute(0, 4, 1, 2, 3))
    torch.testing.assert_close(loss, model(clips, visible=torch.stack(drawn)).losses["loss"])


def test_an_unknown_contender_is_one_line() -> None:
    with pytest.raises(UserError, match="compare = 'pear': expected some of peer, published_style"):
        benchmark_step(model="adamae_tiny", compare=("pear",), **TINY)


def test_classifiers_have_no_pretrain_step() -> None:
    with pytest.raises(UserError, match="vit_tiny_patch16_224 is no pre-train model"):
        benchmark_step(model="vit_tiny_patch16_224")
