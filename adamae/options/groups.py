"""The groups of options. Every flag, check, default and table of options comes from here.

Names are those of the VideoMAE and AdaMAE launch scripts wherever one exists, so an old launch line works with only
the program's name changed. Defaults are the published ones where the published scripts leave a flag out.
"""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from adamae.errors import UserError
from adamae.flags import OptionGroup, flag
from adamae.options.presets import configs_folder
from adamae.samplers import DEFAULT, SAMPLERS, mask_types


@dataclass(frozen=True)
class DataOptions(OptionGroup):
    """Where clips come from and how they get here."""

    # No recipe can know it, so it is no difference from one.
    data_path: str | None = flag(
        None,
        "list file (path and label on each line), folder of videos, or shards such as DIR/{000000..000999}.tar",
        metavar="PATH",
        changes_result=False,
    )
    data_root: str | None = flag(
        None,
        "folder that relative paths of a list start from; none: the list's own",
        metavar="DIR",
        changes_result=False,
    )
    shard_window: int = flag(
        16, "shards whose videos are shuffled together, so that an epoch reads from a few shards at a time", least=1
    )
    decoder: Literal["pyav", "decord", "torchcodec"] = flag(
        "pyav", "library that decodes; PyAV is the one that gives the right frames on odd files"
    )
    batch_size: int = flag(8, "clips per process and forward pass", least=1, changes_result=False)
    num_workers: int | None = flag(
        None, "processes that decode, for each training process; none: by the cores", least=0, changes_result=False
    )
    pin_mem: bool = flag(True, "keep batches in memory that the GPU reads directly", changes_result=False)
    max_bad_fraction: float = flag(
        0.05, "stop when more than this share of the videos cannot be read", least=0, most=1, changes_result=False
    )
    video_timeout: float = flag(
        60.0,
        "seconds after which a video counts as one that cannot be read, and is not opened again; 0: no limit",
        least=0,
        changes_result=False,
    )

    @property
    def source(self) -> str:
        """``data_path``, for a command that cannot do without.

        Raises:
            UserError: If it was not given.
        """
        if not self.data_path:
            raise UserError("--data_path is missing: expected a list file, a folder of videos, or shards")
        return self.data_path


@dataclass(frozen=True)
class PretrainDataOptions(DataOptions):
    """Where the clips of pre-training come from."""

    num_sample: int = flag(
        1,
        "clips from each video that is decoded (repeated augmentation); a pass has so many times --batch_size",
        least=1,
    )


def oversampled(num_frames: int, ratio: float) -> int:
    """Frames to choose ``num_frames`` from: so many times as many, rounded."""
    return round(num_frames * ratio)


@dataclass(frozen=True)
class ClipOptions(OptionGroup):
    """What is cut from a video."""

    num_frames: int = flag(16, "frames in a clip", least=1)
    sampling_rate: int = flag(4, "take every n-th frame; published: 4 for Kinetics, 2 for Something-Something", least=1)
    frame_sampling: Literal["dense", "segment"] = flag(
        "dense", "dense: frames at --sampling_rate from a random start; segment: one frame from each equal part"
    )
    input_size: int = flag(224, "height and width of a clip in pixels", least=1)
    flip: bool = flag(False, "mirror half of the clips (paper: Kinetics; its code: never)")
    frame_selection: Literal["none", "motion"] = flag(
        "none", "motion: read more frames than a clip has and look at those on which most moves, for uncurated video"
    )
    frame_oversample: float = flag(1.5, "motion: frames that are read, in multiples of --num_frames", least=1)
    frame_keep_ratio: float = flag(
        0.3, "motion: share of the tokens that is counted, those that move most", above=0, most=1
    )
    frame_choice: Literal["auto", "draw", "top"] = flag(
        "auto", "motion: draw tubelets by their counts, or take the top; auto: draw in training, top in evaluation"
    )

    @property
    def frames_read(self) -> int:
        """Frames of a clip as it leaves the video."""
        return (
            self.num_frames if self.frame_selection == "none" else oversampled(self.num_frames, self.frame_oversample)
        )


