"""Exponential moving average (EMA) of the weights, which is validated and saved in their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from adamae.models.naming import reference_parameters


class WeightEma:
    """Exponential moving average (EMA) of a model's parameters; a :class:`~adamae.training.loop.Callback` of a run.

    The average is timm's ``ModelEmaV3``. Buffers are constants in this project and are not averaged.

    Args:
        model: The model to average; the EMA starts from its parameters.
        decay: Weight of the old average in each step; None disables the EMA.
        on_host: Keep the EMA in host memory, which saves GPU memory at the cost of a copy in each step.
    """

    def __init__(self, model: nn.Module, decay: float | None, on_host: bool = False) -> None:
        self._model = model
        self._ema: Any = None
        if decay is not None:
            from adamae import torchvision_import  # noqa: F401
            from timm.utils import ModelEmaV3  # isort: skip

            device = torch.device("cpu") if on_host else None
            self._ema = ModelEmaV3(model, decay=decay, device=device, exclude_buffers=True)

    @property
    def active(self) -> bool:
        """Whether there is an EMA."""
        return self._ema is not None

    def after_step(self, step: int) -> None:
        """Update the EMA."""
        if self.active:
            self._ema.update(self._model)

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """Return nothing for the log."""
        return {}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context manager in which the model has the EMA weights; the original weights are restored exactly on exit."""
        if not self.active:
            yield
            return
        kept = [parameter.detach().clone() for parameter in self._model.parameters()]
        self._write(self._ema.module.parameters())
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, values: Iterable[Tensor]) -> None:
        for parameter, value in zip(self._model.parameters(), values, strict=True):
            parameter.copy_(value)

    def state(self) -> dict[str, Any]:
        """Return the EMA by official parameter name, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self._parameters().items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a saved EMA; without one it starts from the current weights."""
        if not self.active:
            return
        if state:
            for name, value in self._parameters().items():
                value.copy_(state[name])
        else:
            self._ema.set(self._model)

    def _parameters(self) -> dict[str, Tensor]:
        if not self.active:
            return {}
        return dict(reference_parameters(self._ema.module))
