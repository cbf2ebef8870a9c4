"""What the options of pre-training say reaches the parts that do it. Nothing is trained."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adamae import pretrain as module
from adamae.data.augmentation import MultiScaleCrop, RandomResizedCrop
from adamae.options.pretrain import PretrainOptions
from adamae.pretrain import pretrain
from tests.building import parts_of, write_list

SMALL = {
    "model": "adamae_tiny",
    "encoder_embed_dim": 32,
    "encoder_depth": 2,
    "encoder_num_heads": 2,
    "decoder_embed_dim": 16,
    "decoder_depth": 2,
    "decoder_num_heads": 2,
    "patch_size": 8,
    "num_frames": 4,
    "input_size": 32,
    "mask_ratio": 0.75,
    "device": "cpu",
    "num_workers": 0,
}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds a run: a function from options to its engine, batches and run. No video is opened."""
    folder = tmp_path / "set"
    folder.mkdir()
    write_list(folder, "train", 40)

    def build(**given: Any) -> SimpleNamespace:
        options = {**SMALL, "data_path": str(folder), "output_dir": str(tmp_path / "run"), **given}
        return parts_of(monkeypatch, module, pretrain, PretrainOptions.of(**options))

    return build


def test_clips_of_video(parts: Any) -> None:
    options = {"seed": 5, "sampling_rate": 3, "num_sample": 4, "flip": True, "crop_interpolation": "bicubic"}
    dataset = parts(**options).dataset
    assert (dataset.seed, dataset.num_sample) == (5, 4)
    frames = dataset.choose_frames
    assert (frames.func.__name__, frames.keywords) == ("pretrain_dense", {"length": 4, "stride": 3})
    assert dataset.transform == MultiScaleCrop(32, 32, flip=True, mode="bicubic")
    assert parts().dataset.transform == MultiScaleCrop(32, 32, flip=False, mode="bilinear")


def test_clips_in_segments_and_random_crops(parts: Any) -> None:
    options = {"crop": "random_resized", "crop_scale": (0.3, 0.9), "crop_interpolation": "bicubic", "flip": True}
    dataset = parts(**options, frame_sampling="segment").dataset
    assert (dataset.choose_frames.func.__name__, dataset.choose_frames.keywords) == ("train_segments", {"length": 4})
    assert dataset.transform == RandomResizedCrop(32, (0.3, 0.9), flip=True, mode="bicubic")


def test_more_frames_are_read_than_are_kept(parts: Any) -> None:
    built = parts(frame_selection="motion", frame_oversample=2.0, mask_type="motion")
    assert built.dataset.choose_frames.keywords["length"] == 8
    assert built.model.clip_shape[0] == 8


def test_initial_weights_follow_the_seed(parts: Any) -> None:
    first, again, other = (parts(seed=seed).model.state_dict() for seed in (3, 3, 4))
    name = "encoder.blocks.0.mlp.fc1.weight"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])


def test_the_optimiser(parts: Any) -> None:
    built = parts(opt_betas=(0.8, 0.9), opt_eps=1e-5, clip_grad=0.7, batch_size=3, update_freq=2)
    defaults = built.engine._optimizer.defaults
    assert (defaults["betas"], defaults["eps"]) == ((0.8, 0.9), 1e-5)
    assert built.engine._guard._max_norm == 0.7
    assert (built.batches.batch_size, built.batches.accumulation, built.engine.accumulation) == (3, 2, 2)


def test_the_schedule(parts: Any) -> None:
    options = {"batch_size": 4, "update_freq": 2, "epochs": 10, "warmup_epochs": 2, "lr": 0.032, "min_lr": 0.0032}
    schedule = parts(**options, weight_decay=0.2, weight_decay_end=0.4).run.schedule
    # 40 videos in steps of 8; rates are for 256 videos.
    assert (schedule.plan.last_step, schedule.plan.steps_per_epoch) == (50, 5)
    assert schedule.rates(0) == (0.0, pytest.approx(0.2))
    assert schedule.rates(10)[0] == pytest.approx(0.032 * 8 / 256)
    half_way = (1 + math.cos(math.pi * 20 / 40)) / 2
    assert schedule.rates(30)[0] == pytest.approx((0.0032 + (0.032 - 0.0032) * half_way) * 8 / 256)
    assert schedule.rates(25)[1] == pytest.approx(0.3)


def test_the_default_schedule(parts: Any) -> None:
    schedule = parts(batch_size=8, epochs=40).run.schedule
    # A twentieth of the epochs is warm-up; weight decay stays.
    assert schedule.rates(2 * 5)[0] == pytest.approx(1.5e-4 * 8 / 256)
    assert schedule.rates(2 * 5 - 2)[0] < schedule.rates(2 * 5 - 1)[0]
    assert {schedule.rates(step)[1] for step in (0, 100, 199)} == {0.05}
