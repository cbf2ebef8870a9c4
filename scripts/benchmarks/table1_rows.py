"""Rows of table 1: pre-training variants, sizes of the experiment, and comparisons between rows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from adamae.removed_options import REMOVED, REMOVED_VALUES
from adamae.samplers import mask_types

# Targets are not normalised: the background has no noise and is predicted long before moving objects are.
# No video timeout: a process that was suspended for minutes must not report its video as hanging.
_CPU_SIZES = """--num_frames 8 --sampling_rate 2 --input_size 64 --patch_size 8
    --encoder_embed_dim 96 --encoder_depth 4 --encoder_num_heads 4 --num_workers 0 --video_timeout 0"""
_CPU_PRETRAIN = f"""--model adamae_tiny {_CPU_SIZES} --decoder_embed_dim 64 --decoder_depth 2 --decoder_num_heads 4
    --no_normlize_target --batch_size 16 --warmup_epochs 2 --lr 0.03 --min_lr 0.0016 --save_ckpt_freq 5
    --log_every 48"""
_CPU_FINETUNE = f"""--model vit_tiny_patch16_224 {_CPU_SIZES} --drop_path 0 --aa none --num_sample 1
    --crop_scale 0.8 1.0 --reprob 0 --mixup 0 --cutmix 0 --batch_size 16 --warmup_epochs 1 --lr 0.032 --min_lr 0.0001
    --layer_decay 0.65 --test_num_segment 1 --test_num_crop 1 --save_ckpt_freq 3 --log_every 48"""
_CPU_VIDEOS = "--object_size 0.25 --videos_per_class 64 --val_per_class 20 --test_per_class 60 --workers 1"


Rule = Literal["above", "near", "enough"]


# One hour on one GPU: small networks with as many tokens as the paper's. Data loading limits their speed.
_GPU_SIZES = """--num_frames 16 --sampling_rate 1 --input_size 112 --patch_size 8 --num_workers 3 --video_timeout 0"""
_GPU_PRETRAIN = f"""--model adamae_tiny {_GPU_SIZES} --decoder_depth 4 --no_normlize_target --batch_size 64
    --warmup_epochs 3 --lr 0.006 --min_lr 0.0004 --save_ckpt_freq 10 --log_every 24"""
_GPU_FINETUNE = f"""--model vit_tiny_patch16_224 {_GPU_SIZES} --drop_path 0 --aa none --num_sample 1
    --crop_scale 0.8 1.0 --reprob 0 --mixup 0 --cutmix 0 --batch_size 32 --warmup_epochs 1 --lr 0.008 --min_lr 0.0001
    --layer_decay 0.75 --test_num_segment 1 --test_num_crop 1 --save_ckpt_freq 4 --log_every 24"""
_GPU_VIDEOS = """--size 112 --frames 20 --object_size 0.25 --videos_per_class 128 --val_per_class 30
    --test_per_class 60"""


@dataclass(frozen=True)
class Scale:
    """The size of the experiment.

    Attributes:
        name: Name of the scale.
        videos: Options of ``adamae synthesize``; the options of a data set follow them.
        pretrain: Options of ``adamae pretrain``; the options of a row follow them.
        finetune: Options of ``adamae finetune``.
        epochs: Epochs of pre-training.
        device: Device of probes and reconstruction errors.
        side: Height and width of a clip in pixels.
        workers: Number of parallel processes; None: one per core.
    """

    name: str
    videos: str
    pretrain: str
    finetune: str
    epochs: int
    device: str
    side: int
    workers: int | None = None

    def smoke_test(self) -> Scale:
        """Return this scale with two training videos and one epoch, to check that everything runs."""
        few = "--batch_size 2 --warmup_epochs 0 --num_workers 0"
        return replace(
            self,
            videos=f"{self.videos} --classes left,right --videos_per_class 1 --val_per_class 1 --test_per_class 1",
            pretrain=f"{self.pretrain} {few}",
            finetune=f"{self.finetune} {few} --epochs 1",
            epochs=1,
        )


SCALES = {
    "cpu": Scale("cpu", _CPU_VIDEOS, _CPU_PRETRAIN, f"{_CPU_FINETUNE} --epochs 12", 40, "cpu", 64),
    "gpu": Scale("gpu", _GPU_VIDEOS, _GPU_PRETRAIN, f"{_GPU_FINETUNE} --epochs 12", 60, "auto", 112, workers=4),
}
# Data sets by the name of their folder: options of ``adamae synthesize`` in addition to the scale's.
# Real clips are cut from videos and not synthesized.
SMOOTH, NOISY, REAL = "videos", "videos-noisy", "clips"
DATA_SETS = {SMOOTH: "", NOISY: "--background textured --camera_noise 0.05"}


@dataclass(frozen=True)
class Row:
    """One variant of pre-training.

    Attributes:
        name: Name of the row, part of its pieces' names.
        title: Title in the tables.
        options: Options of ``adamae pretrain``; None: no pre-training, fine-tuning starts from random weights.
        length: Epochs of pre-training as a fraction of the scale's.
        videos: Name of the data set; there are too few real clips to fine-tune on them.
        plain_error: Whether the error is the MSE of pixels that are not normalised, and thus comparable.
        finetune: Options of ``adamae finetune`` besides the scale's.
    """

    name: str
    title: str
    options: str | None
    length: float = 1.0
    videos: str = SMOOTH
    plain_error: bool = True
    finetune: str = ""

    def words(self, scale: Scale) -> list[str]:
        """Return the options of ``adamae pretrain``; the row's come last, as the last value of an option counts."""
        epochs = str(max(1, round(self.length * scale.epochs)))
        return [*shlex.split(scale.pretrain), "--epochs", epochs, *shlex.split(self.options or "")]

    @property
    def available(self) -> bool:
        """Whether this version supports the row's options; the results of removed options are of commit c47cec88ec."""
        words = shlex.split(self.options or "")
        if any(f"--{name}" in words for name in REMOVED) or any(value in words for value in REMOVED_VALUES.values()):
            return False
        return "--mask_type" not in words or words[words.index("--mask_type") + 1] in mask_types()


