"""Loss scaling, gradient clipping and skipping of non-finite updates, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def gradient_norm(model: nn.Module) -> Tensor:
    """Return the norm of all gradients together, on the device."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


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

    def arm(self, scaled_norm: Tensor) -> dict[str, Tensor]:
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
