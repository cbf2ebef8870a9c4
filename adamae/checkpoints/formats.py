"""Recognise the layout of a state dict and translate it to the parameter names of the official code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adamae.checkpoints.architecture import Architecture
from adamae.checkpoints.constants import PYTORCH_EPS, Constants, check_epsilon, check_statistics
from adamae.checkpoints.inference import infer_architecture
from adamae.checkpoints.key_tables import (
    TRANSFORMERS_FILES,
    TRANSFORMERS_MODULES,
    joined_attention,
    mae_st_table,
    translate,
)
from adamae.checkpoints.reading import RawCheckpoint, read_raw
from adamae.checkpoints.um_mae_architecture import is_um_mae
from adamae.errors import UserError
from adamae.imagenet import IMAGENET_MEAN, IMAGENET_STD
from adamae.models.ema_network import PREFIX as EMA_PREFIX
from adamae.removed_options import notes_on_removed
from adamae.samplers import SAMPLERS

# Prefixes that training programs and wrappers add to every name.
_WRAPPERS = ("module.", "_orig_mod.", "backbone.")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_TRANSFORMERS_EPS = 1e-12
# Transformers' defaults for entries that are missing in config.json.
_TRANSFORMERS_DEFAULTS = {
    "num_attention_heads": 12,
    "decoder_num_attention_heads": 6,
    "num_frames": 16,
    "image_size": 224,
}
# State of adamae.models.ema_network, which only a resumed run needs.
_PAST = "the average of past weights that rewarded the sampler"
_MAE_ST_DECODER = "mae_st's decoder has a class token, learned positions and another target"


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """A parsed checkpoint.

    Attributes:
        path: Path of the checkpoint.
        layout: "published", "um_mae", "mae_st" or "transformers".
        container: "torch", "safetensors", "deepspeed" or "run".
        state: Tensors under the official names, dense and finite, with exactly the architecture's shapes.
        architecture: The network that the tensors belong to.
        constants: Constants of the network that are not in its state dict.
        notes: Changes made on reading, one sentence each.
        left_out: Names of entries that the official layout cannot hold, and why.
        epoch: Last completed epoch, "best", or None.
        step: Completed steps, or None.
        args: Options of the program that wrote the checkpoint.
        class_names: Names of the classes; empty if unknown.
        others: Other entries of the file, which are not read.
    """

    path: Path
    layout: str
    container: str
    state: dict[str, Tensor]
    architecture: Architecture
    constants: Constants = field(default_factory=Constants)
    notes: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    epoch: int | str | None = None
    step: int | None = None
    args: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Description of the network in words."""
        if self.architecture.decoder:
            mask_type = self.architecture.options()["mask_type"]
            # The file may come from an installation with additional registered samplers.
            return SAMPLERS[mask_type].method if mask_type in SAMPLERS else f"masked autoencoder with {mask_type} masks"
        return (
            f"classifier of {self.architecture.classes} classes"
            if self.architecture.classes
            else "encoder without a head"
        )


@dataclass(frozen=True)
class _Reading:
    """A state dict under the official names."""

    state: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    constants: Constants = field(default_factory=Constants)


def open_checkpoint(path: str | Path, key: str | None = None) -> CheckpointFile:
    """Open and parse a checkpoint of any known format.

    Args:
        path: A file or directory, see :func:`~adamae.checkpoints.reading.read_raw`.
        key: Key of the weights in the file's dict, alternatives separated by ``|``; None for the usual keys.

    Raises:
        UserError: If there is no checkpoint, reading it would execute code, it is damaged, its layout is unknown, or
            its entries do not form a supported network.
    """
    raw = read_raw(path, key)
    try:
        state = _unwrapped({name: _checked(name, value) for name, value in raw.state.items()})
        layout = _recognise(state)
        reading = _LAYOUTS[layout](state, raw)
        hf_config = raw.hf_config
        if layout == "transformers" and hf_config:
            hf_config = {**_TRANSFORMERS_DEFAULTS, **hf_config}
        architecture = infer_architecture(reading.state, config=raw.config, hf_config=hf_config, args=raw.args)
        _check_finite(reading.state)
        # In the order of the official state dict, whatever the order in the file.
        ordered = {name: reading.state[name] for name in architecture.shapes()}
        constants = Constants.of_config(raw.config) if raw.config else reading.constants
        notes = (*reading.notes, *notes_on_removed(raw.config.get("options", {})))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: damaged: the metadata cannot be read") from error
    return CheckpointFile(
        path=raw.path,
        layout=layout,
        container=raw.container,
        state=ordered,
        architecture=architecture,
        constants=constants,
        notes=notes,
        left_out=reading.left_out,
        epoch=raw.epoch,
        step=raw.step,
        args=raw.args,
        class_names=_class_names(raw, architecture.classes),
        others=raw.others,
    )


