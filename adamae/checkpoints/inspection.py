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
    a = file.architecture
    return {
        "path": str(file.path),
        "format": {"layout": file.layout, "container": file.container},
        "method": file.method,
        "kind": a.kind,
        "architecture": {
            **a.facts(),
            "decoder": asdict(a.decoder) if a.decoder else None,
        },
        "clip": {
            "frames": a.frames,
            "height": a.size[0],
            "width": a.size[1],
            "channels": a.channels,
            "tubelet": a.tubelet,
            "patch": a.patch,
        },
        "classes": a.classes or None,
        "class_names": list(file.class_names),
        "guessed": list(a.guessed),
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
    a = file.architecture
    told = a.rows()
    guessed = dict.fromkeys(a.guessed, " (not stored in the file, default)")
    rows = {
        "path": str(file.path),
        "format": f"{_LAYOUTS[file.layout]} layout, written by {_CONTAINERS[file.container]}",
        "method": file.method,
        "encoder": told["encoder"] + guessed.get("heads", ""),
        "decoder": str(a.decoder or ""),
        "sampler": told.get("sampler", ""),
        "tokens": told["tokens"],
        "frames": f"{a.frames}{guessed.get('frames', '')}",
        "size": f"{a.size[0]}x{a.size[1]}{guessed.get('size', '')}",
        "classes": f"{a.classes}{': ' + ', '.join(file.class_names[:8]) if file.class_names else ''}"
        if a.classes
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