@dataclass(frozen=True)
class Claim:
    """A statement about two rows.

    Attributes:
        text: Text in the table.
        one: Name of the first row.
        other: Name of the second row.
        rule: "above": the first is better than the second; "near": they are about equal; "enough": the first, which
            has more of something, is not better than the second.
    """

    text: str
    one: str
    other: str
    rule: Rule = "above"


@dataclass(frozen=True)
class Group:
    """Rows of one table; the first row is compared with each other one.

    Attributes:
        title: Heading of the table.
        rows: Names of the rows.
        seeds: Number of seeds.
        primary: Names of the rows whose differences to the first are the primary comparisons; the margins of these
            differences decide whether there are enough seeds.
        claims: Claims of the paper.
        expected: Expectations from docs/TABLE1.md, section "Expectations".
        unplanned: Pairs that no plan named, compared after their results were known.
        confirmed: Names of the rows that the group's seeds chose for further ones (fourth amendment of docs/TABLE1.md).
    """

    title: str
    rows: tuple[str, ...]
    seeds: int = 3
    primary: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    expected: tuple[Claim, ...] = ()
    unplanned: tuple[Claim, ...] = ()
    confirmed: tuple[str, ...] = ()


_ADAPTIVE = "--mask_type learnable --mask_ratio 0.95"
ADAPTIVE, SCRATCH = "adaptive-95", "scratch"
_MASKS = (
    Row(ADAPTIVE, "adaptive 95 %", _ADAPTIVE),
    Row("random-95", "random 95 %", "--mask_type random --mask_ratio 0.95"),
    Row("random-90", "random 90 %", "--mask_type random --mask_ratio 0.9"),
    Row("tube-90", "tube 90 %", "--mask_type tube --mask_ratio 0.9"),
    # 87.5 % leaves one tubelet visible, of four here as of the eight in the paper's clips.
    Row("frame-87", "frame 87.5 %", "--mask_type frame --mask_ratio 0.875"),
    Row("motion-90", "motion 90 %", "--mask_type motion --mask_ratio 0.9"),
    Row("random-75", "random 75 %", "--mask_type random --mask_ratio 0.75"),
    Row("uniform-75", "uniform 75 %", "--mask_type uniform --mask_ratio 0.75"),
    Row(SCRATCH, "random weights", None),
    Row("scratch-no-decay", "random weights, no layer decay", None, finetune="--layer_decay 1"),
)
_SETTINGS = (
    *(
        Row(f"adaptive-{ratio}", f"adaptive {ratio} %", f"{_ADAPTIVE} --mask_ratio 0.{ratio}")
        for ratio in (98, 90, 85, 80)
    ),
    *(Row(f"decoder-{depth}", f"decoder of {depth}", f"{_ADAPTIVE} --decoder_depth {depth}") for depth in (1, 4, 8)),
    Row("mse-normalised", "MSE, normalised targets", f"{_ADAPTIVE} --normlize_target", plain_error=False),
    Row("l1", "L1", f"{_ADAPTIVE} --reconstruction_loss l1", plain_error=False),
    Row(
        "l1-normalised",
        "L1, normalised targets",
        f"{_ADAPTIVE} --normlize_target --reconstruction_loss l1",
        plain_error=False,
    ),
    Row("sampler-mlp", "MLP sampler", f"{_ADAPTIVE} --sampler_network mlp"),
    *(
        Row(f"epochs-{length:g}", f"{length:g} times the epochs", _ADAPTIVE, length=length)
        for length in (0.25, 0.5, 2.0)
    ),
)
# Equal cost: as many MACs at ViT-B as pre-training with tube masks at 90 %, see tests/scripts/test_table1_rows.py.
_EQUAL_COST = (
    Row("cost-adaptive-95", "adaptive 95 %", _ADAPTIVE, length=0.821),
    Row("cost-economy-95", "adaptive 95 %, `--economy`", f"{_ADAPTIVE} --economy", length=1.67),
    Row("cost-random-95", "random 95 %", "--mask_type random --mask_ratio 0.95", length=1.2525),
    Row("cost-frame-87", "frame 87.5 %", "--mask_type frame --mask_ratio 0.875", length=0.916),
    Row("cost-motion-90", "motion 90 %", "--mask_type motion --mask_ratio 0.9", length=1.7875),
)
# Not in the paper: name, title, options.
_BEYOND = (
    ("advantage", "reward by the error over the clip's mean", "--sampling_advantage"),
    ("temperature", "temperature 0.5", "--sampler_temperature 0.5"),
    ("progress", "reward by learning progress", "--sampling_reward progress"),
    ("neighbours", "reward by what visible tokens are worth to their neighbours", "--sampling_reward neighbours"),
    ("half-uniform", "half of the visible tokens uniformly", "--sampler_uniform_fraction 0.5"),
)
_BEYOND_ROWS = tuple(Row(f"beyond-{name}", title, f"{_ADAPTIVE} {options}") for name, title, options in _BEYOND)
_NOISY_ROWS = tuple(
    Row(f"noisy-{name}", title, options, videos=NOISY)
    for name, title, options in (
        ("adaptive-95", "adaptive 95 %", _ADAPTIVE),
        ("random-95", "random 95 %", "--mask_type random --mask_ratio 0.95"),
        *((name, title, f"{_ADAPTIVE} {options}") for name, title, options in _BEYOND),
    )
)
_REAL_ROWS = tuple(
    replace(row, name=f"real-{row.name}", options=f"{row.options} --sampling_rate 1", videos=REAL)
    for row in _MASKS
    if row.options is not None
)
ROWS = {row.name: row for row in (*_MASKS, *_REAL_ROWS, *_SETTINGS, *_EQUAL_COST, *_BEYOND_ROWS, *_NOISY_ROWS)}

