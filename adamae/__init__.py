"""Video masked autoencoders with learned token sampling.

    import adamae

    model = adamae.create_model("adamae_base", mask_ratio=0.95)
    out = model(video)  # (B, T, H, W, C) uint8, or (B, C, T, H, W) standardised
    out.prediction, out.selection, out.token_error, out.losses

Importing the package is cheap: the names below and the subpackages are imported on first use.
"""

from __future__ import annotations

import importlib
import importlib.util
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
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    module = f"{__name__}.{name}"
    # Private names are asked for by protocols (copy, inspect), and importing __main__ would run the program.
    if name.startswith("_") or importlib.util.find_spec(module) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(module)


def __dir__() -> list[str]:
    return sorted(__all__)
