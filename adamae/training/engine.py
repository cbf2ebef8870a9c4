"""The engine protocol of the training loop, and code that all engines share.

An engine turns micro-batches into one update of the weights. It owns precision, clipping, accumulation and the
exchange of gradients, and is independent of masking. All engines run the same forward pass in the same precision,
hold the weights in float32 and save their state in the same format, so a run may change its engine or its number of
processes at any checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from adamae.data.batch import Batch
from adamae.precision import autocast, autocast_dtype

Losses = dict[str, Tensor]
# (model, batch on its device, diagnose) -> 0-dim tensors: "loss" with its gradient, and detached named parts
Objective = Callable[[nn.Module, Batch, bool], Losses]
# Entries of a batch that only the host reads.
_HOST_ENTRIES = frozenset({"index", "seed"})


class Engine(Protocol):
    """Runs the backward pass, clipping and the optimiser step; saves and loads its state.

    Attributes:
        model: The model without wrappers.
        device: Device of the model.
        accumulation: Micro-batches in one step.
    """

    model: nn.Module
    device: torch.device
    accumulation: int

    def step(self, micro_batches: Iterable[Batch], lr: float, weight_decay: float, diagnose: bool = False) -> Losses:
        """Do one update from ``accumulation`` micro-batches and do not wait for the device.

        Each micro-batch is taken after the previous one is finished, and none is kept.

        If a loss or gradient is not finite on any rank, weights and optimiser stay unchanged on all ranks.

        Returns:
            0-dim tensors on the device: this rank's losses, each the mean over the micro-batches; "grad_norm" before
            clipping; "skipped", 1 if the update was skipped; "loss_scale" under fp16.
        """

    def training_state(self) -> dict[str, Any]:
        """Return everything except the weights that the next step depends on, on the CPU.

        All ranks call it. Only rank 0 gets the result and needs memory for it; the others get an empty dict.
        """

    def load(self, weights: Mapping[str, Tensor], training_state: Mapping[str, Any] | None) -> None:
        """Load saved weights and, if given, the result of :meth:`training_state` of any engine.

        Everything is copied: the tensors are views of the checkpoint file, which may be removed before the engine.
        """

    def close(self) -> None:
        """Free resources that would outlive the engine."""


@dataclass(frozen=True)
class EngineSettings:
    """Settings that all engines have.

    Attributes:
        precision: "fp32", "bf16" or "fp16": the dtype of matrix products under ``torch.autocast``.
        clip_grad: Clip the gradient to this norm; 0 for no clipping.
        accumulation: Micro-batches in one step.
        compile_model: Compile the model with ``torch.compile``.
    """

    precision: str = "fp32"
    clip_grad: float = 0.0
    accumulation: int = 1
    compile_model: bool = False


class ForwardPass(nn.Module):
    """Model, objective and precision as one module, so that DDP and DeepSpeed wrap the complete forward pass.

    Args:
        model: The model to train.
        objective: Computes the losses of the model on a batch.
        precision: "fp32", "bf16" or "fp16": the dtype of matrix products under ``torch.autocast``.

    Raises:
        UserError: If the precision is unknown.
    """

    def __init__(self, model: nn.Module, objective: Objective, precision: str) -> None:
        super().__init__()
        self.model = model
        self._objective = objective
        autocast_dtype(precision)
        self._precision = precision

    def forward(self, batch: Batch, diagnose: bool) -> Losses:
        """Return the objective's losses."""
        with autocast(next(self.model.parameters()).device, self._precision):
            return self._objective(self.model, batch, diagnose)


def begin_update(model: nn.Module) -> None:
    """Call the model's ``begin_update``, if it has one, before the forward passes of an update.

    It is called outside the compiled code, so that the graph is the same for the first micro-batch and the others.
    """
    begin = getattr(model, "begin_update", None)
    if begin is not None:
        begin()


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch with its tensors on ``device``; pinned tensors are copied asynchronously.

    Seeds stay on the host, where they are hashed: see :class:`~adamae.randomness.SampleNoise`. So do the rows of the
    list, which only the fault log reads.
    """
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) and name not in _HOST_ENTRIES else value
        for name, value in batch.items()
    }


def detached(losses: Losses) -> Losses:
    """Return the losses detached from the graph, which is as large as the network."""
    return {name: value.detach() for name, value in losses.items()}


def mean_losses(parts: Sequence[Losses]) -> Losses:
    """Return the mean of each named loss over micro-batches."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
