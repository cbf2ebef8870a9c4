"""Video masked autoencoders with learned token sampling.

    import adamae

    model = adamae.create_model("adamae_base", mask_ratio=0.95)
    out = model(video)  # (B, T, H, W, C) uint8, or (B, C, T, H, W) standardised
    out.prediction, out.selection, out.token_error, out.losses

Importing the package is cheap: the names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from adamae.version import __version__

if TYPE_CHECKING:
    from adamae.checkpoints.loading import load_weights as load_weights
    from adamae.errors import UserError as UserError
    from adamae.models.registry import create_model as create_model

_HOMES = {
    "UserError": "adamae.errors",
    "create_model": "adamae.models.registry",
    "load_weights": "adamae.checkpoints.loading",
}

__all__ = ["UserError", "__version__", "create_model", "load_weights"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
