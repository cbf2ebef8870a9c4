"""What becomes of every weight of a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.resizing import fit_channels, resize_kernel, resize_positions
from adamae.checkpoints.tensor_files import write_tensors
from adamae.errors import UserError
from adamae.models import PretrainOutput, vit_classifier, vit_pretrainer
from tests.checkpoints.networks import CLASSIFIER, PRETRAIN, bits, classifier, clip, pretrainer
from tests.golden import recipe


def saved(model: nn.Module, path: Path, **more: Any) -> Path:
    torch.save({"model": model.state_dict(), "epoch": 1, **more}, path)
    return path


def described(model: nn.Module, options: dict[str, Any], path: Path) -> Path:
    """With the options beside the weights, so that nothing has to be guessed."""
    write_tensors(path, model.state_dict(), {"model": describe_network(model, options)})
    return path


def test_the_golden_list_of_what_happens_to_each_key(tmp_path: Path) -> None:
    golden = recipe.load("adamae/finetune_load_map.json")
    sizes = {"img_size": 32, "patch_size": 8, "num_frames": 4}
    source = vit_pretrainer(**sizes, encoder_embed_dim=32, encoder_depth=2, encoder_num_heads=4, decoder_embed_dim=16,
                        decoder_depth=2, decoder_num_heads=2)  # fmt: skip
    model = vit_classifier(**sizes, embed_dim=32, depth=2, num_heads=4, num_classes=5)
    report = load_weights(model, saved(source, tmp_path / "checkpoint.pth"))
    assert sorted(report.loaded) == sorted(golden["loaded"])
    assert sorted(report.new) == sorted(golden["not_loaded_keep_init"])
    assert sorted(report.ignored) == sorted(golden["checkpoint_keys_ignored"])
    for name, value in source.encoder.blocks.state_dict().items():
        assert torch.equal(model.encoder.blocks.state_dict()[name], value)


def test_what_is_new_keeps_its_start(tmp_path: Path) -> None:
    model = classifier(seed=4)
    head = bits({name: value for name, value in model.state_dict().items() if name.startswith(("head", "fc_norm"))})
    load_weights(model, saved(pretrainer(), tmp_path / "checkpoint.pth"))
    assert bits({name: model.state_dict()[name] for name in head}) == head


@pytest.mark.parametrize("build", [pretrainer, classifier])
def test_weights_load_through_wrappers(build: Callable[..., nn.Module], tmp_path: Path) -> None:
    source, model = build(), build(seed=1)
    compiled = torch.compile(model, backend="eager")
    seeds = torch.arange(2)
    compiled(clip(), seeds=seeds)
    path = saved(source, tmp_path / "checkpoint.pth")
    load_weights(nn.DataParallel(compiled), path, complete=True)
    assert bits(model.state_dict()) == bits(source.state_dict())
    given, expected = (network(clip(), seeds=seeds) for network in (compiled, source))
    if isinstance(expected, PretrainOutput):
        given, expected = given.losses, expected.losses
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("model", [nn.Linear(1, 1), nn.DataParallel(nn.Linear(1, 1))], ids=["linear", "wrapped"])
def test_other_modules_are_refused(model: nn.Module, tmp_path: Path) -> None:
    path = saved(pretrainer(), tmp_path / "checkpoint.pth")
    kind = type(model).__name__
    with pytest.raises(UserError, match=f"^load_weights got a {kind}, expected a Pretrainer or a Classifier$"):
        load_weights(model, path)


def test_same_outputs_after_loading(tmp_path: Path) -> None:
    source, model = pretrainer(), pretrainer(seed=1)
    report = load_weights(model, saved(source, tmp_path / "checkpoint.pth"), complete=True)
    heads = "the file does not store the number of attention heads: the encoder has 4"
    assert (report.new, report.ignored, report.resized, report.notes) == ((), {}, (), (heads,))
    told = load_weights(model, described(source, PRETRAIN, tmp_path / "checkpoint.safetensors"))
    assert told.notes == ()
    visible = torch.tensor([[0, 3, 5, 6], [1, 2, 4, 7]])
    assert torch.equal(model(clip(), visible=visible).prediction, source(clip(), visible=visible).prediction)
    assert model(clip(), seeds=torch.tensor([1, 2])).selection.visible.equal(
        source(clip(), seeds=torch.tensor([1, 2])).selection.visible
    )


def test_a_head_of_another_class_count_starts_anew(tmp_path: Path) -> None:
    model = classifier(seed=1, num_classes=7)
    path = saved(classifier(), tmp_path / "checkpoint.pth")
    report = load_weights(model, path)
    assert report.new == ("head.weight", "head.bias")
    assert report.ignored == dict.fromkeys(report.new, "it is for 5 classes, the model has 7")
    assert "fc_norm.weight" in report.loaded
    with pytest.raises(UserError, match=r"2 not in the file: head\.weight, head\.bias"):
        load_weights(model, path, complete=True)


def test_a_network_without_a_head_takes_the_rest(tmp_path: Path) -> None:
    source, model = classifier(), classifier(seed=1, num_classes=0)
    report = load_weights(model, saved(source, tmp_path / "checkpoint.pth"), complete=True)
    assert set(report.ignored.values()) == {"the model has no head"}
    source.head = nn.Identity()
    assert torch.equal(model(clip()), source(clip()))


def test_a_file_without_a_sampler_starts_one(tmp_path: Path) -> None:
    model = pretrainer(seed=1)
    report = load_weights(model, saved(pretrainer(mask_type="random"), tmp_path / "checkpoint.pth"))
    assert len(report.new) == 14
    assert all("token_probs" in name or "pos_embed_probs" in name for name in report.new)


def test_a_sampler_is_left_where_nothing_is_learned(tmp_path: Path) -> None:
    model = pretrainer(seed=1, mask_type="tube")
    report = load_weights(model, saved(pretrainer(), tmp_path / "checkpoint.pth"), complete=True)
    assert set(report.ignored.values()) == {"the sampler of the model has no parameters"}
    assert len(report.ignored) == 14


@pytest.mark.parametrize("kind", ["finetune", "encoder."])
def test_norms_of_their_own(kind: str, tmp_path: Path) -> None:
    """An encoder's last norm is no classifier's: it is left out, unless the classifier takes the first token."""
    source = pretrainer()
    path = tmp_path / "checkpoint.pth"
    torch.save({f"encoder.{name}": value for name, value in source.encoder.state_dict().items()}, path)
    assert load_weights(classifier(), path).ignored.keys() >= {"norm.weight", "norm.bias"}
    first = classifier(use_mean_pooling=False)
    assert {"norm.weight", "norm.bias"} <= set(load_weights(first, path).loaded)


def test_a_file_without_a_final_norm_removes_those_of_the_model(tmp_path: Path) -> None:
    """Also that of the average of past weights."""
    path = tmp_path / "checkpoint.pth"
    state = {name: value for name, value in pretrainer().state_dict().items() if not name.startswith("encoder.norm.")}
    torch.save(state, path)
    model = pretrainer(seed=1, sampling_reward="progress")
    assert "that of the model was removed" in str(load_weights(model, path))
    assert not [name for name in model.state_dict() if "encoder.norm." in name]
    assert torch.isfinite(model(clip()).losses["loss"])


def test_a_decoder_that_no_pretrainer_has_is_left_out(tmp_path: Path) -> None:
    """With an MLP of another ratio than the encoder's."""
    state = pretrainer().state_dict()
    wider = {name: value for name, value in state.items() if name.startswith("decoder.blocks.") and ".mlp.fc" in name}
    for name, value in wider.items():
        if not name.endswith("fc2.bias"):
            state[name] = torch.cat((value, value), dim=1 if name.endswith("fc2.weight") else 0)
    torch.save(state, tmp_path / "checkpoint.pth")
    assert set(load_weights(classifier(), tmp_path / "checkpoint.pth").ignored) >= wider.keys()


