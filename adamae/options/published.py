"""Answers to flags of the official VideoMAE and AdaMAE launch scripts, and to options of earlier versions.

Flags that are options under the same name are not listed. ``test_published_flags`` checks all official flags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from adamae.flags import BOOLEANS
from adamae.removed_options import REMOVED


@dataclass(frozen=True)
class Answer:
    """Handling of a flag.

    Attributes:
        text: Note for the user in one line; empty for none.
        nargs: Number of words that follow the flag, in argparse's notation.
        refused: Whether the command stops with an error.
        idle: Value with which a refused option is accepted, because it did nothing; None: there is no such value.
        sets: Options that the flag sets unless they are given explicitly.
    """

    text: str = ""
    nargs: int | str | None = None
    refused: bool = False
    idle: Any = None
    sets: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def is_idle(self, word: str | None) -> bool:
        """Whether a word, or None without one, is a spelling of :attr:`idle`."""
        if word is None or self.idle is None:
            return False
        if isinstance(self.idle, bool):
            return BOOLEANS.get(word.lower()) == self.idle
        try:
            return bool(type(self.idle)(word) == self.idle)
        except ValueError:
            return False


def _instead(text: str) -> Answer:
    return Answer(text, nargs="*", refused=True)


_LAUNCHER = "does nothing here: torchrun, deepspeed or srun set the rank of each process"
_FINE_TUNING = "belongs to fine-tuning; pre-training has no"

PRETRAIN_ANSWERS: Mapping[str, Answer] = {
    "warmup_lr": Answer("does nothing, as in the official code: the warm-up starts at zero"),
    "softmax_temp": Answer("does nothing, as in the official code"),
    "momentum": Answer("does nothing, as in the official code: AdamW has betas instead, see --opt_betas"),
    "color_jitter": Answer("does nothing, as in the official pre-training, which changes no colours"),
    "train_interpolation": Answer("does nothing, as in the official pre-training, which resizes bilinearly"),
    "start_epoch": Answer("does nothing: the checkpoint stores the epoch, see --resume"),
    "auto_resume": Answer(nargs=0, sets={"resume": "auto"}),
    "no_auto_resume": Answer(nargs=0, sets={"resume": "none"}),
    "world_size": Answer(_LAUNCHER),
    # The deepspeed launcher adds this flag by itself, so there is no note.
    "local_rank": Answer(),
    "dist_on_itp": Answer(_LAUNCHER, nargs=0),
    "dist_url": Answer(_LAUNCHER),
    "enable_deepspeed": Answer(nargs=0, sets={"engine": "deepspeed"}),
    "use_checkpoint": Answer(nargs=0, sets={"checkpoint_activations": "all"}),
    "finetune": _instead("belongs to fine-tuning; to resume from a pre-training checkpoint use --resume PATH"),
    "model_key": _instead("belongs to fine-tuning; --resume PATH does not need a key"),
    "model_prefix": _instead("belongs to fine-tuning; --resume PATH does not need a prefix"),
    "drop": _instead("belongs to fine-tuning; in pre-training only the sampler has dropout, see --sampler_drop_rate"),
    "attn_drop_rate": _instead(f"{_FINE_TUNING} dropout of attention weights; see --sampler_drop_rate and --drop_path"),
    "disable_eval_during_finetuning": _instead(f"{_FINE_TUNING} evaluation; remove it"),
    "model_ema": _instead(f"{_FINE_TUNING} averaged weights; remove it"),
    "model_ema_decay": _instead(f"{_FINE_TUNING} averaged weights; remove it"),
    "model_ema_force_cpu": _instead(f"{_FINE_TUNING} averaged weights; remove it"),
    "layer_decay": _instead(f"{_FINE_TUNING} learning rate per layer; use --lr"),
    "aa": _instead(f"{_FINE_TUNING} RandAugment; use --flip"),
    "smoothing": _instead(f"{_FINE_TUNING} labels to smooth; remove it"),
    "crop_pct": _instead(f"{_FINE_TUNING} test crops; remove it"),
    "short_side_size": _instead(f"{_FINE_TUNING} test views; use --input_size"),
    "test_num_segment": _instead(f"{_FINE_TUNING} test views; remove it"),
    "test_num_crop": _instead(f"{_FINE_TUNING} test views; remove it"),
    "num_segments": _instead("belongs to fine-tuning; use --frame_sampling segment"),
    "reprob": _instead(f"{_FINE_TUNING} random erasing; remove it"),
    "remode": _instead(f"{_FINE_TUNING} random erasing; remove it"),
    "recount": _instead(f"{_FINE_TUNING} random erasing; remove it"),
    "resplit": _instead(f"{_FINE_TUNING} random erasing; remove it"),
    "mixup": _instead(f"{_FINE_TUNING} labels to mix; remove it"),
    "cutmix": _instead(f"{_FINE_TUNING} labels to mix; remove it"),
    "cutmix_minmax": _instead(f"{_FINE_TUNING} labels to mix; remove it"),
    "mixup_prob": _instead(f"{_FINE_TUNING} labels to mix; remove it"),
    "mixup_switch_prob": _instead(f"{_FINE_TUNING} labels to mix; remove it"),
    "mixup_mode": _instead(f"{_FINE_TUNING} labels to mix; remove it"),
    "init_scale": _instead(f"{_FINE_TUNING} head to scale; remove it"),
    "use_mean_pooling": _instead(f"{_FINE_TUNING} pooling; remove it"),
    "use_cls": _instead(f"{_FINE_TUNING} pooling; remove it"),
    "eval_data_path": _instead(f"{_FINE_TUNING} evaluation; use --data_path"),
    "nb_classes": _instead(f"{_FINE_TUNING} classes; remove it"),
    "data_set": _instead("belongs to fine-tuning; use --config adamae_ssv2_base or adamae_k400_base"),
    "save_ckpt": _instead("belongs to fine-tuning; pre-training always saves, see --save_ckpt_freq"),
    "no_save_ckpt": _instead("belongs to fine-tuning; pre-training always saves, see --save_ckpt_freq"),
    "eval": _instead(f"{_FINE_TUNING} evaluation; remove it"),
    "dist_eval": _instead(f"{_FINE_TUNING} evaluation; remove it"),
}

_REMOVAL = "was removed: it was not shown to help (docs/TABLE1.md)"
# The options.yaml of an earlier run has all options of its version.
REMOVED_ANSWERS: Mapping[str, Answer] = {
    **{name: Answer(_REMOVAL, nargs="?", refused=True, idle=idle) for name, idle in REMOVED.items()},
    **{f"no_{name}": Answer(nargs=0) for name, idle in REMOVED.items() if idle is False},
}

_PRETRAINING = "belongs to pre-training; remove it: the checkpoint of --finetune contains it"
_SHARED_NAMES = (
    *("warmup_lr", "momentum", "start_epoch", "auto_resume", "no_auto_resume", "world_size", "local_rank"),
    *("dist_on_itp", "dist_url", "enable_deepspeed", "use_checkpoint"),
)

FINETUNE_ANSWERS: Mapping[str, Answer] = {
    **{name: PRETRAIN_ANSWERS[name] for name in _SHARED_NAMES},
    "color_jitter": Answer("does nothing, as in the official code, which uses RandAugment instead, see --aa"),
    "crop_pct": Answer("does nothing, as in the official code; see --short_side_size and --input_size"),
    "resplit": Answer("does nothing, as in the official code: every clip is augmented", nargs=0),
    "num_segments": Answer("does nothing; see --frame_sampling segment"),
    "model_prefix": Answer("does nothing: checkpoint keys are recognised with and without a prefix"),
    "use_cls": Answer(nargs=0, sets={"use_mean_pooling": False}),
    "save_ckpt": Answer(nargs=0),
    "no_save_ckpt": Answer(
        "the best and the last checkpoint are kept anyway: they are needed for the test",
        nargs=0,
        sets={"save_ckpt_freq": 0},
    ),
    "dist_eval": Answer(
        "does nothing: evaluation is always distributed, and every video or image is scored once", nargs=0
    ),
    "adaptive": _instead("use --token_selection adaptive; --finetune then needs a checkpoint with a learned sampler"),
    "adaptive_mask_ratio": _instead("use --token_selection adaptive and --keep_ratio, the fraction that is encoded"),
    "mask_type": _instead(_PRETRAINING),
    "mask_ratio": _instead(_PRETRAINING),
    "decoder_depth": _instead(_PRETRAINING),
    "normlize_target": _instead(_PRETRAINING),
    "softmax_temp": _instead(_PRETRAINING),
}
