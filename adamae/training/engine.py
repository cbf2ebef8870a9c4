"""The engine protocol of the training loop, and code that all engines share.

An engine turns micro-batches into one update of the weights. It owns precision, clipping, accumulation and the
exchange of gradients, and is independent of masking. All engines run the same forward pass in the same precision,
hold the weights in float32 and save their state in the same format, so a run may change its engine or its number of
processes at any checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from adamae.models.naming import reference_parameters
from adamae.precision import autocast, autocast_dtype
from adamae.training.parameter_groups import Group

Batch = dict[str, Any]
Losses = dict[str, Tensor]
# (model, batch on its device, diagnose) -> 0-dim tensors: "loss" with its gradient, and detached named parts
Objective = Callable[[nn.Module, Batch, bool], Losses]
# Entries of a batch that only the host reads.
_HOST_ENTRIES = frozenset({"index", "seed"})
# official parameter name -> {"step", "exp_avg", "exp_avg_sq"}
AdamState = dict[str, dict[str, Tensor]]


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


def build_optimizer(
    groups: Sequence[Group], *, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8
) -> torch.optim.AdamW:
    """Fused AdamW over the groups of :mod:`adamae.training.parameter_groups`; the engine sets the rates at each step.

    The fused kernels divide by ``grad_scale`` and read ``found_inf`` on the device (CPU and CUDA alike), so clipping
    and skipping a step need neither an extra pass over the gradients nor a synchronisation.
    """
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    """Set the learning rate and weight decay of every group for this step."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
        group["weight_decay"] = weight_decay if group["decays"] else 0.0


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


def gradient_norm(model: nn.Module) -> Tensor:
    """Return the norm of all gradients together, on the device."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def detached(losses: Losses) -> Losses:
    """Return the losses detached from the graph, which is as large as the network."""
    return {name: value.detach() for name, value in losses.items()}


def mean_losses(parts: Sequence[Losses]) -> Losses:
    """Return the mean of each named loss over micro-batches."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


class StepGuard:
    """Scales the loss, clips the gradient and skips non-finite updates, all on the device.

    Args:
        optimizer: A fused AdamW.
        device: Device of the gradients.
        max_norm: Clip the gradient to this norm; 0 for no clipping.
        loss_scaling: Multiply the loss so that fp16 gradients do not vanish. The scale halves at each overflow and
            doubles after 2000 steps without one.
    """

    INITIAL_SCALE = 2.0**16
    GROWTH_INTERVAL = 2000

    def __init__(
        self, optimizer: torch.optim.Optimizer, device: torch.device, max_norm: float, loss_scaling: bool
    ) -> None:
        self._optimizer = optimizer
        self._max_norm = max_norm
        self._scales = loss_scaling
        self._scale = torch.full((), self.INITIAL_SCALE if loss_scaling else 1.0, device=device)
        self._clean_steps = torch.zeros((), device=device)

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the scaled loss to differentiate.

        If the loss is not finite, all its gradients are NaN. Averaging over ranks propagates the NaN, so all ranks skip
        the step without further communication.
        """
        return loss * torch.where(loss.detach().isfinite(), self._scale, torch.nan)

    def arm(self, scaled_norm: Tensor) -> Losses:
        """Set up the optimiser's next step from the gradient norm of the scaled loss.

        Returns:
            "grad_norm", "skipped" and, with loss scaling, "loss_scale".
        """
        norm = scaled_norm / self._scale
        skipped = (~scaled_norm.isfinite()).to(torch.float32)
        self._optimizer.found_inf = skipped  # type: ignore[attr-defined]
        if self._scales or self._max_norm > 0:
            excess = ((norm + 1e-6) / self._max_norm).clamp(min=1.0) if self._max_norm > 0 else 1.0
            self._optimizer.grad_scale = self._scale * excess  # type: ignore[attr-defined]
        report = {"grad_norm": norm, "skipped": skipped}
        if self._scales:
            report["loss_scale"] = self._scale
            self._adapt(skipped)
        return report

    def _adapt(self, skipped: Tensor) -> None:
        clean = (self._clean_steps + 1) * (1 - skipped)
        grown = clean >= self.GROWTH_INTERVAL
        self._scale = self._scale * torch.where(skipped > 0, 0.5, torch.where(grown, 2.0, 1.0))
        self._clean_steps = clean.masked_fill(grown, 0.0)

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`load`."""
        held = {"scale": self._scale, "clean_steps": self._clean_steps}
        return {"scaling": self._scales, **{name: value.to("cpu", copy=True) for name, value in held.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a saved scale; if the run's precision has changed, it keeps its own initial scale."""
        # Old checkpoints have no "scaling"; in them a scale of 1 means no loss scaling.
        if self._scales and state.get("scaling", state["scale"] != 1.0):
            self._scale = state["scale"].to(self._scale.device, copy=True)
            self._clean_steps = state["clean_steps"].to(self._scale.device, copy=True)


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield trainable parameters with their official names."""
    return ((name, p) for name, p in reference_parameters(model) if p.requires_grad)


def blank_adam_state(parameter: Tensor) -> dict[str, Tensor]:
    """Return the state that fused AdamW initialises for a parameter at its first step."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def collect_adam_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> AdamState:
    """Return the optimiser's state by official parameter name, on the CPU."""
    held = ((name, optimizer.state.get(p, {})) for name, p in named_parameters(model))
    return {name: {key: value.to("cpu", copy=True) for key, value in state.items()} for name, state in held if state}


def restore_adam_state(model: nn.Module, optimizer: torch.optim.Optimizer, saved: AdamState) -> None:
    """Restore the result of :func:`collect_adam_state`."""
    for name, parameter in named_parameters(model):
        if name in saved:
            state = blank_adam_state(parameter)
            for key, value in saved[name].items():
                state[key].copy_(value)
            optimizer.state[parameter] = state
