"""A moving average of the weights, which is validated and kept in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from adamae.models.naming import reference_parameters


class WeightAverage:
    """Exponential moving average of a model's parameters; a :class:`~adamae.training.loop.Callback` of a run.

    Buffers are constants here and have no average.

    Args:
        model: Whose parameters are averaged; the average begins with them.
        decay: Share of the old average that each step keeps; None averages nothing.
        on_host: Keep the average in the host's memory, and so off a small GPU, at the price of a copy in each step.
    """

    def __init__(self, model: nn.Module, decay: float | None, on_host: bool = False) -> None:
        self._parameters = dict(reference_parameters(model))
        self._decay = decay
        self._on_host = on_host
        self._average: dict[str, Tensor] = {}
        self._restart()

    @property
    def active(self) -> bool:
        """Whether there is an average."""
        return self._decay is not None

    def _restart(self) -> None:
        if self.active:
            self._average = {name: self._place(p.detach().clone()) for name, p in self._parameters.items()}

    def _place(self, value: Tensor) -> Tensor:
        return value.cpu() if self._on_host else value

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the average towards the weights."""
        if self._decay is not None:
            for name, average in self._average.items():
                average.lerp_(self._place(self._parameters[name].detach()), 1 - self._decay)

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """Nothing for the log."""
        return {}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the average for weights, and afterwards as it was, bit for bit."""
        if not self.active:
            yield
            return
        with torch.no_grad():
            kept = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
            self._write(self._average)
        try:
            yield
        finally:
            with torch.no_grad():
                self._write(kept)

    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._parameters[name].copy_(value)

    def state(self) -> dict[str, Any]:
        """The average by published parameter name, on the CPU."""
        return {name: value.to("cpu", copy=True) for name, value in self._average.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with a saved average; where there is none yet, it begins with the weights as they are now."""
        if self.active and state:
            for name, value in self._average.items():
                value.copy_(state[name])
        else:
            self._restart()
