"""The options of ``adamae pretrain``, and values derived from several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adamae.options.clip_checks import check_clip
from adamae.options.economy import change_mode
from adamae.options.groups import (
    ClipOptions,
    LogOptions,
    LossOptions,
    ModelOptions,
    OptimizerOptions,
    PanelOptions,
    PretrainClipOptions,
    PretrainDataOptions,
    RunOptions,
    SamplerOptions,
)
from adamae.options.parser import OptionParser, Parsed
from adamae.options.published import PRETRAIN_ANSWERS, REMOVED_ANSWERS
from adamae.options.sampler_checks import check_mask_type
from adamae.options.training import TrainingOptions, departures
from adamae.samplers import declared

EXAMPLES = (
    "adamae pretrain --data_path videos/ --output_dir runs/first",
    "adamae pretrain --config quickstart --data_path runs/motion/train.csv --output_dir runs/quickstart",
    "torchrun --nproc_per_node 2 -m adamae pretrain --data_path train.csv --output_dir runs/two",
    "deepspeed --num_gpus 8 --module adamae pretrain --config adamae_k400_base --data_path k.csv --output_dir runs/k",
)


@dataclass(frozen=True)
class PretrainOptions(TrainingOptions):
    """Options of ``adamae pretrain``."""

    command = "pretrain"

    data: PretrainDataOptions = field(default_factory=PretrainDataOptions)
    clip: PretrainClipOptions = field(default_factory=PretrainClipOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    run: RunOptions = field(default_factory=RunOptions)
    log: LogOptions = field(default_factory=LogOptions)
    panels: PanelOptions = field(default_factory=PanelOptions)

    @classmethod
    def of(cls, *presets: str, **values: Any) -> PretrainOptions:
        """Build options by name: ``PretrainOptions.of("quickstart", data_path="videos")``.

        Args:
            presets: Names in ``configs/pretrain`` or YAML files.
            values: Values that override those of the presets and the defaults.

        Raises:
            UserError: If there is no such preset or option, or a value is invalid.
        """
        return pretrain_parser().of(presets, values)

    @property
    def clips_per_video(self) -> int:
        """See :class:`~adamae.options.training.TrainingOptions`."""
        return self.data.num_sample


def model_arguments(
    clip: ClipOptions, model: ModelOptions, sampler: SamplerOptions, loss: LossOptions
) -> dict[str, Any]:
    """Return arguments of the model's constructor, without sizes that ``--model`` determines."""
    renamed = {"input_size": "img_size", "drop_path": "drop_path_rate", "normlize_target": "normalize_target"}
    elsewhere = (
        *("model", "economy", "sampling_rate", "frame_sampling", "flip", "frame_selection", "frame_oversample"),
        *("crop", "crop_scale", "crop_interpolation"),
    )
    values = {name: value for group in (clip, model, sampler, loss) for name, value in vars(group).items()}
    if not model.released_decoder_order:
        # Not all models have this argument.
        del values["released_decoder_order"]
    values["candidate_frames"] = clip.frames_read if clip.frame_selection != "none" else None
    return {
        renamed.get(name, name): value for name, value in values.items() if name not in elsewhere and value is not None
    }


def check_pretraining(options: Mapping[str, Any], preset: Mapping[str, Any], *more: str) -> list[str]:
    """Refuse typed options of a pre-training command that have no effect, and note those of a preset.

    Args:
        options: The options by name.
        preset: The options according to the presets alone; empty for the defaults.
        *more: Other mask types that the command uses as well.

    Raises:
        UserError: If a typed option has no effect.
    """
    clip = PretrainClipOptions if "crop" in options else ClipOptions
    return [*check_mask_type(options, preset, *more), *check_clip(options, preset, clip)]


def pretrain_parser() -> OptionParser[PretrainOptions]:
    """The command line of ``adamae pretrain``."""
    return OptionParser(
        PretrainOptions,
        prog="adamae pretrain",
        description="Pre-train a masked autoencoder on a list or a folder of videos or images.",
        examples=EXAMPLES,
        foreign={**PRETRAIN_ANSWERS, **REMOVED_ANSWERS},
        preset_folder="pretrain",
        layered=change_mode,
        check=check_pretraining,
    )


def method_variant(options: PretrainOptions) -> str:
    """Describe the variant of the method that the run uses, where the paper and the official code differ."""
    sampler = declared(options.sampler.mask_type)
    if not sampler.sampler_class.learns:
        return f"masks: {sampler.label}, no learned sampler"
    averaged = options.loss.sampling_reduction == "mean"
    reaches = not options.loss.detach_sampler_input
    throughout = {(True, True): "as in the official code: ", (False, False): "as in the paper: "}
    return (
        f"{throughout.get((averaged, reaches), '')}sampling loss {'averaged' if averaged else 'summed'} over the "
        f"target tokens ({_side(averaged)}), its gradient {'reaches' if reaches else 'does not reach'} the tokenizer "
        f"({_side(reaches)})"
    )


def _side(code: bool) -> str:
    return "as in the official code" if code else "as in the paper"


def recipe_lines(parsed: Parsed[PretrainOptions], world_size: int) -> Sequence[str]:
    """Log lines about the recipe: its name, the variant of the method, and differing options."""
    if parsed.recipe is None:
        return [f"variant: {method_variant(parsed.options)}"]
    return [f"recipe {parsed.presets[-1].name}: {method_variant(parsed.options)}", departures(parsed, world_size)]
