"""Numbers that a network computes with and that no state dict holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from adamae.layers.pixels import PixelNormalisation
from adamae.models import Classifier, Pretrainer
from adamae.models.families import family_of

# After these the decoder's or the classifier's head follows.
_LAST_NORMS = ("decoder.norm", "fc_norm")
_PUBLISHED_EPS = 1e-6


@dataclass(frozen=True)
class Constants:
    """What a checkpoint's network computes with; None where it is as in the published code.

    Attributes:
        norm_eps: Epsilon of the LayerNorms but the last ones.
        last_norm_eps: Epsilon of the one before a head.
        pixel_mean: What is subtracted from pixels in 0..1, for each channel.
        pixel_std: What they are then divided by.
    """

    norm_eps: float | None = None
    last_norm_eps: float | None = None
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Constants:
        """What our description of a network says."""
        given: dict[str, Any] = {**(config.get("constants") or {})}
        for name in ("pixel_mean", "pixel_std"):
            if name in given:
                given[name] = tuple(given[name])
        return cls(**given)

    @classmethod
    def of_model(cls, model: nn.Module) -> Constants:
        """What ``model`` computes with, where it is not as published."""
        eps = {last: found for last, found in _shared_eps(model).items() if found != _PUBLISHED_EPS}
        mean, std = _pixel_statistics(model)
        return cls(eps.get(False), eps.get(True), mean, std)

    def as_config(self) -> dict[str, Any]:
        """JSON for :meth:`of_config`; empty where all is as published."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def adopt(self, model: nn.Module) -> list[str]:
        """Make ``model`` compute with these numbers.

        Returns:
            What was changed, one sentence each.
        """
        changed, shared = [], _shared_eps(model)
        for last, norm in _norms(model):
            # Where norms differ, as in a Swin, the epsilons belong to the architecture.
            if shared[last] is None:
                continue
            eps = self.last_norm_eps if last else self.norm_eps
            if eps is not None and norm.eps != eps:
                changed.append(f"LayerNorms{' before a head' if last else ''} use epsilon = {eps:g}")
                norm.eps = eps
        pixels = getattr(model, "pixel_values", None)
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


def _pixel_statistics(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    """Mean and deviation where they are none that a constructor's argument gives."""
    pixels = getattr(model, "pixel_values", None)
    if pixels is None:
        return None, None
    for imagenet in (True, False):
        usual = PixelNormalisation(pixels.mean.numel(), imagenet)
        if torch.equal(usual.mean, pixels.mean.cpu().float()) and torch.equal(usual.std, pixels.std.cpu().float()):
            return None, None
    return tuple(pixels.mean.tolist()), tuple(pixels.std.tolist())


def _norms(model: nn.Module) -> Iterator[tuple[bool, nn.LayerNorm]]:
    """Every LayerNorm outside the sampler, whose epsilon is its own, and whether it is a last one."""
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm) and "sampler." not in name:
            yield name in _LAST_NORMS, module


def _shared_eps(model: nn.Module) -> dict[bool, float | None]:
    """The epsilon of the last LayerNorms (True) and of the others (False); None where they differ or there are none."""
    found: dict[bool, set[float]] = {False: set(), True: set()}
    for last, norm in _norms(model):
        found[last].add(norm.eps)
    return {last: next(iter(values)) if len(values) == 1 else None for last, values in found.items()}


def describe_network(model: nn.Module, options: Mapping[str, Any]) -> dict[str, Any]:
    """What has to stand beside weights, so that the network can be built from the file alone.

    A run writes it as ``meta["model"]`` of its checkpoints; converted files carry it in their metadata.

    Args:
        model: The network.
        options: Arguments that its constructor (``Pretrainer`` or ``Classifier``) got; plain values.

    Returns:
        JSON: ``{"options": {...}}``, ``"constants"`` where the network computes with others than the published, and
        ``"family"`` where it is no plain ViT.
    """
    constants = Constants.of_model(model).as_config()
    family = family_of(model).name if isinstance(model, Pretrainer | Classifier) else "vit"
    return {
        "options": dict(options),
        **({"constants": constants} if constants else {}),
        **({} if family == "vit" else {"family": family}),
    }
