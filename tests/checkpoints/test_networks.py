"""Networks of checkpoints: the classifier, the frozen encoder, and the autoencoder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.networks import build_classifier, build_encoder, build_pretrainer
from adamae.checkpoints.tensor_files import write_tensors
from adamae.errors import UserError
from adamae.randomness import SampleNoise
from adamae.removed_options import REMOVED, REMOVED_VALUES
from adamae.visualize.reconstruction import Variant, reconstruct
from tests.checkpoints.networks import PRETRAIN, classifier, pretrainer
from tests.evaluation.tiny import write_classifier, write_pretrainer
from tests.visualize.scenes import video_clips

CLIPS = torch.randint(0, 256, (3, 4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_pretrained_features_are_the_mean_over_normed_tokens(tmp_path: Path) -> None:
    file = open_checkpoint(write_pretrainer(tmp_path / "pretrained.safetensors"))
    encoder, notes = build_encoder(file)
    model = pretrainer()
    with torch.no_grad():
        tokens = model.encoder.patch_embed(model.pixels(CLIPS))
        expected = model.encoder(tokens, SampleNoise(torch.zeros(3)))
    assert notes == []
    assert torch.allclose(encoder.tokens(CLIPS), expected, atol=1e-6)
    assert torch.allclose(encoder(CLIPS), expected.mean(dim=1), atol=1e-6)
    assert torch.allclose(encoder.times(CLIPS).mean(dim=1), expected.mean(dim=1), atol=1e-6)
    assert not encoder(CLIPS).requires_grad


@pytest.mark.parametrize("options", [{}, {"position_embedding": "learned"}, {"cls_token": True}])
def test_finetuned_features_are_what_the_head_sees(tmp_path: Path, options: dict[str, Any]) -> None:
    file = open_checkpoint(write_classifier(tmp_path / "c.safetensors", **options))
    encoder, _ = build_encoder(file)
    model = classifier(**options)
    assert torch.allclose(model.head(encoder(CLIPS)), model(CLIPS), atol=1e-6)
    rebuilt, notes = build_classifier(file)
    assert torch.equal(rebuilt(CLIPS), model(CLIPS))
    assert notes == []


def test_a_network_that_pools_by_its_first_token(tmp_path: Path) -> None:
    encoder, _ = build_encoder(open_checkpoint(write_classifier(tmp_path / "c.safetensors", use_mean_pooling=False)))
    model = classifier(use_mean_pooling=False)
    expected = model.encode(CLIPS, SampleNoise(torch.zeros(3)))
    assert torch.allclose(encoder(CLIPS), expected.mean(dim=1), atol=1e-6)


def test_other_clips_than_the_checkpoint_s(tmp_path: Path) -> None:
    file = open_checkpoint(write_pretrainer(tmp_path / "pretrained.safetensors"))
    encoder, _ = build_encoder(file, num_frames=8, size=32)
    clips = torch.randint(0, 256, (1, 8, 32, 32, 3), dtype=torch.uint8)
    assert encoder.tokens(clips).shape == (1, 4 * 4 * 4, 32)


def test_random_weights_are_not_the_checkpoint_s(tmp_path: Path) -> None:
    file = open_checkpoint(write_pretrainer(tmp_path / "pretrained.safetensors"))
    trained, _ = build_encoder(file)
    random, notes = build_encoder(file, random_weights=True)
    assert not torch.allclose(trained(CLIPS), random(CLIPS), atol=1e-2)
    assert notes == ["random weights (--random_weights)"]


def test_a_pretrained_checkpoint_is_no_classifier(tmp_path: Path) -> None:
    file = open_checkpoint(write_pretrainer(tmp_path / "pretrained.safetensors"))
    with pytest.raises(UserError, match=r"pretrained.safetensors: is a pre-trained AdaMAE.* expected a fine-tuned"):
        build_classifier(file)


def test_removed_options_of_a_run_do_not_change_its_network(tmp_path: Path) -> None:
    model = pretrainer()
    options = {**PRETRAIN, **{name: True if idle is False else 0.5 for name, idle in REMOVED.items()}}
    options |= REMOVED_VALUES
    write_tensors(tmp_path / "a.safetensors", model.state_dict(), {"model": {"options": options}})
    read, notes = build_pretrainer(open_checkpoint(tmp_path / "a.safetensors"))
    assert notes == [
        f"trained with {name} {str(options[name]).lower()}, which was removed: it has no effect any more"
        for name in (*REMOVED, *REMOVED_VALUES)
    ]
    seeds = torch.arange(3)
    one, other = (each.eval()(CLIPS, seeds=seeds) for each in (read, model))
    assert torch.equal(one.prediction, other.prediction)


def test_our_own_description_tells_everything(tmp_path: Path) -> None:
    path = write_pretrainer(tmp_path / "a.safetensors", normalize_target=False)
    model, notes = build_pretrainer(open_checkpoint(path))
    assert (model.sampler.mask_ratio, model.normalize_target, model.training) == (0.5, False, False)
    assert notes == []
    wanted = pretrainer(normalize_target=False).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


def test_a_published_file_tells_by_its_launch_options(tmp_path: Path) -> None:
    options = argparse.Namespace(mask_ratio=0.75, normlize_target=False, num_frames=4)
    state = pretrainer().state_dict()
    torch.save({"model": state, "epoch": 3, "args": options}, tmp_path / "checkpoint-3.pth")
    model, notes = build_pretrainer(open_checkpoint(tmp_path / "checkpoint-3.pth"))
    assert (model.sampler.mask_ratio, model.normalize_target) == (0.75, False)
    # Of four: nothing tells.
    assert notes == ["the file does not store the number of attention heads: the encoder has 1"]
    assert reconstruct(model, video_clips(), Variant("learnable", 0.5)).statistics["visible"] == 4


def test_what_is_not_told_is_said(tmp_path: Path) -> None:
    torch.save({"model": pretrainer(mask_type="random").state_dict()}, tmp_path / "bare.pth")
    file = open_checkpoint(tmp_path / "bare.pth")
    model, notes = build_pretrainer(file, num_frames=4, size=128)
    assert model.sampler.mask_ratio == 0.95
    assert "does not store its mask ratio" in notes[0]
    assert model.grid.clip_shape == (4, 128, 128)


def test_other_clips_resize_what_is_learned(tmp_path: Path) -> None:
    path = write_pretrainer(tmp_path / "a.safetensors")
    model, notes = build_pretrainer(open_checkpoint(path), num_frames=8, size=24)
    assert model.grid.clip_shape == (8, 24, 24)
    assert "resized to the requested clip size: encoder.pos_embed_probs" in notes[-1]


def test_without_a_decoder_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without a decoder; expected a pre-trained checkpoint"):
        build_pretrainer(open_checkpoint(write_classifier(tmp_path / "a.safetensors")))
    grey = write_pretrainer(tmp_path / "grey.safetensors", in_chans=1)
    with pytest.raises(UserError, match="its clips have 1 channels, expected 3"):
        build_pretrainer(open_checkpoint(grey))


def test_a_transformers_style_file_without_any_norm(tmp_path: Path) -> None:
    model = pretrainer()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("encoder.norm.")}
    torch.save({"model": state, "args": {"num_frames": 4, "input_size": 16}}, tmp_path / "p.pth")
    encoder, _ = build_encoder(open_checkpoint(tmp_path / "p.pth"))
    features = encoder(CLIPS)
    assert torch.allclose(features.mean(dim=1), torch.zeros(3), atol=1e-5)


def test_a_pretrainer_of_ours_with_all_its_options(tmp_path: Path) -> None:
    path = write_pretrainer(tmp_path / "p.safetensors", mask_type="tube", sampling_weight=0.5)
    assert build_encoder(open_checkpoint(path))[0].width == 32
