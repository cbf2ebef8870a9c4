"""The autoencoder out of checkpoints of every kind that has one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.errors import UserError
from adamae.visualize.networks import build_pretrainer
from adamae.visualize.reconstruction import Variant, reconstruct
from tests.checkpoints.networks import pretrainer
from tests.evaluation.tiny import write_classifier, write_pretrainer
from tests.visualize.scenes import video_clips


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