def _checked(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise UserError(f"{name} is a {type(value).__name__}; expected a tensor")
    # Nested tensors call themselves strided.
    if value.is_nested:
        raise UserError(f"{name} is a nested tensor; expected dense floating-point numbers")
    if value.layout != torch.strided or value.dtype not in _FLOATS or value.device.type != "cpu":
        found = f"{value.dtype} ({value.layout}, {value.device})"
        raise UserError(f"{name} holds {found}; expected dense floating-point numbers")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise UserError(f"{name} has shape {tuple(value.shape)} but a different number of elements")
    return value.detach()


def _check_finite(state: dict[str, Tensor]) -> None:
    for name, value in state.items():
        if not value.isfinite().all():
            raise UserError(f"{name} contains non-finite values")


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        short = name
        while wrapper := next((wrapper for wrapper in _WRAPPERS if short.startswith(wrapper)), None):
            short = short[len(wrapper) :]
        if short in result:
            raise UserError(f"{short} is contained twice, once as {name}")
        result[short] = value
    return result


def _recognise(state: dict[str, Tensor]) -> str:
    if any(name.endswith("layernorm_before.weight") for name in state):
        return "transformers"
    if is_um_mae({name: tuple(tensor.shape) for name, tensor in state.items()}):
        return "um_mae"
    signs = ("pos_embed_spatial", "blocks.0.attn.q.weight", "decoder_embed.weight", "decoder_pred.weight")
    if any(sign in state for sign in signs) or {"cls_token", "pos_embed"} <= state.keys():
        return "mae_st"
    return "published"


def _without_past(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split off the average of past weights; return the other weights and the names left out."""
    left_out = {name: _PAST for name in state if name.startswith(EMA_PREFIX)}
    return {name: value for name, value in state.items() if name not in left_out}, left_out


def _read_published(state: dict[str, Tensor], raw: RawCheckpoint) -> _Reading:
    state, left_out = _without_past(state)
    prefix = "encoder."
    if "encoder_to_decoder.weight" not in state:
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        prefix = ""
    notes: list[str] = []
    for blocks in (f"{prefix}blocks.*", "decoder.blocks.*"):
        if blocks.replace("*", "0.attn.qkv.bias") in state:
            changed, left, more = translate(state, joined_attention(blocks), "to_ours")
            state, notes = {**left, **changed}, [*notes, *more]
    return _Reading(state, tuple(dict.fromkeys(notes)), left_out)


def _read_mae_st(state: dict[str, Tensor], raw: RawCheckpoint) -> _Reading:
    left_out = {name: _MAE_ST_DECODER for name in state if name.startswith("decoder_") or name == "mask_token"}
    kept = {name: value for name, value in state.items() if name not in left_out}
    result, left, notes = translate(kept, mae_st_table(kept), "to_ours")
    channels = result["patch_embed.proj.weight"].shape[1] if result.get("patch_embed.proj.weight") is not None else 3
    # The values in mae_st's data loader.
    constants = Constants(pixel_mean=(0.45,) * channels, pixel_std=(0.225,) * channels)
    return _Reading({**result, **left}, tuple(notes), left_out, constants)


def _read_transformers(state: dict[str, Tensor], raw: RawCheckpoint) -> _Reading:
    config = raw.hf_config
    if config.get("hidden_act", "gelu") != "gelu":
        raise UserError(f"its activation is {config['hidden_act']!r}; expected 'gelu'")
    if "embeddings.patch_embeddings.projection.weight" in state:
        # A VideoMAEModel without a head.
        state = {f"videomae.{name}": value for name, value in state.items()}
    kind = "pretrain" if "encoder_to_decoder.weight" in state else "classifier"
    old = any(name.endswith("attention.q_bias") for name in state)
    result, left, notes = translate(state, (TRANSFORMERS_FILES if old else TRANSFORMERS_MODULES)[kind], "to_ours")
    eps = config.get("layer_norm_eps", _TRANSFORMERS_EPS)
    check_epsilon("its layer_norm_eps is", eps)
    # Transformers' last norms ignore layer_norm_eps of its config.
    constants = Constants(eps, PYTORCH_EPS, *_pixel_statistics(raw.hf_preprocessor, raw.hf_preprocessor_name))
    return _Reading({**result, **left}, tuple(notes), {}, constants)


def _pixel_statistics(
    preprocessor: Mapping[str, Any], name: str
) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    """Return mean and std of Transformers' pixel normalisation; None if they are ImageNet's or not given."""
    mean, std = preprocessor.get("image_mean"), preprocessor.get("image_std")
    if mean is None or std is None:
        return None, None
    check_statistics(name, "image", mean, std)
    if (tuple(mean), tuple(std)) == (IMAGENET_MEAN, IMAGENET_STD):
        return None, None
    return tuple(mean), tuple(std)


def _read_um_mae(state: dict[str, Tensor], raw: RawCheckpoint) -> _Reading:
    state, left_out = _without_past(state)
    return _Reading(state, (), left_out)


_LAYOUTS: dict[str, Callable[[dict[str, Tensor], RawCheckpoint], _Reading]] = {
    "published": _read_published,
    "um_mae": _read_um_mae,
    "mae_st": _read_mae_st,
    "transformers": _read_transformers,
}


def _class_names(raw: RawCheckpoint, classes: int) -> tuple[str, ...]:
    """Return the names in our config or Transformers' ``id2label``; empty if there is not one for each class."""
    names = raw.config.get("class_names")
    labels = raw.hf_config.get("id2label")
    if names is None and isinstance(labels, dict):
        names = [labels.get(str(number)) for number in range(classes)]
        if names == [f"LABEL_{number}" for number in range(classes)]:
            names = None
    if not isinstance(names, list) or len(names) != classes or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names)
