"""What each further clip keeps for the backward pass, by precision and by what is computed again: nothing is run."""

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
    """Bytes, counted on tensors without values, whose storages are as large as those of a run.

    Args:
        name: Of a pre-train model.
        precision: Autocast to this type; float32 runs without.
        parts: What is computed again instead of being kept.
        **arguments: Of the model's constructor.
    """
    return kept_in_memory(name, precision, parts, **arguments).per_clip


def kept_in_memory(
    name: str, precision: torch.dtype, parts: CheckpointActivations = "none", **arguments: Any
) -> ActivationMemory:
    """The same, with what does not depend on the batch; arguments as in :func:`kept_per_clip`."""
    # Initialisation looks at values, so it is done where there are none and nothing asks for them.
    with torch.device("meta"):
        model = create_model(name, **arguments)
    assert isinstance(model, Pretrainer)
    model.checkpoint_activations(parts)
    with FakeTensorMode(allow_non_fake_inputs=True):
        return activation_memory(model.to_empty(device="cpu").train(), precision)


def memory_table(name: str, modes: Mapping[str, Mapping[str, Any]]) -> Table:
    """Count all combinations.

    Args:
        name: Of a pre-train model.
        modes: Arguments of its constructor, by what to call them.

    Returns:
        Bytes by mode, precision and what is computed again.
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
    """The table as Markdown, in MiB."""
    parts = get_args(CheckpointActivations)
    lines = [f"| MiB of activations per additional clip | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    for mode, rows in table.items():
        for precision, kept in rows.items():
            numbers = " | ".join(f"{kept[name] / 2**20:.1f}" for name in parts)
            lines.append(f"| {mode}, {precision} | {numbers} |")
    return "\n".join(lines)
