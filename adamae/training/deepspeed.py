"""The DeepSpeed engine: ZeRO stages 0 to 2 behind the same protocol as the plain torch engine.

DeepSpeed shards the optimiser (stage 1) and the gradients (stage 2) and exchanges them. Precision, loss scaling,
clipping and skipping of bad steps are those of the plain engine: for DeepSpeed the run is always float32, under our
autocast. So both engines give the same losses, and a step never waits for the GPU. DeepSpeed's own bf16 mode at stage 0
does a phantom step at the start and is never used. Checkpoints are written in the plain engine's format, not as
DeepSpeed's pickles.

The gradient norm is computed here also under ZeRO. For non-finite gradients DeepSpeed's norm differs between releases
(before 0.19.8 it was finite, so NaN got into the weights), and computing it waits for the GPU.
"""

from __future__ import annotations

import copy
import gc
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from adamae.data.batch import Batch
from adamae.distributed import World
from adamae.errors import UserError
from adamae.training.adam_state import (
    AdamState,
    blank_adam_state,
    collect_adam_state,
    named_parameters,
    restore_adam_state,
    set_rates,
)
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

# Same version as in pyproject.toml. Older releases accept non-finite gradients.
OLDEST = "0.19.8"

# Settings that the run's options determine. They are refused in a config file instead of silently overridden.
_DECIDED_BY_THE_RUN = {
    "train_batch_size": "--batch_size",
    "train_micro_batch_size_per_gpu": "--batch_size",
    "gradient_accumulation_steps": "--update_freq",
    # Whether DeepSpeed counts the micro-batches; if not, it updates after each of them.
    "managed_gradient_accumulation": "--update_freq",
    "gradient_clipping": "--clip_grad",
    "optimizer": "--opt",
    "scheduler": "--lr and --warmup_epochs",
    "bf16": "--precision",
    "fp16": "--precision",
    "torch_autocast": "--precision",
}


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a DeepSpeed config such as those in ``configs/deepspeed``.

    Raises:
        UserError: If the file cannot be read or is not a JSON object.
    """
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: got a {type(config).__name__}, expected a JSON object of DeepSpeed settings")
    return config


def resolve_config(config: Mapping[str, Any], *, batch_size: int, accumulation: int, world_size: int) -> dict[str, Any]:
    """Add the settings that the run's options determine to a config.

    Args:
        config: DeepSpeed settings; "auto" is replaced by the run's value.
        batch_size: Clips in a micro-batch of one process.
        accumulation: Micro-batches in a step.
        world_size: Processes.

    Raises:
        UserError: If a setting contradicts the run, the ZeRO stage is not 0, 1 or 2, or the optimiser is offloaded.
    """
    for key, option in _DECIDED_BY_THE_RUN.items():
        if config.get(key, "auto") != "auto":
            raise UserError(f"DeepSpeed setting {key!r} = {config[key]!r}: is set by {option}; remove it")
    interval = config.get("steps_per_print", 1)
    if interval is not None and (not isinstance(interval, int) or interval < 1):
        raise UserError(f"DeepSpeed setting steps_per_print = {interval!r}: expected a positive integer or null")
    zero = _zero_settings(config.get("zero_optimization", {}))
    if zero["stage"]:
        # The engine computes the norm itself.
        zero["compute_grad_norm"] = False
    kept = {key: value for key, value in config.items() if key not in _DECIDED_BY_THE_RUN}
    return kept | {
        "zero_optimization": zero,
        # The throughput timer waits for the device at every step.
        "timers": {"throughput": {"enabled": False}},
        # The default is 1; gradients are already clipped at this point.
        "gradient_clipping": 0.0,
        "train_micro_batch_size_per_gpu": batch_size,
        "gradient_accumulation_steps": accumulation,
        "train_batch_size": batch_size * accumulation * world_size,
    }


def _zero_settings(given: Any) -> dict[str, Any]:
    """Return a copy of the section with its stage."""
    if not isinstance(given, Mapping):
        raise UserError(f'DeepSpeed setting zero_optimization = {given!r}: expected an object such as {{"stage": 1}}')
    zero = {"stage": 0, **given}
    if zero["stage"] not in (0, 1, 2):
        raise UserError(f"DeepSpeed setting zero_optimization.stage = {zero['stage']!r}: expected 0, 1 or 2")
    for key in ("offload_optimizer", "cpu_offload"):
        value = zero.get(key)
        if value.get("device", "none") != "none" if isinstance(value, Mapping) else value:
            raise UserError(
                f"DeepSpeed setting zero_optimization.{key} = {value!r}: offloading the optimizer is not supported; "
                "remove it"
            )
    return zero


def _check_settings(deepspeed: Any, resolved: Mapping[str, Any]) -> None:
    """Let DeepSpeed parse the settings alone, so that any error it raises is about them.

    Raises:
        UserError: If DeepSpeed rejects them.
    """
    # DeepSpeed does not know the number of processes yet, so the global batch would be inconsistent.
    alone = {key: copy.deepcopy(value) for key, value in resolved.items() if key != "train_batch_size"}
    try:
        deepspeed.DeepSpeedConfig(alone)
    except Exception as error:
        told = " ".join(str(error).split())
        if isinstance(error, AttributeError | TypeError):
            # A section is not an object; the error does not name it.
            given = {key: value for key, value in resolved.items() if key not in _DECIDED_BY_THE_RUN}
            plain = [key for key, value in given.items() if not isinstance(value, Mapping)]
            told += f"; expected objects of settings, got numbers or texts for {', '.join(plain)}"
        raise UserError(f"DeepSpeed rejects its settings: {told}") from error


class DeepSpeedEngine:
    """See :class:`~adamae.training.engine.Engine`.

    Args:
        model: The model to train, already on the world's device.
        objective: Computes the losses of a batch.
        optimizer: From :func:`~adamae.training.adam_state.build_optimizer`.
        world: The processes of the run, started with ``group_of_one=True``.
        config: DeepSpeed settings, see :func:`resolve_config`.
        batch_size: Clips in a micro-batch of one process.
        settings: Precision, clipping, accumulation and compilation.

    Attributes:
        resolved_config: The settings passed to DeepSpeed.

    Raises:
        UserError: If DeepSpeed is not installed, too old, or rejects its settings, or torch is too old to compile.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        world: World,
        config: Mapping[str, Any],
        batch_size: int,
        settings: EngineSettings = EngineSettings(),
    ) -> None:
        self.model = model
        self.device = world.device
        self.accumulation = settings.accumulation
        self._is_main = world.is_main
        self.resolved_config = resolve_config(
            config, batch_size=batch_size, accumulation=settings.accumulation, world_size=world.size
        )
        self._optimizer = optimizer
        self._guard = StepGuard(optimizer, world.device, settings.clip_grad, loss_scaling=settings.precision == "fp16")
        if settings.compile_model:
            compile_in_place(model)
        deepspeed = _import_deepspeed(world.device)
        # DeepSpeed communicates over its own process group. By default the group would time out after torch's 10
        # minutes and would be connected only within the first step.
        self._groups = deepspeed.utils.groups
        self._groups._WORLD_GROUP = world.new_group()
        _check_settings(deepspeed, self.resolved_config)
        try:
            self._engine, *_ = deepspeed.initialize(
                model=ForwardPass(model, objective, settings.precision),
                optimizer=optimizer,
                config=self.resolved_config,
            )
        except Exception as error:
            # pydantic's errors are ValueErrors that name the setting; others are DeepSpeed's own.
            own = type(error).__module__.startswith("deepspeed.")
            if not own and not isinstance(error, ValueError | NotImplementedError):
                raise
            raise UserError(f"DeepSpeed rejects its settings: {' '.join(str(error).split())}") from error
        self._zero: Any = self._engine.optimizer if self._engine.zero_optimization_stage() else None
        if self._zero is not None:
            self._link_shards()

    def step(self, micro_batches: Iterable[Batch], lr: float, weight_decay: float, diagnose: bool = False) -> Losses:
        """Do one update from ``accumulation`` micro-batches."""
        set_rates(self._optimizer, lr, weight_decay)
        begin_update(self.model)
        parts, report = [], {}
        for number, batch in enumerate(micro_batches, start=1):
            losses = self._engine(to_device(batch, self.device), diagnose)
            # DeepSpeed divides by the number of micro-batches itself.
            self._engine.backward(self._guard.scaled(losses["loss"]))
            parts.append(detached(losses))
            if number == self.accumulation:
                report = self._guard.arm(self._gradient_norm())
            self._engine.step()
        return mean_losses(parts) | report

    def _gradient_norm(self) -> Tensor:
        """Return the norm of all gradients together, on the device and equal on all ranks.

        Under ZeRO each rank has its shard of every group, including zero padding. NaN or infinity in any shard
        propagates to the sum.
        """
        if self._zero is None:
            return gradient_norm(self.model)
        shards = [part.float() for group in self._zero.averaged_gradients.values() for part in group]
        squared = torch.nn.utils.get_total_norm(shards).square()
        dist.all_reduce(squared)
        return squared.sqrt()

    def training_state(self) -> dict[str, Any]:
        """Return optimiser state and loss scale on the CPU of the main rank, gathered from the shards of all ranks."""
        shards = None if self._zero is None else self._collect_shards()
        if not self._is_main:
            return {}
        optimizer = collect_adam_state(self.model, self._optimizer) if shards is None else shards
        return {"optimizer": optimizer, "guard": self._guard.state()}

    def load(self, weights: Mapping[str, Tensor], training_state: Mapping[str, Any] | None) -> None:
        """Load saved weights and training state."""
        self.model.load_state_dict(weights)
        if self._zero is not None:
            self._zero.refresh_fp32_params()
        if training_state is None:
            return
        self._guard.load(training_state["guard"])
        if self._zero is None:
            restore_adam_state(self.model, self._optimizer, training_state["optimizer"])
        else:
            self._restore_shards(training_state["optimizer"])

    def _link_shards(self) -> None:
        """Link each parameter to its part of the flat optimiser state.

        DeepSpeed does so after the first step of the first group, when the other groups have no state yet.
        """
        for group in self._optimizer.param_groups:
            (flat,) = group["params"]
            self._optimizer.state[flat] = blank_adam_state(flat)
        self._zero._lazy_init_hp_params_optimizer_state()

    def _collect_shards(self) -> AdamState:
        from deepspeed.utils import safe_get_full_optimizer_state

        steps, collected = self._steps_by_name(), {}
        for name, parameter in named_parameters(self.model):
            # All ranks exchange their shards; only the main rank keeps the result.
            whole = {key: safe_get_full_optimizer_state(parameter, key) for key in ("exp_avg", "exp_avg_sq")}
            if self._is_main:
                held = {"step": steps[name], **whole}
                collected[name] = {key: value.to("cpu", copy=True) for key, value in held.items()}
        return collected

    def _restore_shards(self, saved: AdamState) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state

        steps = self._steps_by_name()
        for name, parameter in named_parameters(self.model):
            if name in saved:
                steps[name].copy_(saved[name]["step"])
                for key in ("exp_avg", "exp_avg_sq"):
                    safe_set_full_optimizer_state(parameter, saved[name][key].to(self.device), key)

    def _steps_by_name(self) -> dict[str, Tensor]:
        """Return the step counter of each parameter's group; under ZeRO a group is one flat tensor."""
        return {
            name: self._optimizer.state[group["params"][0]]["step"]
            for group in self._optimizer.param_groups
            for name in group["names"]
        }

    def close(self) -> None:
        """Destroy the engine before the process group: otherwise a process may abort at exit."""
        self._engine.destroy()
        del self._engine, self._zero
        # Otherwise DeepSpeed would reuse the destroyed group in the next run of this process.
        self._groups._WORLD_GROUP = None
        gc.collect()


def missing_or_old(version: str | None) -> str:
    """Return why this version of DeepSpeed cannot be used; empty if it can.

    Args:
        version: The installed version; None if it is not installed.
    """
    if version is None:
        return "DeepSpeed is not installed"
    if TorchVersion(version) < OLDEST:
        return (
            f"DeepSpeed {version} is installed, expected {OLDEST} or newer: older versions accept non-finite gradients"
        )
    return ""


def _import_deepspeed(device: torch.device) -> Any:
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    try:
        import deepspeed
    except ImportError as error:
        raise UserError(f"--engine deepspeed: DeepSpeed cannot be imported ({error}); use --engine plain") from error
    if reason := missing_or_old(deepspeed.__version__):
        raise UserError(f"--engine deepspeed: {reason}; use --engine plain")
    # DeepSpeed's shared-memory communication for the CPU is compiled on first use, which needs a compiler and takes
    # half a minute. gloo needs neither.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    warnings.filterwarnings("ignore", ".*all_gather_into_tensor.* is deprecated", FutureWarning)
    return deepspeed
