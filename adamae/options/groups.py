"""The option groups. All flags, checks, defaults and tables of options are derived from them.

Names are those of the VideoMAE and AdaMAE launch scripts if they exist there, so existing launch lines work after
replacing the program's name. Defaults are those of the official code for flags that its scripts leave out.
"""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from adamae.errors import UserError
from adamae.flags import (
    LARGEST_SIDE,
    LARGEST_WIDTH,
    MOST_AT_ONCE,
    MOST_BLOCKS,
    MOST_FRAMES,
    OptionGroup,
    flag,
)
from adamae.lookup import is_file
from adamae.options.presets import configs_folder
from adamae.options.shared import (
    data_root_flag,
    decoder_flag,
    device_flag,
    num_sample_flag,
    num_workers_flag,
    precision_flag,
    rendezvous_timeout_flag,
    video_timeout_flag,
)
from adamae.samplers import DEFAULT, SAMPLERS, mask_types


@dataclass(frozen=True)
class DataOptions(OptionGroup):
    """Where clips are read from and how they are loaded."""

    title = "Data"

    # A recipe cannot set the path, so it does not count as a difference from the recipe.
    data_path: str | None = flag(
        None,
        "list file (path and label on each line), folder of videos or images, or shards such as "
        "DIR/{000000..000999}.tar",
        metavar="PATH",
        changes_result=False,
    )
    data_root: str | None = data_root_flag()
    shard_window: int = flag(
        16,
        "number of shards whose videos or images are shuffled together; an epoch reads from this many shards at a time",
        least=1,
    )
    decoder: str = decoder_flag()
    batch_size: int = flag(
        8,
        "videos or images per process and micro-batch; each gives --num_sample clips",
        least=1,
        limit=MOST_AT_ONCE,
        changes_result=False,
    )
    num_workers: int | None = num_workers_flag()
    pin_mem: bool = flag(True, "use pinned (page-locked) memory for batches", changes_result=False)
    max_bad_fraction: float = flag(
        0.05,
        "stop when more than this fraction of the videos or images cannot be read",
        least=0,
        most=1,
        changes_result=False,
    )
    video_timeout: float = video_timeout_flag(then=" and is not opened again")

    @property
    def source(self) -> str:
        """``data_path``, for commands that require it.

        Raises:
            UserError: If it is missing.
        """
        if not self.data_path:
            raise UserError("--data_path is missing: expected a list file, a folder of videos or images, or shards")
        return self.data_path


@dataclass(frozen=True)
class PretrainDataOptions(DataOptions):
    """Where clips are read from and how they are loaded."""

    num_sample: int = num_sample_flag(1)


def oversampled(num_frames: int, ratio: float) -> int:
    """Return the number of frames from which ``num_frames`` are selected: ``ratio`` times as many, rounded."""
    return round(num_frames * ratio)


@dataclass(frozen=True)
class ClipOptions(OptionGroup):
    """Frames, stride and size of a clip."""

    title = "Clip"

    num_frames: int = flag(16, "frames in a clip", least=1, limit=MOST_FRAMES)
    sampling_rate: int = flag(
        4, "use every n-th frame; official code: 4 for Kinetics, 2 for Something-Something", least=1, limit=MOST_FRAMES
    )
    frame_sampling: Literal["dense", "segment"] = flag(
        "dense",
        "dense: frames at --sampling_rate from a random start; segment: one frame from each of --num_frames equal "
        "segments",
    )
    input_size: int = flag(224, "height and width of a clip in pixels", least=1, limit=LARGEST_SIDE)
    flip: bool = flag(False, "flip half of the clips horizontally (paper: on Kinetics; official code: never)")
    frame_selection: Literal["none", "motion"] = flag(
        "none", "motion: decode more frames than a clip has and keep those with the most motion, for uncurated video"
    )
    frame_oversample: float = flag(
        1.5, "motion: number of decoded frames, as a multiple of --num_frames", least=1, limit=100
    )
    frame_keep_ratio: float = flag(
        0.3, "motion: fraction of tokens, those with the most motion, that are counted per tubelet", above=0, most=1
    )
    frame_choice: Literal["auto", "draw", "top"] = flag(
        "auto",
        "motion: sample tubelets in proportion to their counts, or take the top; auto: draw in training, top in "
        "evaluation",
    )

    @property
    def frames_read(self) -> int:
        """Frames of a clip that are decoded."""
        return (
            self.num_frames if self.frame_selection == "none" else oversampled(self.num_frames, self.frame_oversample)
        )


@dataclass(frozen=True)
class PretrainClipOptions(ClipOptions):
    """Frames, stride, size and crop of a clip."""

    crop: Literal["multi_scale", "random_resized"] = flag(
        "multi_scale",
        "multi_scale: as in the official code for video; random_resized: as usual for images (torchvision's "
        "RandomResizedCrop)",
    )
    crop_scale: tuple[float, float] = flag(
        (0.2, 1.0), "random_resized: smallest and largest fraction of the frame area", above=0, most=1
    )
    crop_interpolation: Literal["bilinear", "bicubic"] = flag(
        "bilinear", "interpolation of the resized crop; bicubic is usual for images"
    )


