"""Old launch lines: every published flag is an option, or is answered in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from adamae.errors import UserError
from adamae.options.pretrain import pretrain_parser
from adamae.options.published import PRETRAIN_ANSWERS
from adamae.removed_options import REMOVED

PRETRAIN = """
data_path mask_type mask_ratio model decoder_depth batch_size num_frames sampling_rate opt opt_betas opt_eps clip_grad
momentum weight_decay weight_decay_end lr warmup_lr min_lr warmup_epochs warmup_steps epochs save_ckpt_freq input_size
drop_path normlize_target color_jitter train_interpolation imagenet_default_mean_and_std output_dir log_dir device seed
resume auto_resume no_auto_resume start_epoch num_workers pin_mem no_pin_mem world_size local_rank dist_on_itp dist_url
softmax_temp use_checkpoint
""".split()
FINE_TUNE = """
update_freq tubelet_size drop attn_drop_rate disable_eval_during_finetuning model_ema model_ema_decay
model_ema_force_cpu layer_decay num_sample aa smoothing crop_pct short_side_size test_num_segment test_num_crop reprob
remode recount resplit mixup cutmix cutmix_minmax mixup_prob mixup_switch_prob mixup_mode finetune model_key
model_prefix init_scale use_mean_pooling use_cls eval_data_path nb_classes num_segments data_set save_ckpt no_save_ckpt
eval dist_eval enable_deepspeed
""".split()


def spellings(value: Any) -> list[str]:
    """What a launch script or a preset may have for a value."""
    if isinstance(value, bool):
        return ["true", "True", "yes", "1"] if value else ["false", "False", "no", "0"]
    return [str(value), f"{value:g}", f"{value:e}"] if isinstance(value, float) else [value]


def known(name: str) -> bool:
    accepted = pretrain_parser().known
    return name in accepted


@pytest.mark.parametrize("name", PRETRAIN)
def test_every_flag_of_the_pretraining_scripts_is_accepted(name: str) -> None:
    assert known(name)
    assert name not in PRETRAIN_ANSWERS or not PRETRAIN_ANSWERS[name].refused


@pytest.mark.parametrize("name", FINE_TUNE)
def test_every_flag_of_the_fine_tuning_scripts_is_accepted_or_answered(name: str) -> None:
    assert known(name)
    answer = PRETRAIN_ANSWERS.get(name)
    if answer is None or not answer.refused:
        return
    with pytest.raises(UserError) as caught:
        pretrain_parser().parse([f"--{name}", "1"])
    assert str(caught.value) == f"--{name}: {answer.text}"
    assert any(word in answer.text for word in ("use --", "see --", "remove it", "--"))


def test_the_table_answers_nothing_but_published_flags() -> None:
    assert set(PRETRAIN_ANSWERS) <= {*PRETRAIN, *FINE_TUNE}


@pytest.mark.parametrize(("name", "idle"), REMOVED.items())
def test_removed_options_are_accepted_where_they_did_nothing(tmp_path: Path, name: str, idle: Any) -> None:
    preset = tmp_path / "options.yaml"
    for word in spellings(idle):
        preset.write_text(f"{name}: {word}\n")
        for words in (["--config", str(preset)], [f"--{name}", word], [f"--{name}={word}"]):
            assert pretrain_parser().parse(words).notes == ()
    if idle is False:
        assert pretrain_parser().parse([f"--no_{name}"]).notes == ()
    told = "was removed: it was not shown to help (docs/TABLE1.md)"
    preset.write_text(f"{name}: {'true' if idle is False else 0.5}\n")
    with pytest.raises(UserError, match=re.escape(f"{preset}: {name}: {told}")):
        pretrain_parser().parse(["--config", str(preset)])
    with pytest.raises(UserError, match=re.escape(f"--{name}: {told}")):
        pretrain_parser().parse([f"--{name}"] if idle is False else [f"--{name}", "0.5"])


def test_the_published_adamae_launch_line() -> None:
    line = """--data_path list/train.csv --mask_type learnable --mask_ratio 0.95
        --model pretrain_videomae_base_patch16_224 --decoder_depth 4 --batch_size 32 --num_frames 16 --sampling_rate 2
        --opt adamw --opt_betas 0.9 0.95 --warmup_epochs 40 --save_ckpt_freq 20 --epochs 801 --log_dir out
        --output_dir out --normlize_target True --warmup_lr 1e-6 --softmax_temp 1 --dist_url env:// --device cuda"""
    parsed = pretrain_parser().parse(line.split())
    assert parsed.options.model.model == "pretrain_videomae_base_patch16_224"
    assert parsed.options.optimizer.epochs == 801
    assert [note.partition(":")[0] for note in parsed.notes] == ["--warmup_lr", "--softmax_temp", "--dist_url"]


def test_the_launcher_s_own_flag_is_accepted_without_a_word() -> None:
    assert pretrain_parser().parse(["--local_rank=3"]).notes == ()


@pytest.mark.parametrize(
    ("line", "resume"),
    [
        ("", "auto"),
        ("--auto_resume", "auto"),
        ("--no_auto_resume", "none"),
        ("--resume out/step --no_auto_resume", "out/step"),
        ("--no_auto_resume --resume out/step", "out/step"),
        # The default, given explicitly.
        ("--resume auto --no_auto_resume", "auto"),
        ("--no_auto_resume --resume auto", "auto"),
        ("--config {preset} --resume none --auto_resume", "none"),
        ("--no_auto_resume --auto_resume", "auto"),
        ("--config {preset} --auto_resume", "auto"),
        ("--config {preset}", "none"),
    ],
)
def test_automatic_resuming_as_published(line: str, resume: str, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("resume: none\n")
    assert pretrain_parser().parse(line.format(preset=preset).split()).options.run.resume == resume


def test_asking_for_deepspeed_as_published() -> None:
    assert pretrain_parser().parse(["--enable_deepspeed"]).options.run.engine == "deepspeed"


def test_asking_for_activation_checkpointing_as_published() -> None:
    parse = pretrain_parser().parse
    assert parse(["--use_checkpoint"]).options.run.checkpoint_activations == "all"
    chosen = parse(["--checkpoint_activations", "decoder", "--use_checkpoint"])
    assert chosen.options.run.checkpoint_activations == "decoder"
    for words in (
        ["--checkpoint_activations", "none", "--use_checkpoint"],
        ["--use_checkpoint", "--checkpoint-activations=none"],
    ):
        assert parse(words).options.run.checkpoint_activations == "none"
