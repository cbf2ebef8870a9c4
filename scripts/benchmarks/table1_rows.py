"""The rows of table 1: what is pre-trained how, at which size, and what is compared with what."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

# Plain pixels as targets: the background has no noise and is predicted long before moving objects are.
# A process that is stopped for minutes must not take its video for one that hangs.
_CPU_SIZES = """--num_frames 8 --sampling_rate 2 --input_size 64 --patch_size 8
    --encoder_embed_dim 96 --encoder_depth 4 --encoder_num_heads 4 --num_workers 0 --video_timeout 0"""
_CPU_PRETRAIN = f"""--model adamae_tiny {_CPU_SIZES} --decoder_embed_dim 64 --decoder_depth 2 --decoder_num_heads 4
    --no_normlize_target --batch_size 16 --warmup_epochs 2 --lr 0.03 --min_lr 0.0016 --save_ckpt_freq 5
    --log_every 48"""
_CPU_FINETUNE = f"""--model vit_tiny_patch16_224 {_CPU_SIZES} --drop_path 0 --aa none --num_sample 1
    --crop_scale 0.8 1.0 --reprob 0 --mixup 0 --cutmix 0 --batch_size 16 --warmup_epochs 1 --lr 0.032 --min_lr 0.0001
    --layer_decay 1.0 --test_num_segment 1 --test_num_crop 1 --save_ckpt_freq 3 --log_every 48"""
_CPU_VIDEOS = "--object_size 0.25 --videos_per_class 64 --val_per_class 20 --test_per_class 60 --workers 1"


@dataclass(frozen=True)
class Scale:
    """The size of the experiment.

    Attributes:
        name: Of the scale.
        videos: Options of ``adamae synthesize``.
        pretrain: Options of ``adamae pretrain``; a row's own come behind them.
        finetune: Options of ``adamae finetune``.
        epochs: Of pre-training.
        device: Of the measures.
    """

    name: str
    videos: str
    pretrain: str
    finetune: str
    epochs: int
    device: str


SCALES = {
    "cpu": Scale("cpu", _CPU_VIDEOS, _CPU_PRETRAIN, f"{_CPU_FINETUNE} --epochs 12", 40, "cpu"),
}


@dataclass(frozen=True)
class Row:
    """One way to pre-train.

    Attributes:
        name: Of its pieces.
        title: In the tables.
        options: Of ``adamae pretrain``; None: nothing is pre-trained, fine-tuning starts from random weights.
    """

    name: str
    title: str
    options: str | None

    def words(self, scale: Scale) -> list[str]:
        """Options of ``adamae pretrain``, those of the row last, as the last one typed counts."""
        return [*shlex.split(scale.pretrain), "--epochs", str(scale.epochs), *shlex.split(self.options or "")]


@dataclass(frozen=True)
class Group:
    """Rows that make a table, the first of which the others are compared with.

    Attributes:
        title: Heading of the table.
        rows: Names.
        seeds: How many; more than the usual where that is decided by the width of an interval.
        primary: Names of the rows whose difference to the first decides; the margins of these say whether there are
            enough seeds.
    """

    title: str
    rows: tuple[str, ...]
    seeds: int
    primary: tuple[str, ...] = ()


ADAPTIVE, SCRATCH = "adaptive-95", "scratch"
_ROWS = (
    Row(ADAPTIVE, "adaptive 95 %", "--mask_type learnable --mask_ratio 0.95"),
    Row("random-95", "random 95 %", "--mask_type random --mask_ratio 0.95"),
    Row("random-90", "random 90 %", "--mask_type random --mask_ratio 0.9"),
    Row("tube-90", "tube 90 %", "--mask_type tube --mask_ratio 0.9"),
    # On four tubelets a ratio of 87.5 % leaves one, as on the eight of the paper's clips.
    Row("frame-87", "frame 87.5 %", "--mask_type frame --mask_ratio 0.875"),
    Row("motion-90", "motion 90 %", "--mask_type motion --mask_ratio 0.9"),
    Row("random-75", "random 75 %", "--mask_type random --mask_ratio 0.75"),
    Row(SCRATCH, "random weights", None),
)
ROWS = {row.name: row for row in _ROWS}
MAIN_SEEDS = 6
GROUPS = {
    "main": Group(
        "Mask type",
        (ADAPTIVE, "random-95", "random-90", "tube-90", "frame-87", "motion-90"),
        MAIN_SEEDS,
        primary=("random-95", "random-90", "tube-90"),
    ),
    "references": Group("References", (ADAPTIVE, "random-75", SCRATCH), 3),
}


def plan(groups: Sequence[str], seeds: int | None) -> list[tuple[Row, int]]:
    """What is to be done, in its order: group by group, in each seed by seed, so that an early end leaves whole seeds.

    Args:
        groups: Keys of :data:`GROUPS`.
        seeds: How many; None: as many as each group has.
    """
    pairs = [
        (ROWS[name], seed)
        for group in groups
        for seed in range(seeds or GROUPS[group].seeds)
        for name in GROUPS[group].rows
    ]
    return list(dict.fromkeys(pairs))
