"""What the options of fine-tuning say reaches the parts that do it. Nothing is trained."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adamae import finetune as module
from adamae.data.finetune_augmentation import RandomErasing
from adamae.distributed import World
from adamae.finetune import finetune
from adamae.finetune_evaluation import build_test_evaluator, open_splits, plan_views
from adamae.models import vit_classifier
from adamae.options.finetune import FinetuneOptions
from adamae.training.mixing import Mixing
from tests.building import parts_of, write_list

SMALL = {
    "model": "vit_tiny_patch16_224",
    "encoder_embed_dim": 64,
    "encoder_depth": 2,
    "encoder_num_heads": 2,
    "patch_size": 8,
    "num_frames": 4,
    "input_size": 32,
    "device": "cpu",
    "num_workers": 0,
}


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A data set of empty files: no video is opened before the first step."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name, count in (("train", 40), ("val", 2), ("test", 3)):
        write_list(folder, name, count)
    (folder / "classes.txt").write_text("turning left\nwaving\n")
    return folder


@pytest.fixture
def parts(lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds a run: a function from options to its engine, batches, run, average and validation."""

    def build(**given: Any) -> SimpleNamespace:
        options = {**SMALL, "data_path": str(lists), "output_dir": str(tmp_path / "run"), **given}
        return parts_of(monkeypatch, module, finetune, FinetuneOptions.of(**options))

    return build


def test_clips(parts: Any) -> None:
    options = {
        "seed": 5,
        "sampling_rate": 3,
        "num_sample": 4,
        "crop_scale": (0.3, 0.9),
        "crop_interpolation": "bicubic",
    }
    options |= {"aa": "rand-m3-n2", "train_interpolation": "bilinear", "flip": True}
    dataset = parts(**options, reprob=0.4, remode="const", recount=2).dataset
    assert dataset.annotations.source.endswith("train.csv")
    assert (dataset.seed, dataset.num_sample) == (5, 4)
    frames = dataset.choose_frames
    assert (frames.func.__name__, frames.keywords) == ("train_dense", {"length": 4, "stride": 3})
    augmentation = dataset._augmentation
    assert (augmentation.size, augmentation.scale, augmentation.mode) == (32, (0.3, 0.9), "bicubic")
    assert augmentation.flip == 0.5
    assert augmentation.randaugment._given == ("rand-m3-n2", 32, "bilinear")
    assert augmentation.erasing == RandomErasing(0.4, "const", 2)
    # A mirror would turn the first class into another.
    assert dataset._never_flipped == {0}


def test_clips_without_augmentation(parts: Any) -> None:
    dataset = parts(aa=None, reprob=0, flip=False, frame_sampling="segment").dataset
    frames = dataset.choose_frames
    assert (frames.func.__name__, frames.keywords) == ("train_segments", {"length": 4})
    augmentation = dataset._augmentation
    assert (augmentation.randaugment, augmentation.erasing, augmentation.flip) == (None, None, 0.0)


def test_something_something_is_sampled_in_segments_and_never_flipped(parts: Any) -> None:
    built = parts(data_set="SSV2", flip=True)
    assert built.dataset.choose_frames.func.__name__ == "train_segments"
    assert built.dataset._augmentation.flip == 0.0
    evaluator = measured(built)
    assert evaluator.dataset.plan.choose.func.__name__ == "_choose_segments"


def test_micro_batches_and_mixing(parts: Any) -> None:
    mixing = {"mixup": 0.3, "cutmix": 0.4, "cutmix_minmax": (0.2, 0.6), "mixup_prob": 0.7}
    built = parts(batch_size=3, update_freq=2, **mixing, mixup_switch_prob=0.9, mixup_mode="pair")
    assert (built.batches.batch_size, built.batches.accumulation, built.engine.accumulation) == (3, 2, 2)
    assert built.batches.mixing == Mixing(0.3, 0.4, (0.2, 0.6), 0.7, 0.9, "pair")
    assert parts(mixup=0, cutmix=0).batches.mixing is None


def test_the_network(parts: Any) -> None:
    rates = {"drop": 0.1, "attn_drop_rate": 0.2, "drop_path": 0.3, "fc_drop_rate": 0.4}
    model = parts(**rates, init_values=0.05, use_mean_pooling=False, imagenet_default_mean_and_std=False).model
    first, last = model.encoder.blocks
    assert (first.drop_path_rate, last.drop_path_rate) == (0.0, pytest.approx(0.3))
    for block in (first, last):
        assert (block.drop_rate, block.attn.drop_rate) == (0.1, 0.2)
        assert torch.all(block.gamma_1 == 0.05)
    assert model.fc_drop_rate == 0.4
    assert model.fc_norm is None
    black = torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8)
    assert torch.all(model.pixel_norm(black) == -1)
    assert model.head.out_features == 2


