"""The plain torch engine: one process, or several with DDP."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from adamae.data.batch import Batch
from adamae.distributed import World
from adamae.training.adam_state import collect_adam_state, restore_adam_state, set_rates
from adamae.training.compilation import compile_in_place
from adamae.training.engine import (
    EngineSettings,
    ForwardPass,
    Losses,
    Objective,
    begin_update,
    detached,
    mean_losses,
    to_device,
)
from adamae.training.step_guard import StepGuard, gradient_norm


class TorchEngine:
    """See :class:`~adamae.training.engine.Engine`.

    Args:
        model: The model to train, already on the world's device.
        objective: Computes the losses of a batch.
        optimizer: From :func:`~adamae.training.adam_state.build_optimizer`.
        world: The processes of the run.
        settings: Precision, clipping, accumulation and compilation.

    Raises:
        UserError: If the precision is unknown, or torch is too old to compile.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        world: World,
        settings: EngineSettings = EngineSettings(),
    ) -> None:
        self.model = model
        self.device = world.device
        self.accumulation = settings.accumulation
        self._is_main = world.is_main
        self._optimizer = optimizer
        self._guard = StepGuard(optimizer, world.device, settings.clip_grad, loss_scaling=settings.precision == "fp16")
        if settings.compile_model:
            compile_in_place(model)
        self._forward: nn.Module = ForwardPass(model, objective, settings.precision)
        if world.size > 1:
            self._forward = _replicate(self._forward)
        # Two numbers have the same sum in either order.
        self._buckets_settled = world.size <= 2

    def step(self, micro_batches: Iterable[Batch], lr: float, weight_decay: float, diagnose: bool = False) -> Losses:
        """Do one update from ``accumulation`` micro-batches."""
        set_rates(self._optimizer, lr, weight_decay)
        begin_update(self.model)
        parts = []
        for number, given in enumerate(micro_batches, start=1):
            batch = to_device(given, self.device)
            if not self._buckets_settled:
                self._settle_buckets(batch)
            with nullcontext() if number == self.accumulation else self._without_exchange():
                losses = self._forward(batch, diagnose)
                (self._guard.scaled(losses["loss"]) / self.accumulation).backward()
            parts.append(detached(losses))
        report = self._guard.arm(gradient_norm(self.model))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return mean_losses(parts) | report

    def _settle_buckets(self, batch: Batch) -> None:
        """Let DDP arrange its buckets before the first update of this process, without a trace in the training.

        DDP arranges them once, after the first backward pass, in the order in which the gradients were ready. Three or
        more ranks are added in an order that depends on the place in a bucket, so without this pass the first update
        after a resume would round differently than in a run that goes on.
        """
        self._buckets_settled = True
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            self._forward(batch, False)["loss"].backward()
        self._optimizer.zero_grad(set_to_none=True)

    def _without_exchange(self) -> Any:
        return self._forward.no_sync() if isinstance(self._forward, DistributedDataParallel) else nullcontext()

    def training_state(self) -> dict[str, Any]:
        """Return optimiser state and loss scale on the CPU of the main rank."""
        if not self._is_main:
            return {}
        return {"optimizer": collect_adam_state(self.model, self._optimizer), "guard": self._guard.state()}

    def load(self, weights: Mapping[str, Tensor], training_state: Mapping[str, Any] | None) -> None:
        """Load saved weights and training state."""
        self.model.load_state_dict(weights)
        if training_state is not None:
            restore_adam_state(self.model, self._optimizer, training_state["optimizer"])
            self._guard.load(training_state["guard"])

    def close(self) -> None:
        """Release DDP, which holds the process group."""
        del self._forward


def _replicate(module: nn.Module) -> DistributedDataParallel:
    """Wrap in DDP without syncing buffers, which are constants. Newer torch releases rename that option."""
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {"gradient_as_bucket_view": True, option: False}
    return DistributedDataParallel(module, **options)
