"""Write weights in the layouts of other programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adamae.checkpoints.architecture import VitArchitecture
from adamae.checkpoints.constants import PUBLISHED_EPS, PYTORCH_EPS
from adamae.checkpoints.formats import CheckpointFile
from adamae.checkpoints.key_tables import TRANSFORMERS_FILES, translate
from adamae.checkpoints.network_config import describe_stored_network
from adamae.checkpoints.reading import CONFIG, PREPROCESSOR
from adamae.checkpoints.run_checkpoint import WEIGHTS
from adamae.checkpoints.tensor_files import with_own_storage, write_tensors
from adamae.errors import UserError
from adamae.files import publish
from adamae.layers.pixels import PixelNormalisation
from adamae.lookup import exists, is_folder

# PIL.Image.Resampling.BILINEAR.
_BILINEAR = 2


@dataclass(frozen=True)
class WriteReport:
    """Result of :func:`convert`.

    Attributes:
        path: The file, or the directory for Transformers.
        target: "reference", "safetensors" or "transformers".
        written: Number of tensors written.
        left_out: Names of tensors that the layout cannot hold, and why.
        notes: Differences that users of the other program should know.
    """

    path: Path
    target: str
    written: int
    left_out: dict[str, str]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a one-line summary for the log."""
        parts = [f"{self.path}: {self.written} tensors in the {self.target} layout"]
        if self.left_out:
            reasons = "; ".join(dict.fromkeys(self.left_out.values()))
            parts.append(f"{len(self.left_out)} left out ({reasons})")
        return "; ".join([*parts, *self.notes])


def convert(file: CheckpointFile, out: str | Path, target: str) -> WriteReport:
    """Convert a checkpoint to another layout. Weights keep their dtype and are bit-identical.

    Args:
        file: Result of :func:`~adamae.checkpoints.formats.open_checkpoint`.
        out: A file for "reference" and "safetensors", a directory for "transformers".
        target: "reference" is a ``.pth`` that the official AdaMAE and VideoMAE code loads (weights, epoch and options
            as far as they are known; no optimiser state); "safetensors" is our own format; "transformers" is a
            directory for ``from_pretrained`` of ``VideoMAEForPreTraining`` or ``VideoMAEForVideoClassification``.

    Raises:
        UserError: If the layout cannot hold the network, or the file cannot be written.
    """
    out = Path(out)
    if target not in WRITERS:
        raise UserError(f"unknown layout {target!r}: expected one of {', '.join(WRITERS)}")
    if target == "transformers":
        if exists(out) and not is_folder(out):
            raise UserError(f"{out}: is a file; expected a directory for the transformers layout")
    elif is_folder(out):
        raise UserError(f"{out}: is a directory; expected a file for the {target} layout")
    return WRITERS[target](file, out)


def _write_safetensors(file: CheckpointFile, out: Path) -> WriteReport:
    description = {"model": describe_stored_network(file), "epoch": file.epoch, "step": file.step, "args": file.args}
    write_tensors(out, file.state, description)
    return WriteReport(out, "safetensors", len(file.state), file.left_out)


def _write_reference(file: CheckpointFile, out: Path) -> WriteReport:
    architecture = file.architecture
    if isinstance(architecture, VitArchitecture) and (architecture.positions != "fixed" or architecture.cls_token):
        raise UserError(
            f"{file.path}: learned positions or a class token; expected fixed positions for the reference layout"
        )
    dense = with_own_storage(file.state)
    clip = {"num_frames": ("frames", architecture.frames), "input_size": ("size", architecture.size[0])}
    known = {name: value for name, (fact, value) in clip.items() if fact not in architecture.guessed}
    epoch = {} if file.epoch is None else {"epoch": file.epoch}
    content = {"model": dense, **epoch, "args": argparse.Namespace(**{**file.args, **known})}
    # For our own reader; other programs ignore the string.
    content["adamae"] = json.dumps({"model": describe_stored_network(file)})
    publish(out, lambda temporary: _save(content, temporary))
    notes = _notes_for_official_code(file)
    if len(known) < len(clip):
        guessed = " and ".join(name for name in clip if name not in known)
        notes.append(f"the file does not store the clip size: its options have no {guessed}")
    return WriteReport(out, "reference", len(dense), file.left_out, tuple(notes))