def test_the_head_begins_at_the_given_scale_from_the_given_seed(parts: Any) -> None:
    heads = [parts(init_scale=scale, seed=seed).model.head.weight for scale, seed in ((1.0, 3), (0.25, 3), (1.0, 4))]
    torch.testing.assert_close(heads[1], heads[0] / 4)
    assert not torch.equal(heads[0], heads[2])


def test_selection_of_tokens_and_frames(parts: Any) -> None:
    options = {"token_selection": "motion", "keep_ratio": 0.25, "frame_selection": "motion", "frame_oversample": 2.0}
    built = parts(**options, frame_keep_ratio=0.5, frame_choice="draw")
    assert (built.model.token_choice.strategy, built.model.token_choice.num_kept) == ("motion", 8)
    assert built.dataset.choose_frames.keywords["length"] == 8
    assert measured(built).dataset.plan.num_frames == 8


def test_the_optimiser(parts: Any) -> None:
    options = {"opt_betas": (0.8, 0.9), "opt_eps": 1e-5, "clip_grad": 0.7, "layer_decay": 0.5, "weight_decay": 0.3}
    built = parts(**options, smoothing=0.25)
    optimizer = built.engine._optimizer
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.8, 0.9), 1e-5)
    assert built.engine._guard._max_norm == 0.7
    # The patch embedding, two blocks, and what follows them.
    assert {group["lr_scale"] for group in optimizer.param_groups} == {0.125, 0.25, 0.5, 1.0}
    scale_of = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    assert scale_of[id(built.model.head.weight)] == 1.0
    assert scale_of[id(built.model.encoder.blocks[0].mlp.fc1.weight)] == 0.25
    assert built.engine._forward._objective.smoothing == 0.25


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


def measured(built: SimpleNamespace) -> Any:
    """What validates: the evaluator behind the validation's measure."""
    return next(
        cell.cell_contents
        for cell in built.validation._measure.__closure__
        if type(cell.cell_contents).__name__ == "Evaluator"
    )


def test_validation_is_of_its_own_list(parts: Any, lists: Path) -> None:
    built = parts(seed=5, sampling_rate=3, short_side_size=40, batch_size=3, num_sample=2, softmax=True)
    evaluator = measured(built)
    # The best epoch must not be chosen by the videos of the test, nor by those of the training.
    assert evaluator.dataset.annotations.source == str(lists / "val.csv")
    assert evaluator.model is built.model
    assert (evaluator.dataset.seed, evaluator.batch_size, evaluator.softmax) == (5, 6, False)
    plan = evaluator.dataset.plan
    assert (plan.num_views, plan.num_frames, plan.size, plan.short_side) == (1, 4, 32, 40)
    assert plan.choose.keywords == {"length": 4, "stride": 3}


@pytest.mark.parametrize("softmax", [True, False])
def test_the_test_is_of_its_own_list(lists: Path, softmax: bool) -> None:
    views = {"sampling_rate": 3, "short_side_size": 40, "test_num_segment": 3, "test_num_crop": 2}
    options = FinetuneOptions.of(**SMALL, **views, data_path=str(lists), softmax=softmax)
    _, plan = plan_views(options)
    evaluator = build_test_evaluator(
        options, vit_classifier(embed_dim=16, depth=1, num_heads=2), open_splits(options), plan, World()
    )
    assert evaluator.dataset.annotations.source == str(lists / "test.csv")
    assert evaluator.softmax is softmax
    assert (plan.num_clips, plan.num_crops, plan.num_frames, plan.size, plan.short_side) == (3, 2, 4, 32, 40)
    (dense,) = plan.choose.args  # type: ignore[attr-defined]
    assert dense.keywords == {"length": 4, "stride": 3, "num_clips": 3}


def test_nothing_is_validated_where_nobody_wants_it(parts: Any) -> None:
    assert parts(disable_eval_during_finetuning=True).validation._measure is None


def test_the_average_is_what_is_validated(parts: Any) -> None:
    built = parts(model_ema=True, model_ema_decay=0.9)
    assert built.validation._ema is built.average
    before = [parameter.detach().clone() for parameter in built.model.parameters()]
    with torch.no_grad():
        for parameter in built.model.parameters():
            parameter.add_(1)
    built.average.after_step(1)
    with built.average.applied():
        for parameter, old in zip(built.model.parameters(), before, strict=True):
            torch.testing.assert_close(parameter.detach(), old + 0.1)
    assert not parts(model_ema=False).average.active