def test_a_model_without_memory_is_refused(tmp_path: Path) -> None:
    path = saved(classifier(), tmp_path / "checkpoint.pth")
    with torch.device("meta"):
        model = vit_classifier(**CLASSIFIER)
    with pytest.raises(UserError, match="the model is on the meta device"):
        load_weights(model, path)


def test_learned_positions_of_another_clip(tmp_path: Path) -> None:
    source = pretrainer()
    path = described(source, PRETRAIN, tmp_path / "checkpoint.safetensors")
    model = pretrainer(seed=1, num_frames=8, img_size=(24, 16))
    report = load_weights(model, path)
    assert report.resized == ("encoder.pos_embed_probs",)
    expected = resize_positions(source.sampler.position, (2, 2, 2), (4, 3, 2))
    torch.testing.assert_close(model.sampler.position, expected)


def test_as_many_tokens_in_another_order_are_resized_if_the_file_tells(tmp_path: Path) -> None:
    source = pretrainer()
    model = pretrainer(seed=1, num_frames=4, img_size=(8, 32))
    told = load_weights(model, described(source, PRETRAIN, tmp_path / "checkpoint.safetensors"))
    assert told.resized == ("encoder.pos_embed_probs",)
    untold = load_weights(model, saved(source, tmp_path / "checkpoint.pth"))
    assert untold.resized == ()
    assert torch.equal(model.sampler.position, source.sampler.position)


