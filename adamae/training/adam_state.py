"""AdamW, and its state by official parameter name as checkpoints hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from adamae.models.naming import reference_parameters
from adamae.training.parameter_groups import Group

# official parameter name -> {"step", "exp_avg", "exp_avg_sq"}
AdamState = dict[str, dict[str, Tensor]]


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