_ORDER = (ADAPTIVE, "tube-90", "random-90", "frame-87")
# In the order of execution.
GROUPS = {
    "main": Group(
        "Mask type",
        (ADAPTIVE, "random-95", "random-90", "tube-90", "frame-87", "motion-90"),
        seeds=6,
        primary=("random-95", "random-90", "tube-90"),
        claims=tuple(Claim(f"{ROWS[a].title} above {ROWS[b].title}", a, b) for a, b in pairwise(_ORDER)),
    ),
    "references": Group(
        "Other masks, and no pre-training",
        (ADAPTIVE, "random-75", "uniform-75", SCRATCH, "scratch-no-decay"),
        expected=(Claim("random 95 % above random 75 %", "random-95", "random-75"),),
    ),
    "sampler": Group(
        "Network of the sampler",
        (ADAPTIVE, "sampler-mlp", "random-95"),
        claims=(Claim("MLP sampler near random 95 %", "sampler-mlp", "random-95", "near"),),
    ),
    "loss": Group(
        "Loss and target",
        ("mse-normalised", ADAPTIVE, "l1", "l1-normalised"),
        claims=tuple(
            Claim(f"normalised MSE above {title}", "mse-normalised", other)
            for other, title in ((ADAPTIVE, "MSE"), ("l1", "L1"), ("l1-normalised", "normalised L1"))
        ),
        unplanned=(Claim("L1, normalised targets minus L1", "l1-normalised", "l1"),),
    ),
    "decoder": Group(
        "Depth of the decoder",
        ("decoder-4", "decoder-1", ADAPTIVE, "decoder-8"),
        claims=(Claim("four decoder blocks enough: eight not above four", "decoder-8", "decoder-4", "enough"),),
    ),
    "cost": Group(
        "Equal cost",
        (
            "cost-adaptive-95",
            "cost-economy-95",
            "cost-random-95",
            "random-90",
            "tube-90",
            "cost-frame-87",
            "cost-motion-90",
        ),
        unplanned=tuple(
            Claim(f"`--economy` minus {ROWS[name].title}", "cost-economy-95", name)
            for name in ("cost-random-95", "random-90", "tube-90", "cost-frame-87", "cost-motion-90")
        ),
    ),
    "ratio": Group(
        "Mask ratio",
        (ADAPTIVE, *(f"adaptive-{ratio}" for ratio in (98, 90, 85, 80))),
        expected=(
            Claim("98 % above 95 %", "adaptive-98", ADAPTIVE),
            *(Claim(f"95 % above {ratio} %", ADAPTIVE, f"adaptive-{ratio}") for ratio in (90, 85, 80)),
        ),
    ),
    "beyond": Group(
        "Beyond the paper",
        (ADAPTIVE, *(row.name for row in _BEYOND_ROWS)),
        expected=(
            Claim("half of the visible tokens uniformly above plain adaptive 95 %", "beyond-half-uniform", ADAPTIVE),
            Claim("plain adaptive 95 % above temperature 0.5", ADAPTIVE, "beyond-temperature"),
        ),
        confirmed=("beyond-temperature", "beyond-progress"),
    ),
    "noisy": Group("Beyond the paper, noisy videos", tuple(row.name for row in _NOISY_ROWS)),
    "real": Group("Real clips", tuple(row.name for row in _REAL_ROWS)),
    "epochs": Group("Epochs of pre-training", (ADAPTIVE, "epochs-0.25", "epochs-0.5", "epochs-2")),
}


def plan(groups: Sequence[str], seeds: int | None, rows: Sequence[str] | None = None) -> list[tuple[Row, int]]:
    """Return the rows and seeds to run, by group and then by seed, so that an early stop leaves complete seeds.

    Rows whose options this version does not support are left out.

    Args:
        groups: Keys of :data:`GROUPS`.
        seeds: Number of seeds; None: that of each group.
        rows: Names of the rows to run; None: all rows of the groups.
    """
    pairs = [
        (ROWS[name], seed)
        for group in groups
        for seed in range(seeds or GROUPS[group].seeds)
        for name in GROUPS[group].rows
        if ROWS[name].available and (rows is None or name in rows)
    ]
    return list(dict.fromkeys(pairs))
