"""Options of fine-tuning: presets, published launch lines, and what several options say together."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamae.errors import UserError
from adamae.options.finetune import FinetuneOptions, finetune_parser, recipe_lines
from adamae.options.parser import Parsed
from adamae.options.presets import configs_folder
from adamae.options.published import FINETUNE_ANSWERS
from tests.options.test_published import FINE_TUNE

PRESETS = sorted((configs_folder() / "finetune").glob("*.yaml"))
# What recurs from pre-training in the published fine-tuning scripts.
RECURRING = """
data_path model batch_size num_frames sampling_rate opt opt_betas opt_eps clip_grad momentum weight_decay
weight_decay_end lr warmup_lr min_lr warmup_epochs warmup_steps epochs save_ckpt_freq input_size drop_path color_jitter
train_interpolation imagenet_default_mean_and_std output_dir log_dir device seed resume auto_resume no_auto_resume
start_epoch num_workers pin_mem no_pin_mem world_size local_rank dist_on_itp dist_url use_checkpoint
""".split()
OF_PRETRAINING = "mask_type mask_ratio decoder_depth normlize_target softmax_temp".split()
OF_ADAMAE = ("adaptive", "adaptive_mask_ratio")


def parse(*words: str) -> Parsed[FinetuneOptions]:
    return finetune_parser().parse(words)


@pytest.mark.parametrize("name", [*FINE_TUNE, *RECURRING])
def test_every_flag_of_the_fine_tuning_scripts_is_accepted(name: str) -> None:
    accepted = finetune_parser().known
    assert name in accepted or name.removeprefix("no_") in accepted
    assert name not in FINETUNE_ANSWERS or not FINETUNE_ANSWERS[name].refused


@pytest.mark.parametrize("name", OF_PRETRAINING)
def test_flags_of_pretraining_are_answered(name: str) -> None:
    with pytest.raises(UserError, match=f"^--{name}: belongs to pre-training; remove it"):
        parse(f"--{name}", "1")


@pytest.mark.parametrize("name", OF_ADAMAE)
def test_flags_of_adamaes_own_fine_tuning_are_answered(name: str) -> None:
    with pytest.raises(UserError, match=f"^--{name}: use --token_selection adaptive"):
        parse(f"--{name}", "0.5")


def test_the_table_answers_nothing_but_published_flags() -> None:
    assert set(FINETUNE_ANSWERS) <= {*FINE_TUNE, *RECURRING, *OF_PRETRAINING, *OF_ADAMAE}


def test_a_published_launch_line() -> None:
    parsed = parse(
        *"""--model vit_base_patch16_224 --data_set SSV2 --nb_classes 174 --data_path ssv2 --finetune checkpoint-799.pth
        --log_dir out --output_dir out --batch_size 8 --num_sample 1 --input_size 224 --short_side_size 224
        --save_ckpt_freq 10 --num_frames 16 --opt adamw --lr 5e-4 --opt_betas 0.9 0.999 --weight_decay 0.05 --epochs 50
        --dist_eval --test_num_segment 2 --test_num_crop 3 --enable_deepspeed --local_rank=0 --warmup_lr 1e-6
        --model_key model|module --use_mean_pooling --no_auto_resume --use_checkpoint""".split()
    )
    options = parsed.options
    assert (options.frame_sampling, options.flip, options.run.engine) == ("segment", 0.0, "deepspeed")
    assert options.run.checkpoint_activations == "all"
    assert (options.model.nb_classes, options.run.resume, options.model.model_key) == (174, "none", "model|module")
    assert [note.partition(":")[0] for note in parsed.notes] == ["--dist_eval", "--warmup_lr"]


def test_defaults_are_the_published_ones() -> None:
    options = FinetuneOptions()
    assert options.augmentation.aa == "rand-m7-n4-mstd0.5-inc1"
    assert options.optimizer.opt_betas == (0.9, 0.999)
    assert options.optimizer.layer_decay == 0.75
    assert (options.frame_sampling, options.flip) == ("dense", 0.5)
    assert options.model.init_scale == 0.001


@pytest.mark.parametrize(
    ("line", "mean", "frequency"),
    [
        ("", True, 20),
        ("--use_cls", False, 20),
        ("--no_save_ckpt", True, 0),
        ("--save_ckpt", True, 20),
        ("--save_ckpt_freq 20 --no_save_ckpt", True, 20),
        ("--use_mean_pooling --use_cls", True, 20),
    ],
)
def test_published_switches(line: str, mean: bool, frequency: int) -> None:
    options = parse(*line.split()).options
    assert (options.model.use_mean_pooling, options.run.save_ckpt_freq) == (mean, frequency)


@pytest.mark.parametrize(("line", "expected"), [("", 3), ("--epochs 100", 5), ("--epochs 4 --warmup_epochs 2", 2)])
def test_warm_up_fits_into_the_run(line: str, expected: float) -> None:
    assert parse(*line.split()).options.warmup_epochs == expected


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_committed_preset_parses_and_is_followed(path: Path) -> None:
    parsed = parse("--config", path.stem)
    assert parsed.options == parse("--config", str(path)).options != FinetuneOptions()
    total = parsed.options.optimizer.total_batch_size
    if total is not None:
        assert total % (8 * parsed.options.data.batch_size) == 0
        assert recipe_lines(parsed, world_size=8) == [f"recipe {path.stem}", "follows its recipe"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adamae_ssv2_base", ("segment", 0.0, 50, 5e-4, 512, 2, 0.75)),
        ("adamae_k400_base", ("dense", 0.5, 100, 1e-3, 512, 5, 0.75)),
        ("videomae_ucf101_base", ("dense", 0.5, 100, 5e-4, 128, 5, 0.7)),
        ("videomae_hmdb51_base", ("dense", 0.5, 50, 1e-3, 128, 10, 0.7)),
    ],
)
def test_the_published_recipes(name: str, expected: tuple[object, ...]) -> None:
    o = parse("--config", name).options
    rates = (o.optimizer.epochs, o.optimizer.lr, o.optimizer.total_batch_size)
    assert (o.frame_sampling, o.flip, *rates, o.scoring.test_num_segment, o.optimizer.layer_decay) == expected
    assert (o.augmentation.mixup, o.augmentation.cutmix, o.augmentation.smoothing) == (0.8, 1.0, 0.1)
    assert o.augmentation.reprob == 0.25
    assert o.warmup_epochs == 5


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_recipes_with_several_views_average_probabilities_as_the_official_code_does(path: Path) -> None:
    scoring = parse("--config", path.stem).options.scoring
    assert scoring.softmax == (scoring.test_num_segment != 1 or scoring.test_num_crop != 1)


def test_a_run_tells_how_it_differs_from_its_recipe() -> None:
    lines = recipe_lines(parse("--config", "adamae_ssv2_base", "--lr", "1.5e-4", "--batch_size", "4"), world_size=1)
    assert lines == ["recipe adamae_ssv2_base", "differs from its recipe in lr: 0.0005 -> 0.00015"]
    assert recipe_lines(parse(), world_size=1) == []


def test_a_share_of_the_tokens_without_a_selection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--keep_ratio 0\.5 has no effect with --token_selection none: expected another"
    ):
        parse("--keep_ratio", "0.5")
    assert parse("--keep_ratio", "0.6").notes == ()
    assert parse("--keep_ratio", "0.5", "--token_selection", "random").notes == ()
    (tmp_path / "mine.yaml").write_text("keep_ratio: 0.5\ntoken_selection: motion\n")
    parsed = parse("--config", str(tmp_path / "mine.yaml"), "--token_selection", "none")
    assert parsed.notes == ("no effect with --token_selection none: keep_ratio 0.5",)


def test_missing_words() -> None:
    with pytest.raises(UserError, match="--data_path is missing"):
        parse().options.check_complete()