@dataclass(frozen=True)
class ModelOptions(OptionGroup):
    """The masked autoencoder."""

    model: str = flag(
        "adamae_base",
        "adamae_{tiny,small,base,large,huge}, um_swin_{micro,tiny,large}, um_pvt_small, um_vit_base, or a name "
        "of the official code such as pretrain_videomae_base_patch16_224",
        metavar="NAME",
    )
    patch_size: int = flag(16, "height and width of a token in pixels", least=1, limit=LARGEST_SIDE)
    tubelet_size: int = flag(2, "frames in a token", least=1, limit=MOST_FRAMES)
    encoder_embed_dim: int | None = flag(
        None, "embedding dimension of the encoder; none: that of --model", least=1, limit=LARGEST_WIDTH
    )
    encoder_depth: int | None = flag(
        None, "number of encoder blocks; none: that of --model", least=1, limit=MOST_BLOCKS
    )
    encoder_num_heads: int | None = flag(
        None, "attention heads of the encoder; none: that of --model", least=1, limit=LARGEST_WIDTH
    )
    decoder_embed_dim: int | None = flag(
        None, "embedding dimension of the decoder; none: that of --model", least=1, limit=LARGEST_WIDTH
    )
    decoder_depth: int | None = flag(
        None, "number of decoder blocks; none: that of --model (adamae: 4)", least=1, limit=MOST_BLOCKS
    )
    decoder_num_heads: int | None = flag(
        None, "attention heads of the decoder; none: that of --model", least=1, limit=LARGEST_WIDTH
    )
    released_decoder_order: bool = flag(
        False, "um_swin and um_pvt: the decoder's positions as in the official code, wrong for most visible tokens"
    )
    economy: bool = flag(
        False,
        "cheaper steps (about half the cost): --decoder_budget 0.5, --sampler_dim half of the encoder's and "
        "--sampler_drop_rate 0, unless given",
    )
    decoder_budget: float | None = flag(
        None,
        "fraction of the masked tokens, resampled at each step, that the decoder reconstructs in training; none: all, "
        "or 0.5 with --economy",
        above=0,
        most=1,
    )
    drop_path: float = flag(0.0, "stochastic depth rate of the last block; grows linearly from 0", least=0, below=1)
    init_values: float = flag(0.0, "initial value of LayerScale; 0: no LayerScale", least=0)
    imagenet_default_mean_and_std: bool = flag(
        True, "normalise pixels with the ImageNet mean and std; otherwise with 0.5 and 0.5"
    )


@dataclass(frozen=True)
class SamplerOptions(OptionGroup):
    """How visible tokens are sampled."""

    mask_type: str = flag(
        DEFAULT, lambda: "; ".join(f"{name}: {each.summary}" for name, each in SAMPLERS.items()), choices=mask_types
    )
    mask_ratio: float | None = flag(
        None,
        "fraction of tokens to mask; none: 0.95, or that of the cells with uniform masks (0.75, octet 0.875)",
        above=0,
        below=1,
    )

    def __new__(cls, **_: Any) -> SamplerOptions:
        """Create an instance with the options of all samplers; like ``pathlib.Path()``, it is of a subclass."""
        return object.__new__(cls.complete())

    @classmethod
    def complete(cls) -> type[SamplerOptions]:
        """Return the group with the options of all registered samplers."""
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
    """Reconstruction loss and sampling loss."""

    normlize_target: bool = flag(
        True, "normalise the target pixels of each token by their mean and std", aliases=("normalize_target",)
    )
    reconstruction_loss: Literal["mse", "l1"] = flag(
        "mse", "squared (mse) or absolute (l1) error of the predicted pixels"
    )
    sampling_weight: float = flag(1e-4, "weight of the sampling loss", least=0)
    sampling_reward: Literal["error", "progress"] = flag(
        "error",
        "reward of the sampler: error of a masked token (paper), or its learning progress, relative to an average of "
        "past weights",
    )
    sampling_reduction: Literal["mean", "sum"] = flag(
        "mean", "reduction of the sampling loss over the target tokens: mean (official code) or sum (paper)"
    )
    detach_sampler_input: bool = flag(
        True, "do not backpropagate the sampling loss into the tokenizer (paper); the official code does"
    )
    sampling_entropy_weight: float = flag(
        0.0, "weight of an entropy bonus on the sampling distribution (not in the paper)", least=0
    )