def _notes_for_official_code(file: CheckpointFile) -> list[str]:
    """Return what the official code computes otherwise or cannot load."""
    notes = _notes_on_selection(file)
    if file.architecture.decoder and not file.architecture.norm:
        notes.append("the official model has a norm after its encoder, this one does not")
    in_own_order = not file.architecture.options().get("released_decoder_order")
    if file.architecture.decoder and file.architecture.family in ("swin", "pvt") and in_own_order:
        notes.append("the official decoder gives most visible tokens the position of another one, this one does not")
    constants = {name: value for name, value in file.constants.as_config().items() if value != PUBLISHED_EPS}
    if constants:
        differing = ", ".join(f"{name} {value}" for name, value in constants.items())
        notes.append(
            f"the official code has its own LayerNorm epsilon and pixel statistics, this model has {differing}"
        )
    if any(name.startswith("sampler.") for name in file.state):
        notes.append("the official code has no such sampler: its strict loading refuses the entries sampler.*")
    return notes


def _notes_on_selection(file: CheckpointFile) -> list[str]:
    """Return a note if the classifier selects tokens or frames, which other programs do not support."""
    options = file.architecture.options() if not file.architecture.decoder else {}
    chosen = [
        f"{what} (by {how})"
        for what, how in (
            ("tokens", options.get("token_selection", "none")),
            ("frames", "motion" if options.get("candidate_frames") else "none"),
        )
        if how != "none"
    ]
    if not chosen:
        return []
    return [f"other programs use all tokens and frames, this model uses selected {' and '.join(chosen)}"]


def _save(content: dict[str, Any], path: Path) -> None:
    # Given a path, torch.save names the archive after the file and rejects some names.
    with path.open("wb") as file:
        torch.save(content, file)