@dataclass(frozen=True)
class ModelOptions(OptionGroup):
    """The autoencoder."""

    model: str = flag(
        "adamae_base",
        "adamae_{tiny,small,base,large,huge}, or a published name such as pretrain_videomae_base_patch16_224",
        metavar="NAME",
    )
    patch_size: int = flag(16, "height and width of a token in pixels", least=1)
    tubelet_size: int = flag(2, "frames in a token", least=1)
    encoder_embed_dim: int | None = flag(None, "width of the encoder; none: as --model has it", least=1)
    encoder_depth: int | None = flag(None, "blocks of the encoder; none: as --model has it", least=1)
    encoder_num_heads: int | None = flag(None, "attention heads of the encoder; none: as --model has it", least=1)
    decoder_embed_dim: int | None = flag(None, "width of the decoder; none: as --model has it", least=1)
    decoder_depth: int = flag(4, "blocks of the decoder", least=1)
    decoder_num_heads: int | None = flag(None, "attention heads of the decoder; none: as --model has it", least=1)
    economy: bool = flag(
        False,
        "steps at half the cost: --decoder_budget 0.5, --sampler_dim half of the encoder's and --sampler_drop_rate 0, "
        "where not typed",
    )
    decoder_budget: float | None = flag(
        None,
        "share of the hidden tokens, drawn anew at each step, that the decoder reconstructs in training; none: all, "
        "or 0.5 with --economy",
        above=0,
        most=1,
    )
    drop_path: float = flag(0.0, "stochastic depth of the last block", least=0, below=1)
    init_values: float = flag(0.0, "start value of LayerScale; 0: no LayerScale", least=0)
    imagenet_default_mean_and_std: bool = flag(
        True, "standardise colours by ImageNet's statistics; else by 0.5 and 0.5"
    )


@dataclass(frozen=True)
class SamplerOptions(OptionGroup):
    """Which tokens the encoder sees."""

    mask_type: str = flag(
        DEFAULT, lambda: "; ".join(f"{name}: {each.summary}" for name, each in SAMPLERS.items()), choices=mask_types
    )
    mask_ratio: float = flag(0.95, "share of the tokens that is hidden", above=0, below=1)

    def __new__(cls, **_: Any) -> SamplerOptions:
        """One with the options of all samplers, as ``pathlib.Path()`` is a path of the system's kind."""
        return object.__new__(cls.complete())

    @classmethod
    def complete(cls) -> type[SamplerOptions]:
        """The group with the options of all registered samplers."""
        groups = dict.fromkeys(each.options for each in SAMPLERS.values() if each.options is not None)
        return _with_options(tuple(groups)) if cls is SamplerOptions else cls


@cache
def _with_options(groups: tuple[type[OptionGroup], ...]) -> type[SamplerOptions]:
    # The fields of the last base come first.
    return make_dataclass(
        SamplerOptions.__name__,
        [],
        bases=(*groups, SamplerOptions),
        namespace={"__doc__": SamplerOptions.__doc__},
        frozen=True,
    )


@dataclass(frozen=True)
class LossOptions(OptionGroup):
    """What is minimised."""

    normlize_target: bool = flag(
        True, "predict each token normalised by its own mean and deviation", aliases=("normalize_target",)
    )
    reconstruction_loss: Literal["mse", "l1"] = flag("mse", "squared or absolute error of the predicted pixels")
    sampling_weight: float = flag(1e-4, "weight of the sampling loss", least=0)
    sampling_reduction: Literal["mean", "sum"] = flag(
        "mean", "sampling loss over the target tokens: mean (published code) or sum (paper)"
    )
    detach_sampler_input: bool = flag(
        True, "keep the sampling loss out of the tokenizer (paper); the published code lets it in"
    )
    sampling_advantage: bool = flag(False, "reward a token by its error over the clip's mean (not in the paper)")
    sampling_entropy_weight: float = flag(0.0, "reward for an even distribution (not in the paper)", least=0)


@dataclass(frozen=True)
class OptimizerOptions(OptionGroup):
    """How weights move."""

    epochs: int = flag(100, "passes over the data", least=1)
    max_steps: int | None = flag(
        None, "end after this many steps, as whole as at the end; the schedule stays that of --epochs", least=1
    )
    update_freq: int | None = flag(
        None,
        "forward passes that make one step (gradient accumulation); none: 1, or as many as --total_batch_size takes",
        least=1,
        changes_result=False,
    )
    total_batch_size: int | None = flag(
        None,
        "clips per step over all processes; sets --update_freq, so the result does not depend on the machine",
        least=1,
    )
    opt: Literal["adamw"] = flag("adamw", "the optimiser")
    opt_betas: tuple[float, float] = flag((0.9, 0.95), "AdamW's two decay rates", least=0, below=1)
    opt_eps: float = flag(1e-8, "AdamW's epsilon", above=0)
    clip_grad: float | None = flag(None, "clip the gradient to this norm; none: no clipping", above=0)
    weight_decay: float = flag(0.05, "weight decay", least=0)
    weight_decay_end: float | None = flag(None, "weight decay at the end (cosine between); none: constant", least=0)
    lr: float = flag(1.5e-4, "learning rate for 256 clips per step, scaled linearly to the clips there are", above=0)
    min_lr: float = flag(1e-5, "learning rate at the end of the cosine, scaled likewise", least=0)
    warmup_epochs: float | None = flag(None, "epochs of linear warm-up; none: a twentieth of --epochs", least=0)
    warmup_steps: int = flag(-1, "steps of linear warm-up; above 0 it replaces --warmup_epochs", least=-1)


