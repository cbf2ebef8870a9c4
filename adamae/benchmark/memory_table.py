"""Activation memory of each additional clip by precision and by what is recomputed, without running a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from adamae.benchmark.activation_memory import ActivationMemory, activation_memory
from adamae.layers.recomputation import CheckpointActivations
from adamae.models import Pretrainer, create_model
from adamae.precision import matmul_dtype

_PRECISIONS = ("fp32", "bf16")
Table = dict[str, dict[str, dict[str, int]]]


def kept_per_clip(name: str, precision: torch.dtype, parts: CheckpointActivations = "none", **arguments: Any) -> int:
    """Count the bytes of a clip on tensors without values, whose storages have the same sizes as in a run.

    Args:
        name: Name of a pre-train model.
        precision: Autocast dtype; float32 disables autocast.
        parts: Parts whose activations are recomputed instead of kept.
        **arguments: Arguments of the model's constructor.
    """
    return kept_in_memory(name, precision, parts, **arguments).per_clip


def kept_in_memory(
    name: str, precision: torch.dtype, parts: CheckpointActivations = "none", **arguments: Any
) -> ActivationMemory:
    """Count the bytes per clip and those independent of the batch; arguments as in :func:`kept_per_clip`."""
    # Initialisation reads values, so the model is built on the meta device, where this has no effect.
    with torch.device("meta"):
        model = create_model(name, **arguments)
    assert isinstance(model, Pretrainer)
    model.checkpoint_activations(parts)
    with FakeTensorMode(allow_non_fake_inputs=True):
        return activation_memory(model.to_empty(device="cpu").train(), precision)


def memory_table(name: str, modes: Mapping[str, Mapping[str, Any]]) -> Table:
    """Count the bytes per clip for all combinations.

    Args:
        name: Name of a pre-train model.
        modes: Arguments of the model's constructor, by label.

    Returns:
        Bytes by mode, precision and recomputed parts.
    """
    return {
        mode: {
            precision: {
                parts: kept_per_clip(name, matmul_dtype(precision), parts, **arguments)
                for parts in get_args(CheckpointActivations)
            }
            for precision in _PRECISIONS
        }
        for mode, arguments in modes.items()
    }


def render(table: Table) -> str:
    """Format the table as Markdown, in MiB."""
    parts = get_args(CheckpointActivations)
    lines = [f"| MiB of activations per additional clip | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    for mode, rows in table.items():
        for precision, kept in rows.items():
            numbers = " | ".join(f"{kept[name] / 2**20:.1f}" for name in parts)
            lines.append(f"| {mode}, {precision} | {numbers} |")
    return "\n".join(lines)
