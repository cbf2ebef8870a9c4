"""Describe a checkpoint as text or JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from adamae.checkpoints.formats import CheckpointFile

_CONTAINERS = {
    "torch": "torch.save",
    "safetensors": "safetensors",
    "deepspeed": "DeepSpeed",
    "run": "a run of adamae",
}
_LAYOUTS = {
    "published": "AdaMAE / VideoMAE / VideoMAEv2",
    "um_mae": "UM-MAE",
    "mae_st": "mae_st",
    "transformers": "Transformers' VideoMAE",
}


def describe(file: CheckpointFile) -> dict[str, Any]:
    """Return a description of a checkpoint as JSON values.

    Returns:
        "path", "format" (layout and container), "method", "kind", "architecture", "clip", "classes", "class_names",
        "guessed" (values not stored in the file), "epoch", "step", "parameters", "tensors", "dtypes", "constants",
        "notes", "left_out" (tensors that are not supported, and why), "others" (other entries of the file), "args".
    """
    architecture = file.architecture
    return {
        "path": str(file.path),
        "format": {"layout": file.layout, "container": file.container},
        "method": file.method,
        "kind": architecture.kind,
        "architecture": {
            **architecture.facts(),
            "decoder": asdict(architecture.decoder) if architecture.decoder else None,
        },
        "clip": {
            "frames": architecture.frames,
            "height": architecture.size[0],
            "width": architecture.size[1],
            "channels": architecture.channels,
            "tubelet": architecture.tubelet,
            "patch": architecture.patch,
        },
        "classes": architecture.classes or None,
        "class_names": list(file.class_names),
        "guessed": list(architecture.guessed),
        "epoch": file.epoch,
        "step": file.step,
        "parameters": sum(tensor.numel() for tensor in file.state.values()),
        "tensors": len(file.state),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in file.state.values()}),
        "constants": file.constants.as_config(),
        "notes": list(file.notes),
        "left_out": file.left_out,
        "others": list(file.others),
        "args": file.args,
    }


def as_text(file: CheckpointFile) -> str:
    """Return the same description as text, one line for each known value."""
    architecture = file.architecture
    told = architecture.rows()
    guessed = dict.fromkeys(architecture.guessed, " (not stored in the file, default)")
    rows = {
        "path": str(file.path),
        "format": f"{_LAYOUTS[file.layout]} layout, written by {_CONTAINERS[file.container]}",
        "method": file.method,
        "encoder": told["encoder"] + guessed.get("heads", ""),
        "decoder": str(architecture.decoder or ""),
        "sampler": told.get("sampler", ""),
        "tokens": told["tokens"],
        "frames": f"{architecture.frames}{guessed.get('frames', '')}",
        "size": f"{architecture.size[0]}x{architecture.size[1]}{guessed.get('size', '')}",
        "classes": f"{architecture.classes}{': ' + ', '.join(file.class_names[:8]) if file.class_names else ''}"
        if architecture.classes
        else "",
        "epoch": "" if file.epoch is None else str(file.epoch),
        "step": "" if file.step is None else str(file.step),
        "parameters": f"{describe(file)['parameters'] / 1e6:.3f} million in {len(file.state)} tensors",
        "constants": ", ".join(f"{name} {value}" for name, value in file.constants.as_config().items()),
        "notes": "; ".join(file.notes),
        "left out": _left_out(file),
        "also holds": ", ".join(file.others),
        "args": " ".join(f"{name}={value}" for name, value in sorted(file.args.items())),
    }
    return "\n".join(f"{name:<11}{value}" for name, value in rows.items() if value)


def _left_out(file: CheckpointFile) -> str:
    reasons = dict.fromkeys(file.left_out.values())
    return "; ".join(
        f"{sum(value == reason for value in file.left_out.values())} tensors: {reason}" for reason in reasons
    )
