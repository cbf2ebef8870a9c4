"""The initial classifier of fine-tuning: from a checkpoint of any supported format, or from random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.errors import UserError
from adamae.models import Classifier
from adamae.models.families import Family, family_named
from adamae.models.registry import named_model
from adamae.options.finetune import FinetuneOptions, classifier_arguments

_DEFAULT_MODEL = "vit_base_patch16_224"


@dataclass(frozen=True)
class InitialClassifier:
    """A classifier to be trained.

    Attributes:
        model: The model with its initial weights, which are the same on every rank.
        config: The model's config in checkpoints, from which it can be built again.
        origin: Origin of the weights, one line per fact.
    """

    model: Classifier
    config: dict[str, Any]
    origin: tuple[str, ...]


def initial_classifier(options: FinetuneOptions, classes: tuple[str, ...]) -> InitialClassifier:
    """Build the classifier with the weights of ``--finetune``.

    Args:
        options: Options of the run.
        classes: Names of the classes.

    Raises:
        UserError: If the name is unknown or not that of a classifier, or the checkpoint does not match.
    """
    given = options.model
    file = open_checkpoint(given.finetune, given.model_key) if given.finetune else None
    family, sizes = _family_and_sizes(given.model, file)
    if file is None and given.token_selection == "adaptive":
        raise UserError("--token_selection adaptive needs a checkpoint with a learned sampler: --finetune is missing")
    arguments = sizes | classifier_arguments(options.clip, given)
    if file is not None:
        arguments |= file.architecture.sampler_options()
    # Decoded videos have three channels; a patch embedding for other channels is adapted.
    arguments |= {"num_classes": len(classes), "in_chans": 3}
    torch.manual_seed(options.run.seed)
    model = family.classifier(**arguments)
    model.checkpoint_activations(options.run.checkpoint_activations)
    origin = [f"weights: random, from seed {options.run.seed}"]
    constants: dict[str, Any] = {}
    if file is not None:
        origin = [f"weights: {load_weights(model, file)}"]
        constants = file.constants.as_config()
        origin += _other_clips(file, options)
    if model.token_choice.active:
        kept, total = model.token_choice.num_kept, model.grid.num_tokens
        origin.append(f"tokens: {kept} of {total} encoded, selection: {options.model.token_selection}")
    config = describe_network(model, arguments) | {"class_names": list(classes)}
    if constants:
        config["constants"] = {**constants, **config.get("constants", {})}
    return InitialClassifier(model, config, tuple(origin))


def _family_and_sizes(name: str | None, file: CheckpointFile | None) -> tuple[Family, dict[str, Any]]:
    """Return the model family, and arguments of its classifier that the checkpoint or ``--model`` determines."""
    sizes: dict[str, Any] = {}
    model = named_model(name or _DEFAULT_MODEL)
    if model.kind is not Classifier:
        raise UserError(f"--model {name} is a pre-training model: expected a classifier such as {_DEFAULT_MODEL}")
    family = model.family
    if name is not None or file is None:
        sizes = dict(model.arguments)
    if file is not None:
        if name is None:
            family = family_named(file.architecture.family)
        elif file.architecture.family != family.name:
            raise UserError(
                f"--model {name} has a {family.name} encoder, {file.path} a {file.architecture.family} encoder"
            )
        # For a pre-train checkpoint, the classifier with the same encoder.
        found = file.architecture.classifier_options()
        kept = ("position_embedding", "cls_token", "init_values", "qkv_bias", "mlp_ratio")
        sizes |= {key: value for key, value in found.items() if name is None or key in kept}
    return family, sizes


def _other_clips(file: CheckpointFile, options: FinetuneOptions) -> list[str]:
    a, clip = file.architecture, options.clip
    if a.guesses_clip or (a.frames, *a.size) == (clip.num_frames, clip.input_size, clip.input_size):
        return []
    return [
        f"note: the checkpoint was trained on {a.frames} frames of {a.size[0]}x{a.size[1]} pixels, this run uses "
        f"{clip.num_frames} of {clip.input_size}x{clip.input_size}; see --num_frames and --input_size"
    ]
