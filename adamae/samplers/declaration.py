"""What the command line, files and pictures know of a sampler."""

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
    """A sampler by its name.

    Everything here can be told without importing torch, so that ``--help`` is fast.

    Attributes:
        name: Value of ``--mask_type`` and of ``mask_type`` in a model's config.
        sampler: The class, or "module:Class", which is imported when it is first needed.
        summary: A phrase for ``--help``.
        options: Options that it brings: a frozen dataclass of :func:`~adamae.flags.flag` fields, named as the keywords
            of :meth:`~adamae.samplers.sampler.Sampler.build`. Two samplers may share one.
        label: What pictures and logs call it; empty: its name.
        method: What ``inspect`` calls a network that was pre-trained with it; empty: by its label.
        published_ratio: Mask ratio to compare with; None: that of whatever it is compared with.
        weight_options: Names of the keywords that its weights are made for: a run resumes with the same ones only.
        economy: From the width of its tokens to values of its options that make a step cheaper; None: there are none.
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
        """The class, imported if need be."""
        if not isinstance(self.sampler, str):
            return self.sampler
        module, _, name = self.sampler.partition(":")
        found: type[Sampler] = getattr(importlib.import_module(module), name)
        return found