def test_options_of_the_official_code_tell_the_order_too(tmp_path: Path) -> None:
    """They do not have the number of heads, which has nothing to do with the order of the tokens."""
    source = pretrainer()
    path = saved(source, tmp_path / "checkpoint.pth", args=argparse.Namespace(num_frames=4, input_size=16))
    model = pretrainer(seed=1, num_frames=4, img_size=(8, 32))
    report = load_weights(model, path)
    assert report.resized == ("encoder.pos_embed_probs",)
    expected = resize_positions(source.sampler.position.detach(), (2, 2, 2), (2, 1, 4))
    torch.testing.assert_close(model.sampler.position, expected)
    assert not any("are assumed to be" in note for note in report.notes)


def test_guesses_are_told(tmp_path: Path) -> None:
    """Eight tokens could be anything; options beside the weights would have told."""
    model = pretrainer(seed=1, num_frames=8)
    report = load_weights(model, saved(pretrainer(), tmp_path / "checkpoint.pth"))
    assert "the clips of the checkpoint are assumed to be 16 frames of 8x8" in report.notes


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_other_channels(channels: int, tmp_path: Path) -> None:
    source, model = classifier(), classifier(seed=1, in_chans=channels)
    report = load_weights(model, saved(source, tmp_path / "checkpoint.pth"), complete=True)
    assert report.resized == ("patch_embed.proj.weight",)
    assert torch.equal(
        model.encoder.patch_embed.proj.weight, fit_channels(source.encoder.patch_embed.proj.weight, channels)
    )


def test_other_tokens(tmp_path: Path) -> None:
    source, model = classifier(), classifier(seed=1, patch_size=16, tubelet_size=4)
    assert load_weights(model, saved(source, tmp_path / "checkpoint.pth")).resized == ("patch_embed.proj.weight",)
    torch.testing.assert_close(
        model.encoder.patch_embed.proj.weight, resize_kernel(source.encoder.patch_embed.proj.weight, (4, 16, 16))
    )


