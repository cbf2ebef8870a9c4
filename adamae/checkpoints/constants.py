"""Constants of a network that are not in its state dict: LayerNorm epsilons and pixel statistics."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from adamae.errors import UserError
from adamae.layers.pixels import PixelNormalisation

# Norms that are followed by the head of the decoder or of the classifier.
_LAST_NORMS = ("decoder.norm", "fc_norm")
# Epsilon of the LayerNorms in the official code.
PUBLISHED_EPS = 1e-6
# PyTorch's default, which Transformers uses before a head.
PYTORCH_EPS = 1e-5


@dataclass(frozen=True)
class Constants:
    """Constants of a checkpoint's network; None where they are those of the official code.

    Attributes:
        norm_eps: Epsilon of all LayerNorms except those before a head.
        last_norm_eps: Epsilon of the LayerNorm before a head.
        pixel_mean: Mean for each channel, subtracted from pixels in 0..1.
        pixel_std: Std for each channel, by which the difference is divided.
    """

    norm_eps: float | None = None
    last_norm_eps: float | None = None
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Constants:
        """Read the constants from our config of a network.

        Raises:
            UserError: If they are not numbers, see :func:`check_epsilon` and :func:`check_statistics`.
        """
        given: dict[str, Any] = {**(config.get("constants") or {})}
        for name in {"norm_eps", "last_norm_eps"} & given.keys():
            check_epsilon(f"its config has {name} =", given[name])
        if not {"pixel_mean", "pixel_std"}.isdisjoint(given):
            check_statistics("its config", "pixel", given.get("pixel_mean"), given.get("pixel_std"))
            given |= {name: tuple(given[name]) for name in ("pixel_mean", "pixel_std")}
        return cls(**given)

    @classmethod
    def of_model(cls, model: nn.Module) -> Constants:
        """Return the constants of ``model`` that differ from the official code."""
        eps = {last: found for last, found in _shared_eps(model).items() if found != PUBLISHED_EPS}
        mean, std = _pixel_statistics(model)
        return cls(eps.get(False), eps.get(True), mean, std)

    def as_config(self) -> dict[str, Any]:
        """Return JSON values for :meth:`of_config`; empty if all constants are those of the official code."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def adopt(self, model: nn.Module) -> list[str]:
        """Set these constants in ``model``.

        Returns:
            The changes, one sentence each.
        """
        changed, shared = [], _shared_eps(model)
        for last, norm in _norms(model):
            # If the norms differ among each other, as in a Swin, the epsilons belong to the architecture.
            if shared[last] is None:
                continue
            eps = self.last_norm_eps if last else self.norm_eps
            if eps is not None and norm.eps != eps:
                changed.append(f"LayerNorms{' before a head' if last else ''} use epsilon = {eps:g}")
                norm.eps = eps
        pixels = getattr(model, "pixel_norm", None)
        if self.pixel_mean and self.pixel_std and pixels is not None and pixels.mean.numel() == len(self.pixel_mean):
            mean, std = torch.tensor(self.pixel_mean), torch.tensor(self.pixel_std)
            if not (torch.equal(pixels.mean.cpu(), mean) and torch.equal(pixels.std.cpu(), std)):
                pixels.mean.copy_(mean)
                pixels.std.copy_(std)
                changed.append(
                    f"pixels are normalised with mean and std {self.pixel_mean[0]} and {self.pixel_std[0]}, as in "
                    f"the checkpoint"
                )
        return list(dict.fromkeys(changed))


def check_epsilon(what: str, value: Any) -> None:
    """Check the epsilon of LayerNorms.

    Raises:
        UserError: If it is not a number from 0 on; the message begins with ``what``.
    """
    if not isinstance(value, float | int) or not math.isfinite(value) or value < 0:
        raise UserError(f"{what} {reprlib.repr(value)}; expected a small positive number")


def check_statistics(where: str, kind: str, mean: Any, std: Any) -> None:
    """Check the mean and the std of pixels.

    Args:
        where: Where they are stored, for the message.
        kind: What precedes "_mean" and "_std" in their names, for the message.
        mean: Should be a number for each channel.
        std: Should be as many positive numbers.

    Raises:
        UserError: If they are not.
    """
    if not (_are_numbers(mean) and _are_numbers(std) and len(mean) == len(std) and min(std) > 0):
        got = f"{kind}_mean = {reprlib.repr(mean)} and {kind}_std = {reprlib.repr(std)}"
        raise UserError(f"{where} has {got}; expected a number for each channel")


def _are_numbers(values: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and bool(values)
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    )


def _pixel_statistics(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    """Return mean and std of the pixel normalisation; None if a constructor argument sets them."""
    pixels = getattr(model, "pixel_norm", None)
    if pixels is None:
        return None, None
    for imagenet in (True, False):
        usual = PixelNormalisation(pixels.mean.numel(), imagenet)
        if torch.equal(usual.mean, pixels.mean.cpu().float()) and torch.equal(usual.std, pixels.std.cpu().float()):
            return None, None
    return tuple(pixels.mean.tolist()), tuple(pixels.std.tolist())


def _norms(model: nn.Module) -> Iterator[tuple[bool, nn.LayerNorm]]:
    """Yield (is before a head, norm) for every LayerNorm outside the sampler, which has its own epsilon."""
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm) and "sampler." not in name:
            yield name in _LAST_NORMS, module


def _shared_eps(model: nn.Module) -> dict[bool, float | None]:
    """Return the epsilon of LayerNorms before a head (True) and of the others (False); None if mixed or absent."""
    found: dict[bool, set[float]] = {False: set(), True: set()}
    for last, norm in _norms(model):
        found[last].add(norm.eps)
    return {last: next(iter(values)) if len(values) == 1 else None for last, values in found.items()}
