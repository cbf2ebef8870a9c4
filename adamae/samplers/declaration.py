"""Metadata of a sampler for the command line, checkpoints and figures."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adamae.flags import OptionGroup

if TYPE_CHECKING:
    from adamae.samplers.sampler import Sampler


@dataclass(frozen=True)
class Declaration:
    """Registry entry of a sampler.

    It can be created without importing torch, so that ``--help`` is fast.

    Attributes:
        name: Value of ``--mask_type`` and of ``mask_type`` in a model's config.
        sampler: The class, or "module:Class", which is imported on first use.
        summary: A phrase for ``--help``.
        options: Command-line options of the sampler: a frozen dataclass of :func:`~adamae.flags.flag` fields, named as
            the keywords of :meth:`~adamae.samplers.sampler.Sampler.build`. Two samplers may share one.
        label: Name in figures and logs; empty: ``name``.
        method: Name that ``inspect`` prints for a network pre-trained with it; empty: a phrase with ``label``.
        published_ratio: Mask ratio for comparisons; None: that of the sampler it is compared with.
        weight_options: Keywords that determine the sampler's weights: a run can only be resumed with the same values.
        economy: Maps the width of the tokens to option values that make a step cheaper; None: no such options.
    """

    name: str
    sampler: type[Sampler] | str
    summary: str
    options: type[OptionGroup] | None = None
    label: str = ""
    method: str = ""
    published_ratio: float | None = None
    weight_options: tuple[str, ...] = ()
    economy: Callable[[int], dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        """Fill in what follows from the name."""
        object.__setattr__(self, "label", self.label or self.name)
        object.__setattr__(self, "method", self.method or f"masked autoencoder with {self.label} masks")

    @property
    def sampler_class(self) -> type[Sampler]:
        """The sampler class, imported on first use."""
        if not isinstance(self.sampler, str):
            return self.sampler
        module, _, name = self.sampler.partition(":")
        found: type[Sampler] = getattr(importlib.import_module(module), name)
        return found
