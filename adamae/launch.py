"""Launchers: environment variables of torchrun, deepspeed and ``srun``, the rendezvous address, preemption signals."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from adamae.errors import UserError

# Signals that ask a run to stop. They are often sent to every process of a job.
PREEMPTION_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# Slurm uses step ids from here on for the batch script and interactive shells, which are not one of several tasks.
_FIRST_SPECIAL_SLURM_STEP = 0xFFFFFFF0


@dataclass(frozen=True)
class Launch:
    """Ranks of this process as set by the launcher.

    Attributes:
        rank: Rank of this process, from 0.
        size: Number of processes.
        local_rank: Rank of this process on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def detect(cls, environment: Mapping[str, str] | None = None) -> Launch:
        """Read the variables of torchrun, deepspeed or ``srun``; without them there is a single process.

        Raises:
            UserError: If a variable is not a number or the ranks do not fit the size.
        """
        env = os.environ if environment is None else environment
        if "RANK" in env and "WORLD_SIZE" in env:
            launch = cls(_number(env, "RANK"), _number(env, "WORLD_SIZE"), _number(env, "LOCAL_RANK", "0"))
        elif _is_slurm_task(env):
            size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in env else "SLURM_NTASKS"
            launch = cls(_number(env, "SLURM_PROCID"), _number(env, size), _number(env, "SLURM_LOCALID", "0"))
        else:
            launch = cls()
        if not 0 <= launch.rank < launch.size:
            raise UserError(
                f"the launcher gave rank {launch.rank} of {launch.size} processes: expected 0 <= rank < size"
            )
        return launch

    def export(self, gpu: int | None) -> None:
        """Set the environment variables that torch and DeepSpeed read; Slurm does not set them.

        Args:
            gpu: Index of this process's GPU, exported as the local rank because DeepSpeed uses it as the index; None
                without a GPU.
        """
        local = self.local_rank if gpu is None else gpu
        os.environ.update(RANK=str(self.rank), WORLD_SIZE=str(self.size), LOCAL_RANK=str(local))
        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST")
        if "MASTER_ADDR" not in os.environ:
            os.environ["MASTER_ADDR"] = first_slurm_host(nodes) if nodes and self.size > 1 else "127.0.0.1"
        if "MASTER_PORT" not in os.environ:
            os.environ["MASTER_PORT"] = str(20000 + int(os.environ.get("SLURM_JOB_ID", "9500")) % 20000)


def requeued_slurm_job() -> str | None:
    """Return the id of this process's Slurm job if Slurm has requeued it."""
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    return os.environ.get("SLURM_JOB_ID") if restarts.strip("0") else None


def meeting_place() -> str:
    """Return address and port of the rendezvous, as set by :meth:`Launch.export`."""
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"


def _number(env: Mapping[str, str], name: str, default: str | None = None) -> int:
    text = env.get(name, default)
    try:
        return int(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UserError(f"environment variable {name} = {text!r}: expected an integer") from None


def _is_slurm_task(env: Mapping[str, str]) -> bool:
    step = env.get("SLURM_STEP_ID", "")
    return "SLURM_PROCID" in env and step.isdigit() and int(step) < _FIRST_SPECIAL_SLURM_STEP


def first_slurm_host(node_list: str) -> str:
    """Return the first host of Slurm's compressed list: ``gpu03`` for ``gpu[03-05,9],cpu1``."""
    match = re.match(r"(?:[^,\[\]]+|\[[^\[\]]+\])+", node_list)
    if match is None:
        raise UserError(f"SLURM_NODELIST = {node_list!r}: expected a list of host names")
    # Keep the first number of every range and list in brackets.
    return re.sub(r"\[([^,\-\]]+)[^\]]*\]", r"\1", match[0])
