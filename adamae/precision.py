"""The precisions of matrix products, and the choice of one for a device."""

from __future__ import annotations

import torch

from adamae.errors import UserError

# Name of the option -> dtype under torch.autocast; None: float32 throughout.
AUTOCAST: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast_dtype(precision: str) -> torch.dtype | None:
    """Return the autocast dtype of a precision; None for float32.

    Raises:
        UserError: If the precision is unknown.
    """
    if precision not in AUTOCAST:
        raise UserError(f"precision {precision!r}: expected one of {', '.join(AUTOCAST)}")
    return AUTOCAST[precision]


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return float64 for float64, and float32 for every other dtype."""
    # Not torch.promote_types: torch.export of torch 2.6 writes it as an operation that cannot be loaded again.
    return torch.float64 if dtype == torch.float64 else torch.float32


def matmul_dtype(precision: str) -> torch.dtype:
    """Return the dtype of matrix products.

    Raises:
        UserError: If the precision is unknown.
    """
    return autocast_dtype(precision) or torch.float32


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return an autocast context for a precision.

    Raises:
        UserError: If the precision is unknown.
    """
    return autocast_to(device, matmul_dtype(precision))


def autocast_to(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return an autocast context for matrix products in ``dtype``; float32 disables autocast."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def choose_precision(asked: str, device: torch.device) -> str:
    """Resolve "auto" to bf16 on a GPU that supports it, else fp16, and to fp32 on the CPU; return others unchanged.

    GPUs older than Ampere (compute capability below 8) only emulate bf16.
    """
    if asked != "auto":
        return asked
    if device.type == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