@dataclass(frozen=True)
class RunOptions(OptionGroup):
    """Where it runs and what it leaves behind."""

    output_dir: str | None = flag(
        None, "folder for checkpoints, logs and the options", metavar="DIR", changes_result=False
    )
    device: str = flag("auto", "cpu, cuda or auto: cuda where there is one", metavar="DEVICE", changes_result=False)
    rendezvous_timeout: float = flag(
        120.0,
        "seconds to wait for the other processes at the start",
        above=0,
        most=86400,
        metavar="SECONDS",
        changes_result=False,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag(
        "auto", "auto: bf16 where the GPU has it, else fp16; fp32 on the CPU"
    )
    engine: Literal["auto", "plain", "deepspeed"] = flag(
        "auto", "auto: plain torch for one process, DeepSpeed for several", changes_result=False
    )
    deepspeed_config: str = flag(
        "zero1", "a name in configs/deepspeed or a JSON file", metavar="NAME", changes_result=False
    )
    compile: bool = flag(False, "compile the model with torch.compile", changes_result=False)
    checkpoint_activations: Literal["none", "decoder", "all"] = flag(
        "none",
        "compute again in the backward pass instead of keeping in memory; decoder: sampler, decoder and reconstruction "
        "loss; all: the encoder too. Results are equal to the last bit",
        changes_result=False,
    )
    seed: int = flag(0, "everything random follows from it", least=0)
    resume: str = flag(
        "auto",
        "auto: go on from the newest whole checkpoint of --output_dir; none: start anew; or a checkpoint's folder",
        metavar="{auto,none,PATH}",
        changes_result=False,
    )
    save_ckpt_freq: int = flag(20, "epochs from one checkpoint to the next; 0: none", least=0, changes_result=False)
    save_ckpt_steps: int = flag(0, "steps from one checkpoint to the next; 0: none", least=0, changes_result=False)
    keep_last: int = flag(2, "newest checkpoints that are kept", least=1, changes_result=False)

    @property
    def output(self) -> Path:
        """``output_dir``, for a command that cannot do without.

        Raises:
            UserError: If it was not given.
        """
        if not self.output_dir:
            raise UserError("--output_dir is missing: expected a folder for checkpoints and logs")
        return Path(self.output_dir)

    @property
    def deepspeed_file(self) -> Path:
        """The file of ``deepspeed_config``.

        Raises:
            UserError: If there is none.
        """
        home, given = configs_folder() / "deepspeed", Path(self.deepspeed_config)
        named = home / f"{self.deepspeed_config}.json"
        if named.is_file() or given.is_file():
            return named if named.is_file() else given
        known = ", ".join(sorted(path.stem for path in home.glob("*.json")))
        raise UserError(f"--deepspeed_config {given}: expected a JSON file, or one of {known}")


@dataclass(frozen=True)
class PanelOptions(OptionGroup):
    """Pictures in TensorBoard while it trains."""

    log_images_every: int = flag(
        0,
        "steps from one set of panels of fixed clips to the next, beginning with the first; 0: none",
        least=0,
        changes_result=False,
    )
    log_images_path: str | None = flag(
        None,
        "list or folder whose first four videos are shown; none: val.csv beside --data_path, else --data_path itself",
        metavar="PATH",
        changes_result=False,
    )


@dataclass(frozen=True)
class LogOptions(OptionGroup):
    """What is told while it runs."""

    max_skipped: int = flag(
        50, "stop when more steps in a row than this have a loss that is not finite", least=0, changes_result=False
    )
    log_every: int = flag(10, "steps from one line of the log to the next", least=1, changes_result=False)
    log_dir: str | None = flag(
        None, "folder for TensorBoard; none: tensorboard/ in --output_dir", metavar="DIR", changes_result=False
    )
