"""Which tokens to look at: every strategy behind one contract (:mod:`adamae.samplers.sampler`), and a registry of them.

Importing this does not import torch; the samplers themselves are imported when they are used.
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
