"""Peak performance of GPUs from their vendors' data sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adamae.errors import UserError

# Exponentials per multiprocessor and clock cycle.
_EXPONENTIALS = 16


@dataclass(frozen=True)
class Gpu:
    """Peak performance of a device.

    Attributes:
        title: The vendor's name of the device.
        flops: Dense FLOP/s of matrix products by precision: "bf16", "fp16", "tf32" and "fp32".
        bandwidth: Memory bandwidth in bytes per second.
        exponentials: Exponentials per second, for the softmax in attention.
        launch: Overhead of a kernel launch in seconds.
        memory: Memory in bytes; 0: not a limit.
    """

    title: str
    flops: Mapping[str, float]
    bandwidth: float
    exponentials: float
    launch: float = 4e-6
    memory: int = 0

    @property
    def best_half(self) -> str:
        """The half precision to use: "bf16" if the device supports it, else "fp16"."""
        return "bf16" if "bf16" in self.flops else "fp16"

    def peak(self, precision: str) -> float:
        """Return the FLOP/s of matrix products.

        Raises:
            UserError: If the device does not support the precision.
        """
        if precision not in self.flops:
            raise UserError(f"precision {precision!r}: {self.title} has {', '.join(self.flops)}")
        return self.flops[precision]


def _gpu(
    title: str, half: float, tf32: float | None, fp32: float, terabytes: float, gigabytes: int, per_clock: int
) -> Gpu:
    """Build the specification of a GPU.

    Args:
        title: The vendor's name of the GPU.
        half: Dense TFLOP/s in half precision.
        tf32: Dense TFLOP/s in TF32; None for a GPU without TF32 and bf16.
        fp32: TFLOP/s in float32 without tensor cores.
        terabytes: Memory bandwidth in TB/s.
        gigabytes: Memory in GB.
        per_clock: FLOPs per multiprocessor and clock cycle in half precision.
    """
    flops = {"fp16": half * 1e12, "fp32": fp32 * 1e12}
    if tf32 is not None:
        flops = {"bf16": half * 1e12, **flops, "tf32": tf32 * 1e12}
    return Gpu(
        title=title,
        flops=flops,
        bandwidth=terabytes * 1e12,
        exponentials=half * 1e12 / per_clock * _EXPONENTIALS,
        memory=gigabytes * 10**9,
    )


GPUS: Mapping[str, Gpu] = {
    "h100": _gpu("H100 SXM", 989.4, 494.7, 66.9, 3.35, 80, 4096),
    "h200": _gpu("H200 SXM", 989.4, 494.7, 66.9, 4.8, 141, 4096),
    "a100": _gpu("A100 SXM", 312.0, 156.0, 19.5, 2.04, 80, 2048),
    "v100": _gpu("V100 SXM2", 125.0, None, 15.7, 0.9, 32, 1024),
}


def gpu_names() -> tuple[str, ...]:
    """Return the names of the GPUs in the table."""
    return tuple(GPUS)