@pytest.mark.parametrize(
    ("source", "model", "message"),
    [
        (pretrainer(), classifier(embed_dim=64), r"of another shape: .*patch_embed\.proj\.bias \(32,\) for \(64,\)"),
        (pretrainer(), classifier(depth=3), r"13 not in the file: blocks\.2\.norm1"),
        (pretrainer(), classifier(depth=1), r"\d+ not in the model: blocks\.1\.norm1"),
        (pretrainer(), classifier(init_values=0.1), r"4 not in the file: blocks\.0\.gamma_1"),
        (pretrainer(), classifier(qkv_bias=False), r"4 not in the model: blocks\.0\.attn\.q_bias"),
        (pretrainer(), pretrainer(in_chans=4), r"decoder\.head\.weight \(384, 16\) for \(512, 16\)"),
        (pretrainer(), pretrainer(sampler_depth=2), r"2 not in the model: encoder\.get_token_probs\.1\.weight"),
        (
            classifier(),
            pretrainer(),
            "holds a classifier of 5 classes; expected a pre-trained network with its decoder",
        ),
        (classifier(use_mean_pooling=False), classifier(), "build the classifier with use_mean_pooling=False"),
        (classifier(), classifier(use_mean_pooling=False), r"2 not in the model: fc_norm\.weight"),
    ],
)
def test_what_does_not_match_stops_and_is_listed(
    source: nn.Module, model: nn.Module, message: str, tmp_path: Path
) -> None:
    before = bits(model.state_dict())
    with pytest.raises(UserError, match=message) as caught:
        load_weights(model, saved(source, tmp_path / "checkpoint.pth"))
    assert "\n" not in str(caught.value)
    assert bits(model.state_dict()) == before


def test_unknown_entries_stop_and_are_listed(tmp_path: Path) -> None:
    state = {**pretrainer().state_dict(), "encoder.extra.weight": torch.zeros(3)}
    torch.save({"model": state}, tmp_path / "checkpoint.pth")
    with pytest.raises(UserError, match=r"unknown 1: encoder\.extra\.weight"):
        load_weights(classifier(), tmp_path / "checkpoint.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_become_the_models(dtype: torch.dtype, tmp_path: Path) -> None:
    model = classifier(seed=1)
    load_weights(model, saved(classifier().to(dtype), tmp_path / "checkpoint.pth"), complete=True)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_joined_biases_lose_the_keys_part_and_nothing_else(tmp_path: Path) -> None:
    """Timm's blocks keep one bias for queries, keys and values."""
    source = classifier()
    state = {}
    for name, value in source.state_dict().items():
        if name.endswith("q_bias"):
            value_bias = source.state_dict()[name.replace("q_bias", "v_bias")]
            state[name.replace("q_bias", "qkv.bias")] = torch.cat((value, torch.randn_like(value), value_bias))
        elif not name.endswith("v_bias"):
            state[name] = value
    torch.save(state, tmp_path / "checkpoint.pth")
    model = classifier(seed=1)
    report = load_weights(model, tmp_path / "checkpoint.pth", complete=True)
    assert "softmax is invariant to it" in report.notes[0]
    assert bits(model.state_dict()) == bits(source.state_dict())


def test_the_report_reads_as_a_line(tmp_path: Path) -> None:
    report = load_weights(classifier(), saved(pretrainer(), tmp_path / "checkpoint.pth"))
    text = str(report)
    assert "28 tensors loaded" in text
    assert "4 randomly initialised (fc_norm.weight, fc_norm.bias, head.weight, head.bias)" in text
    assert "a classifier has no sampler" in text
    assert "\n" not in text


def test_a_network_can_be_built_from_the_file_alone(tmp_path: Path) -> None:
    options = {**PRETRAIN, "sampler_dim": 16, "init_values": 0.2, "decoder_depth": 3}
    source = pretrainer(**options)
    file = open_checkpoint(described(source, options, tmp_path / "checkpoint.safetensors"))
    model = pretrainer(seed=1, **file.architecture.options())
    load_weights(model, file, complete=True)
    seeds = torch.tensor([1, 2])
    assert torch.equal(model(clip(), seeds=seeds).prediction, source(clip(), seeds=seeds).prediction)
    assert CLASSIFIER["img_size"] == file.architecture.options()["img_size"]