@dataclass(frozen=True)
class OptimizerOptions(OptionGroup):
    """Optimiser, learning rate, weight decay and their schedules."""

    title = "Optimizer"

    epochs: int = flag(100, "number of epochs", least=1)
    max_steps: int | None = flag(
        None, "stop after this many steps and save a final checkpoint; the schedule stays that of --epochs", least=1
    )
    update_freq: int | None = flag(
        None,
        "micro-batches per step (gradient accumulation); none: 1, or what --total_batch_size requires",
        least=1,
        changes_result=False,
    )
    total_batch_size: int | None = flag(
        None,
        "global batch size: clips per step over all processes; sets --update_freq accordingly",
        least=1,
    )
    opt: Literal["adamw"] = flag("adamw", "the optimiser")
    opt_betas: tuple[float, float] = flag((0.9, 0.95), "betas of AdamW", least=0, below=1)
    opt_eps: float = flag(1e-8, "epsilon of AdamW", above=0)
    clip_grad: float | None = flag(None, "clip the gradient to this norm; none: no clipping", above=0)
    weight_decay: float = flag(0.05, "weight decay", least=0)
    weight_decay_end: float | None = flag(None, "final weight decay (cosine schedule); none: constant", least=0)
    lr: float = flag(
        1.5e-4, "learning rate for a global batch of 256 clips; scaled linearly with the global batch", above=0
    )
    min_lr: float = flag(1e-5, "final learning rate of the cosine schedule; scaled like --lr", least=0)
    warmup_epochs: float | None = flag(None, "epochs of linear warm-up; none: --epochs / 20", least=0)
    warmup_steps: int = flag(-1, "steps of linear warm-up; if positive, overrides --warmup_epochs", least=-1)


@dataclass(frozen=True)
class RunOptions(OptionGroup):
    """Output folder, device, engine, precision and checkpoints."""

    output_dir: str | None = flag(
        None, "folder for checkpoints, logs and the options", metavar="DIR", changes_result=False
    )
    device: str = device_flag()
    rendezvous_timeout: float = rendezvous_timeout_flag()
    heartbeat_timeout: float = flag(
        300.0,
        "end the run when a process has not responded for this many seconds; 0: wait",
        least=0,
        most=86400,
        metavar="SECONDS",
        changes_result=False,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = precision_flag()
    engine: Literal["auto", "plain", "deepspeed"] = flag(
        "auto", "auto: plain PyTorch for one process, DeepSpeed for several", changes_result=False
    )
    deepspeed_config: str = flag(
        "zero1", "name of a config in configs/deepspeed, or a JSON file", metavar="NAME", changes_result=False
    )
    compile: bool = flag(False, "compile the model with torch.compile (torch 2.6 or newer)", changes_result=False)
    checkpoint_activations: Literal["none", "decoder", "all"] = flag(
        "none",
        "activation checkpointing (recompute in the backward pass to save memory); decoder: sampler, decoder and "
        "reconstruction loss; all: also the encoder. Results are bit-identical",
        changes_result=False,
    )
    seed: int = flag(0, "random seed", least=0)
    resume: str = flag(
        "auto",
        "auto: resume from the newest valid checkpoint in --output_dir; none: start a new run; or a checkpoint folder",
        metavar="{auto,none,PATH}",
        changes_result=False,
    )
    save_ckpt_freq: int = flag(20, "save a checkpoint every n epochs; 0: never", least=0, changes_result=False)
    save_ckpt_steps: int = flag(0, "save a checkpoint every n steps; 0: never", least=0, changes_result=False)
    keep_last: int = flag(2, "number of newest checkpoints to keep", least=1, changes_result=False)

    @property
    def output(self) -> Path:
        """``output_dir``, for commands that require it.

        Raises:
            UserError: If it is missing.
        """
        if not self.output_dir:
            raise UserError("--output_dir is missing: expected a folder for checkpoints and logs")
        return Path(self.output_dir)

    @property
    def deepspeed_file(self) -> Path:
        """File of ``deepspeed_config``.

        Raises:
            UserError: If it does not exist.
        """
        home, given = configs_folder() / "deepspeed", Path(self.deepspeed_config)
        named = home / f"{self.deepspeed_config}.json"
        if is_file(named) or is_file(given):
            return named if is_file(named) else given
        known = ", ".join(sorted(path.stem for path in home.glob("*.json")))
        raise UserError(f"--deepspeed_config {given}: expected a JSON file, or one of {known}")


@dataclass(frozen=True)
class PanelOptions(OptionGroup):
    """Images in TensorBoard during training."""

    title = "Images"

    log_images_every: int = flag(
        0,
        "log reconstructions of fixed clips every n steps, starting at the first; 0: never",
        least=0,
        changes_result=False,
    )
    log_images_path: str | None = flag(
        None,
        "list or folder whose first four videos or images are logged; none: val.csv beside --data_path, else "
        "--data_path itself",
        metavar="PATH",
        changes_result=False,
    )


@dataclass(frozen=True)
class LogOptions(OptionGroup):
    """Logging, and the limit of skipped steps."""

    max_skipped: int = flag(
        50, "stop when more than this many consecutive steps have a non-finite loss", least=0, changes_result=False
    )
    log_every: int = flag(10, "log every n steps", least=1, changes_result=False)
    log_dir: str | None = flag(
        None,
        "folder for TensorBoard event files; none: tensorboard/ in --output_dir",
        metavar="DIR",
        changes_result=False,
    )
