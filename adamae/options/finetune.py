"""The options of ``adamae finetune``, and values derived from several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from adamae.flags import (
    LARGEST_SIDE,
    LARGEST_WIDTH,
    MOST_AT_ONCE,
    MOST_BLOCKS,
    MOST_FRAMES,
    OptionGroup,
    flag,
)
from adamae.options.clip_checks import check_clip
from adamae.options.groups import ClipOptions, DataOptions, LogOptions, OptimizerOptions, RunOptions
from adamae.options.parser import OptionParser, Parsed
from adamae.options.published import FINETUNE_ANSWERS
from adamae.options.shared import model_key_flag, num_sample_flag, test_num_crop_flag, test_num_segment_flag
from adamae.options.training import TrainingOptions, departures

EXAMPLES = (
    "adamae finetune --finetune checkpoint-799.pth --data_path videos/ --output_dir runs/mine",
    "adamae finetune --config quickstart --finetune runs/quickstart --data_path runs/motion --output_dir runs/tuned",
    "deepspeed --num_gpus 8 --module adamae finetune --config adamae_ssv2_base --finetune checkpoint-799.pth "
    "--data_path ssv2 --output_dir runs/ssv2",
)


@dataclass(frozen=True)
class LabelledDataOptions(DataOptions):
    """Where labelled clips are read from and how they are loaded."""

    eval_data_path: str | None = flag(
        None,
        "list for validation and test, or a folder with val.csv and test.csv; none: taken from --data_path",
        metavar="PATH",
        changes_result=False,
    )
    data_set: Literal["Kinetics-400", "SSV2", "UCF101", "HMDB51", "image_folder"] | None = flag(
        None, "SSV2 sets --frame_sampling segment --no_flip; the others have no effect"
    )


@dataclass(frozen=True)
class LabelledClipOptions(ClipOptions):
    """Frames, stride and size of a clip."""

    flip: bool = flag(
        True,
        "flip half of the clips horizontally, except classes with left, right or clockwise in their names (numeric "
        "labels: in classes.txt)",
    )


@dataclass(frozen=True)
class ClassifierOptions(OptionGroup):
    """The classifier and its initial weights."""

    finetune: str | None = flag(
        None,
        "checkpoint to start from, in any format that adamae inspect supports; none: random weights",
        metavar="PATH",
    )
    model_key: str | None = model_key_flag()
    model: str | None = flag(
        None,
        "vit_{tiny,small,base,large,huge}_patch16_224, swin_{micro,tiny,large}_256, pvt_small_256 or "
        "mae_vit_base_patch16_224; none: sizes of the checkpoint, else vit_base_patch16_224",
        metavar="NAME",
    )
    nb_classes: int | None = flag(
        None, "number of classes; none: that of the training list", least=1, limit=MOST_AT_ONCE
    )
    patch_size: int | None = flag(
        None, "height and width of a token in pixels; none: that of --model", least=1, limit=LARGEST_SIDE
    )
    tubelet_size: int | None = flag(None, "frames in a token; none: that of --model", least=1, limit=MOST_FRAMES)
    encoder_embed_dim: int | None = flag(
        None, "embedding dimension; none: that of --model", least=1, limit=LARGEST_WIDTH
    )
    encoder_depth: int | None = flag(None, "number of blocks; none: that of --model", least=1, limit=MOST_BLOCKS)
    encoder_num_heads: int | None = flag(None, "attention heads; none: that of --model", least=1, limit=LARGEST_WIDTH)
    token_selection: Literal["none", "motion", "adaptive", "random"] = flag(
        "none",
        "encode only a fraction of the tokens: those with the most motion, those with the highest probability under "
        "the sampler of --finetune, or random ones",
    )
    keep_ratio: float = flag(0.6, "fraction of tokens to encode with --token_selection", above=0, most=1)
    drop: float = flag(0.0, "dropout after each attention projection and MLP", least=0, below=1)
    attn_drop_rate: float = flag(
        0.0, "dropout of the attention weights; its pattern depends on the number of processes", least=0, below=1
    )
    drop_path: float = flag(0.1, "stochastic depth rate of the last block; grows linearly from 0", least=0, below=1)
    fc_drop_rate: float = flag(0.0, "dropout before the head", least=0, below=1)
    init_values: float = flag(
        0.0, "initial value of LayerScale; 0: no LayerScale, unless the checkpoint has it", least=0
    )
    init_scale: float = flag(0.001, "scale of the initial weights of the head", above=0)
    use_mean_pooling: bool = flag(True, "average the tokens before the head; otherwise use the first token")
    imagenet_default_mean_and_std: bool = flag(
        True, "normalise pixels with the ImageNet mean and std; otherwise with 0.5 and 0.5"
    )


@dataclass(frozen=True)
class AugmentationOptions(OptionGroup):
    """Augmentation of clips, mixup and cutmix."""

    aa: str | None = flag(
        "rand-m7-n4-mstd0.5-inc1", "RandAugment policy in the notation of timm; none: no RandAugment", metavar="POLICY"
    )
    train_interpolation: Literal["bicubic", "bilinear", "random"] = flag(
        "bicubic", "interpolation of the geometric operations of RandAugment"
    )
    num_sample: int = num_sample_flag(2)
    crop_scale: tuple[float, float] = flag(
        (0.08, 1.0), "smallest and largest fraction of the frame area kept by the random crop", above=0, most=1
    )
    crop_interpolation: Literal["bilinear", "bicubic"] = flag(
        "bilinear", "interpolation of the resized crop; bicubic is usual for images"
    )
    reprob: float = flag(0.25, "probability of random erasing for each clip", least=0, most=1)
    remode: Literal["pixel", "rand", "const"] = flag(
        "pixel", "random erasing: fill with noise (pixel), a random colour (rand) or the mean (const)"
    )
    recount: int = flag(1, "random erasing: number of boxes", least=1, limit=MOST_AT_ONCE)
    smoothing: float = flag(0.1, "label smoothing", least=0, below=1)
    mixup: float = flag(0.8, "alpha of mixup; 0: no mixup", least=0)
    cutmix: float = flag(1.0, "alpha of cutmix; 0: no cutmix", least=0)
    cutmix_minmax: tuple[float, float] = flag(
        (0.0, 0.0),
        "cutmix: smallest and largest side of the box relative to the frame; 0 0: by --cutmix",
        least=0,
        most=1,
    )
    mixup_prob: float = flag(1.0, "probability of mixing a batch", least=0, most=1)
    mixup_switch_prob: float = flag(
        0.5, "probability of cutmix instead of mixup when both are enabled", least=0, most=1
    )
    mixup_mode: Literal["batch", "pair", "elem"] = flag("batch", "apply mixup and cutmix per batch, pair or clip")


@dataclass(frozen=True)
class FinetuneOptimizerOptions(OptimizerOptions):
    """Optimiser, learning rate, weight decay and their schedules."""

    epochs: int = flag(30, "number of epochs", least=1)
    total_batch_size: int | None = flag(
        None,
        "global batch size: videos or images per step over all processes; sets --update_freq accordingly",
        least=1,
    )
    opt_betas: tuple[float, float] = flag((0.9, 0.999), "betas of AdamW", least=0, below=1)
    lr: float = flag(
        1e-3, "learning rate for a global batch of 256 videos or images; scaled linearly with the global batch", above=0
    )
    min_lr: float = flag(1e-6, "final learning rate of the cosine schedule; scaled like --lr", least=0)
    warmup_epochs: float | None = flag(None, "epochs of linear warm-up; none: 5, but at most --epochs / 10", least=0)
    layer_decay: float = flag(
        0.75, "layer-wise learning rate decay: ratio between a block and the next one", above=0, most=1
    )
    model_ema: bool = flag(
        False, "keep an exponential moving average (EMA) of the weights, which is validated, saved and tested"
    )
    model_ema_decay: float = flag(0.9999, "decay of the EMA per step", above=0, below=1)
    model_ema_force_cpu: bool = flag(False, "keep the EMA in CPU memory", changes_result=False)


@dataclass(frozen=True)
class ScoringOptions(OptionGroup):
    """Validation after each epoch, and the multi-view test at the end."""

    disable_eval_during_finetuning: bool = flag(False, "skip validation; the last epoch is tested instead of the best")
    eval: bool = flag(False, "only test: the best checkpoint of --output_dir, otherwise that of --finetune")
    short_side_size: int | None = flag(
        None, "resize the short side to this before views are cropped; none: --input_size", least=1, limit=LARGEST_SIDE
    )
    test_num_segment: int | None = test_num_segment_flag()
    test_num_crop: int = test_num_crop_flag()
    softmax: bool = flag(False, "average probabilities over the views, as the official code does; otherwise logits")


@dataclass(frozen=True)
class FinetuneOptions(TrainingOptions):
    """Options of ``adamae finetune``."""

    command = "finetune"

    data: LabelledDataOptions = field(default_factory=LabelledDataOptions)
    clip: LabelledClipOptions = field(default_factory=LabelledClipOptions)
    model: ClassifierOptions = field(default_factory=ClassifierOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    optimizer: FinetuneOptimizerOptions = field(default_factory=FinetuneOptimizerOptions)
    scoring: ScoringOptions = field(default_factory=ScoringOptions)
    run: RunOptions = field(default_factory=RunOptions)
    log: LogOptions = field(default_factory=LogOptions)

    @classmethod
    def of(cls, *presets: str, **values: Any) -> FinetuneOptions:
        """Build options by name, see :meth:`adamae.options.pretrain.PretrainOptions.of`."""
        return finetune_parser().of(presets, values)

    @property
    def warmup_epochs(self) -> float:
        """Epochs of warm-up; by default the official 5, but at most a tenth of all epochs."""
        given = self.optimizer.warmup_epochs
        return min(5.0, self.optimizer.epochs / 10) if given is None else given

    @property
    def frame_sampling(self) -> str:
        """Frame sampling, "dense" or "segment"; Something-Something uses segments."""
        return "segment" if self.data.data_set == "SSV2" else self.clip.frame_sampling

    @property
    def flip(self) -> float:
        """Fraction of the clips that are flipped."""
        return 0.5 if self.clip.flip and self.data.data_set != "SSV2" else 0.0

    def arguments(self) -> dict[str, Any]:
        """Return all options by name, with the values that follow from ``data_set``."""
        return {**super().arguments(), "frame_sampling": self.frame_sampling, "flip": self.flip > 0}


def classifier_arguments(clip: ClipOptions, model: ClassifierOptions) -> dict[str, Any]:
    """Return arguments of the classifier's constructor, without sizes that the checkpoint or ``--model`` determines."""
    sizes = {
        "patch_size": model.patch_size,
        "tubelet_size": model.tubelet_size,
        "embed_dim": model.encoder_embed_dim,
        "depth": model.encoder_depth,
        "num_heads": model.encoder_num_heads,
        "init_values": model.init_values or None,
    }
    return {
        **{name: value for name, value in sizes.items() if value is not None},
        "img_size": clip.input_size,
        "num_frames": clip.num_frames,
        "drop_rate": model.drop,
        "attn_drop_rate": model.attn_drop_rate,
        "drop_path_rate": model.drop_path,
        "fc_drop_rate": model.fc_drop_rate,
        "init_scale": model.init_scale,
        "use_mean_pooling": model.use_mean_pooling,
        "imagenet_default_mean_and_std": model.imagenet_default_mean_and_std,
        "token_selection": model.token_selection,
        "keep_ratio": model.keep_ratio,
        "candidate_frames": clip.frames_read if clip.frame_selection != "none" else None,
        "frame_keep_ratio": clip.frame_keep_ratio,
        "frame_choice": clip.frame_choice,
    }


def finetune_parser() -> OptionParser[FinetuneOptions]:
    """The command line of ``adamae finetune``."""
    return OptionParser(
        FinetuneOptions,
        prog="adamae finetune",
        description="Train a classifier of videos or images from a checkpoint or from scratch, and test it.",
        examples=EXAMPLES,
        foreign=FINETUNE_ANSWERS,
        preset_folder="finetune",
        check=lambda options, preset: check_clip(options, preset, LabelledClipOptions, ClassifierOptions),
    )


def recipe_lines(parsed: Parsed[FinetuneOptions], world_size: int) -> Sequence[str]:
    """Log lines about the recipe: its name and differing options."""
    if parsed.recipe is None:
        return []
    return [f"recipe {parsed.presets[-1].name}", departures(parsed, world_size)]