def _write_transformers(file: CheckpointFile, out: Path) -> WriteReport:
    config = _transformers_config(file)
    architecture = file.architecture
    assert isinstance(architecture, VitArchitecture)
    state, left, _ = translate(file.state, TRANSFORMERS_FILES[architecture.kind], "to_theirs")
    left_out = {**file.left_out, **dict.fromkeys(left, "Transformers' VideoMAE has no sampler")}
    notes = _notes_on_selection(file)
    eps = file.constants.last_norm_eps or PUBLISHED_EPS
    if (architecture.decoder or architecture.fc_norm) and eps != PYTORCH_EPS:
        notes.append(
            f"Transformers computes the norm before the head with an epsilon of {PYTORCH_EPS:g}, here it is {eps:g}"
        )
    if "heads" in architecture.guessed:
        heads = " and ".join(str(stack.heads) for stack in (architecture.encoder, architecture.decoder) if stack)
        notes.append(
            f"the file does not store the number of attention heads: {heads} are assumed, the default for its width"
        )
    if architecture.guesses_clip:
        clip = f"{architecture.frames} frames of {architecture.size[0]}x{architecture.size[1]}"
        notes.append(f"the file does not store the clip size: {clip} are assumed")
    notes.append("its image processor resizes frames with antialiasing, `evaluate` without")
    write_tensors(out / WEIGHTS, state, {"epoch": file.epoch, "step": file.step})
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    publish(out / CONFIG, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    preprocessor = json.dumps(_transformers_preprocessor(file), indent=2, sort_keys=True) + "\n"
    publish(out / PREPROCESSOR, lambda temporary: temporary.write_text(preprocessor, encoding="utf-8"))
    return WriteReport(out, "transformers", len(state), left_out, tuple(notes))


WRITERS: dict[str, Callable[[CheckpointFile, Path], WriteReport]] = {
    "reference": _write_reference,
    "safetensors": _write_safetensors,
    "transformers": _write_transformers,
}


def _transformers_config(file: CheckpointFile) -> dict[str, Any]:
    """Return Transformers' ``config.json``.

    Raises:
        UserError: If the VideoMAE of Transformers does not support the network.
    """
    architecture = file.architecture
    if not isinstance(architecture, VitArchitecture):
        raise UserError(
            f"{file.path}: has a {architecture.family} encoder; not supported by the VideoMAE of Transformers"
        )
    obstacles = {
        "LayerScale": architecture.layer_scale,
        "learned positions": architecture.positions != "fixed",
        "a class token": architecture.cls_token,
    }
    found = [name for name, there in obstacles.items() if there]
    if found:
        raise UserError(f"{file.path}: has {' and '.join(found)}; not supported by the VideoMAE of Transformers")
    config: dict[str, Any] = {
        "model_type": "videomae",
        "architectures": [_class(file)],
        "dtype": str(_dtype(file.state)).removeprefix("torch."),
        "hidden_act": "gelu",
        "hidden_size": architecture.encoder.width,
        "num_hidden_layers": architecture.encoder.depth,
        "num_attention_heads": architecture.encoder.heads,
        "intermediate_size": architecture.encoder.hidden,
        "image_size": architecture.size[0] if architecture.size[0] == architecture.size[1] else list(architecture.size),
        "patch_size": architecture.patch,
        "num_channels": architecture.channels,
        "num_frames": architecture.frames,
        "tubelet_size": architecture.tubelet,
        "qv_bias": architecture.qkv_bias,
        "use_mean_pooling": not architecture.norm,
        "layer_norm_eps": file.constants.norm_eps or PUBLISHED_EPS,
        "norm_pix_loss": bool(architecture.given.get("normalize_target", True)),
    }
    if architecture.decoder:
        config |= {
            "decoder_hidden_size": architecture.decoder.width,
            "decoder_num_hidden_layers": architecture.decoder.depth,
            "decoder_num_attention_heads": architecture.decoder.heads,
            "decoder_intermediate_size": architecture.decoder.hidden,
        }
    if architecture.classes:
        names = file.class_names or tuple(f"LABEL_{number}" for number in range(architecture.classes))
        config["id2label"] = {str(number): name for number, name in enumerate(names)}
        config["label2id"] = {name: number for number, name in enumerate(names)}
    return config


def _transformers_preprocessor(file: CheckpointFile) -> dict[str, Any]:
    """Return Transformers' ``preprocessor_config.json``: the centre crop and the pixel statistics of evaluation.

    Transformers resizes with Pillow, which antialiases; evaluation resizes clips without antialiasing. The results are
    the same for frames whose short side is the model's input size.
    """
    architecture = file.architecture
    mean, std = file.constants.pixel_mean, file.constants.pixel_std
    if mean is None or std is None:
        imagenet = architecture.options().get("imagenet_default_mean_and_std", True)
        usual = PixelNormalisation(architecture.channels, imagenet)
        mean, std = _decimals(usual.mean), _decimals(usual.std)
    return {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": min(architecture.size)},
        "resample": _BILINEAR,
        "do_center_crop": True,
        "crop_size": {"height": architecture.size[0], "width": architecture.size[1]},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
    }


def _decimals(values: Tensor) -> tuple[float, ...]:
    """Return the shortest decimal numbers that round to these float32 values."""
    return tuple(float(str(value)) for value in values.numpy())


def _class(file: CheckpointFile) -> str:
    if file.architecture.decoder:
        return "VideoMAEForPreTraining"
    return "VideoMAEForVideoClassification" if file.architecture.classes else "VideoMAEModel"


def _dtype(state: dict[str, Tensor]) -> torch.dtype:
    return next(iter(state.values())).dtype
