"""Token samplers: all implement :class:`adamae.samplers.sampler.Sampler` and are listed in a registry.

Importing this package does not import torch; the samplers are imported when they are used.
"""

from adamae.samplers.declaration import Declaration
from adamae.samplers.registry import (
    DEFAULT,
    SAMPLERS,
    build_sampler,
    declaration_of,
    declared,
    mask_types,
    register,
)

__all__ = [
    "DEFAULT",
    "SAMPLERS",
    "Declaration",
    "build_sampler",
    "declaration_of",
    "declared",
    "mask_types",
    "register",
]
