"""The options of ``adamae finetune``, and what several of them say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from adamae.flags import OptionGroup, flag
from adamae.options.groups import ClipOptions, DataOptions, LogOptions, OptimizerOptions, RunOptions
from adamae.options.parser import OptionParser, Parsed
from adamae.options.published import FINETUNE_ANSWERS
from adamae.options.training import TrainingOptions, departures

EXAMPLES = (
    "adamae finetune --finetune checkpoint-799.pth --data_path videos/ --output_dir runs/mine",
    "adamae finetune --config quickstart --finetune runs/quickstart --data_path runs/motion --output_dir runs/tuned",
    "deepspeed --num_gpus 8 --module adamae finetune --config adamae_ssv2_base --finetune checkpoint-799.pth "
    "--data_path ssv2 --output_dir runs/ssv2",
)


@dataclass(frozen=True)
class LabelledDataOptions(DataOptions):
    """Where labelled clips come from and how they get here."""

    eval_data_path: str | None = flag(
        None,
        "list for validation and test, or a folder with val.csv and test.csv; none: those of --data_path",
        metavar="PATH",
        changes_result=False,
    )
    data_set: Literal["Kinetics-400", "SSV2", "UCF101", "HMDB51", "image_folder"] | None = flag(
        None, "SSV2 stands for --frame_sampling segment --no_flip; the others change nothing"
    )


@dataclass(frozen=True)
class LabelledClipOptions(ClipOptions):
    """What is cut from a video."""

    flip: bool = flag(True, "mirror half of the clips, but never a class with left, right or clockwise in its name")


@dataclass(frozen=True)
class ClassifierOptions(OptionGroup):
    """The classifier and where its weights come from."""

    finetune: str | None = flag(
        None, "checkpoint to start from, of any format that adamae inspect knows; none: random weights", metavar="PATH"
    )
    model_key: str | None = flag(
        None, "where in that file the weights are, alternatives with | between; none: the usual places", metavar="KEY"
    )
    model: str | None = flag(
        None,
        "vit_{tiny,small,base,large,huge}_patch16_224; none: the checkpoint's sizes, else vit_base_patch16_224",
        metavar="NAME",
    )
    nb_classes: int | None = flag(None, "number of classes; none: as the training list has it", least=1)
    patch_size: int | None = flag(None, "height and width of a token in pixels; none: as --model", least=1)
    tubelet_size: int | None = flag(None, "frames in a token; none: as --model", least=1)
    encoder_embed_dim: int | None = flag(None, "width; none: as --model", least=1)
    encoder_depth: int | None = flag(None, "blocks; none: as --model", least=1)
    encoder_num_heads: int | None = flag(None, "attention heads; none: as --model", least=1)
    token_selection: Literal["none", "motion", "adaptive", "random"] = flag(
        "none",
        "encode a share of the tokens: those that move most, those that the sampler of --finetune prefers, or any",
    )
    keep_ratio: float = flag(0.6, "that share", above=0, most=1)
    drop: float = flag(0.0, "dropout after each attention projection and MLP", least=0, below=1)
    attn_drop_rate: float = flag(0.0, "dropout of the attention weights", least=0, below=1)
    drop_path: float = flag(0.1, "stochastic depth of the last block", least=0, below=1)
    fc_drop_rate: float = flag(0.0, "dropout before the head", least=0, below=1)
    init_values: float = flag(0.0, "start value of LayerScale; 0: none, unless the checkpoint has it", least=0)
    init_scale: float = flag(0.001, "factor on the start values of the head", above=0)
    use_mean_pooling: bool = flag(True, "mean over the tokens before the head; else the first token")
    imagenet_default_mean_and_std: bool = flag(
        True, "standardise colours by ImageNet's statistics; else by 0.5 and 0.5"
    )


@dataclass(frozen=True)
class AugmentationOptions(OptionGroup):
    """What happens to a clip, and to a batch of them."""

    aa: str | None = flag("rand-m7-n4-mstd0.5-inc1", "timm's RandAugment; none: none", metavar="POLICY")
    train_interpolation: Literal["bicubic", "bilinear", "random"] = flag("bicubic", "of RandAugment's movements")
    num_sample: int = flag(
        2,
        "clips from each video that is decoded (repeated augmentation); a pass has so many times --batch_size",
        least=1,
    )
    crop_scale: tuple[float, float] = flag(
        (0.08, 1.0), "least and largest share of the frame that the random crop keeps", above=0, most=1
    )
    reprob: float = flag(0.25, "share of the clips of which a box is erased", least=0, most=1)
    remode: Literal["pixel", "rand", "const"] = flag("pixel", "fill the box with noise, a random colour, or the mean")
    recount: int = flag(1, "boxes", least=1)
    smoothing: float = flag(0.1, "share of the target that is spread over all classes", least=0, below=1)
    mixup: float = flag(0.8, "mixup: parameter of the beta distribution; 0: no mixup", least=0)
    cutmix: float = flag(1.0, "cutmix: parameter of the beta distribution; 0: no cutmix", least=0)
    cutmix_minmax: tuple[float, float] = flag(
        (0.0, 0.0), "cutmix: least and largest side of the box over the frame's; 0 0: by --cutmix", least=0, most=1
    )
    mixup_prob: float = flag(1.0, "share of the batches that are mixed", least=0, most=1)
    mixup_switch_prob: float = flag(0.5, "share of those that get cutmix, where there are both", least=0, most=1)
    mixup_mode: Literal["batch", "pair", "elem"] = flag("batch", "one draw for each batch, pair or clip")


@dataclass(frozen=True)
class FinetuneOptimizerOptions(OptimizerOptions):
    """How weights move."""

    epochs: int = flag(30, "passes over the data", least=1)
    opt_betas: tuple[float, float] = flag((0.9, 0.999), "AdamW's two decay rates", least=0, below=1)
    lr: float = flag(1e-3, "learning rate for 256 videos per step, scaled linearly to those there are", above=0)
    min_lr: float = flag(1e-6, "learning rate at the end of the cosine, scaled likewise", least=0)
    warmup_epochs: float | None = flag(
        None, "epochs of linear warm-up; none: 5, but at most a tenth of --epochs", least=0
    )
    layer_decay: float = flag(0.75, "learning rate of a block over that of the next one", above=0, most=1)
    model_ema: bool = flag(False, "average the weights over the run; the average is what is validated, kept and tested")
    model_ema_decay: float = flag(0.9999, "share of the old average that each step keeps", above=0, below=1)
    model_ema_force_cpu: bool = flag(False, "keep the average in the host's memory", changes_result=False)


@dataclass(frozen=True)
class ScoringOptions(OptionGroup):
    """Validation after each epoch, and the multi-view test at the end."""

    disable_eval_during_finetuning: bool = flag(
        False, "no validation, so there is no best epoch and the last one is tested"
    )
    eval: bool = flag(False, "do not train: test the best checkpoint of --output_dir, or else the one of --finetune")
    short_side_size: int | None = flag(
        None, "resize the short side to this before views are cut; none: --input_size", least=1
    )
    test_num_segment: int | None = flag(
        None, "test clips of each video; none: 5 dense ones, or 2 that span the video", least=1
    )
    test_num_crop: int = flag(3, "squares along the longer side of each test clip", least=1)


@dataclass(frozen=True)
class FinetuneOptions(TrainingOptions):
    """Everything that decides a fine-tuning run."""

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
        """Options by name, see :meth:`adamae.options.pretrain.PretrainOptions.of`."""
        return finetune_parser().of(presets, values)

    @property
    def warmup_epochs(self) -> float:
        """Epochs of warm-up: the published 5, but no more than a tenth of a shorter run."""
        given = self.optimizer.warmup_epochs
        return min(5.0, self.optimizer.epochs / 10) if given is None else given

    @property
    def frame_sampling(self) -> str:
        """Either "dense" or "segment": Something-Something is sampled in segments."""
        return "segment" if self.data.data_set == "SSV2" else self.clip.frame_sampling

    @property
    def flip(self) -> float:
        """Share of the clips that are mirrored."""
        return 0.5 if self.clip.flip and self.data.data_set != "SSV2" else 0.0

    def arguments(self) -> dict[str, Any]:
        """All options by name, with those that follow from ``data_set`` written out."""
        return {**super().arguments(), "frame_sampling": self.frame_sampling, "flip": self.flip > 0}


def finetune_parser() -> OptionParser[FinetuneOptions]:
    """The command line of ``adamae finetune``."""
    return OptionParser(
        FinetuneOptions,
        prog="adamae finetune",
        description="Train a video classifier, from a pre-trained checkpoint or from nothing, and score it.",
        examples=EXAMPLES,
        foreign=FINETUNE_ANSWERS,
        preset_folder="finetune",
    )


def recipe_lines(parsed: Parsed[FinetuneOptions], world_size: int) -> Sequence[str]:
    """What a run says about its recipe: its name, and where the run departs from it."""
    if parsed.recipe is None:
        return []
    return [f"recipe {parsed.presets[-1].name}", departures(parsed, world_size)]
