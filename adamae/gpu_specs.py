"""What GPUs can do at most, from their makers' data sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adamae.errors import UserError

# Exponentials of one multiprocessor in a clock.
_EXPONENTIALS = 16


@dataclass(frozen=True)
class Gpu:
    """The upper limits of a device.

    Attributes:
        title: As its maker calls it.
        flops: Dense operations per second of matrix products by precision: "bf16", "fp16", "tf32" and "fp32".
        bandwidth: Bytes per second between the device and its memory.
        exponentials: Per second, for the softmax inside of attention.
        launch: Seconds that a kernel costs besides its work.
        memory: Bytes; 0 where it is not the limit.
    """

    title: str
    flops: Mapping[str, float]
    bandwidth: float
    exponentials: float
    launch: float = 4e-6
    memory: int = 0

    @property
    def best_half(self) -> str:
        """The half precision that it computes in: "bf16" where it has it."""
        return "bf16" if "bf16" in self.flops else "fp16"

    def peak(self, precision: str) -> float:
        """Operations per second of matrix products.

        Raises:
            UserError: If it has no such products.
        """
        if precision not in self.flops:
            raise UserError(f"precision {precision!r}: {self.title} has {', '.join(self.flops)}")
        return self.flops[precision]


def _gpu(
    title: str, half: float, tf32: float | None, fp32: float, terabytes: float, gigabytes: int, per_clock: int
) -> Gpu:
    """A card.

    Args:
        title: As its maker calls it.
        half: Dense TFLOP/s in half precision.
        tf32: The same in TF32; None for a card without TF32 and bf16.
        fp32: The same outside of the tensor cores.
        terabytes: Per second, of its memory.
        gigabytes: Of memory.
        per_clock: Operations of one multiprocessor in a clock, in half precision.
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
    """Those of the table."""
    return tuple(GPUS)
