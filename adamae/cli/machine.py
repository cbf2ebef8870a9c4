"""What the machine decides where the person left it open: engine, precision, worker processes."""

from __future__ import annotations

import os

import torch

from adamae.options import DataOptions

_MOST_WORKERS = 8


def choose_engine(asked: str, world_size: int) -> str:
    """Name of the engine: what was asked for; for "auto" plain torch for one process and DeepSpeed for several."""
    if asked != "auto":
        return asked
    return "deepspeed" if world_size > 1 else "plain"


def choose_precision(asked: str, device: torch.device) -> str:
    """Name of the precision: what was asked for; for "auto" bf16 where the GPU has it and fp32 on the CPU."""
    if asked != "auto":
        return asked
    if device.type == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def choose_workers(data: DataOptions) -> int:
    """Worker processes: what was asked for, else this process's share of the cores but one, at most eight."""
    if data.num_workers is not None:
        return data.num_workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # As torchrun and the deepspeed launcher call it; under Slurm a task has cores of its own.
    share = cores // int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)
    return min(max(share - 1, 1), _MOST_WORKERS)
