"""Imports torchvision with a workaround for compiled operators that do not match torch.

torchvision's wheel is built against the CUDA release of torch. With a CPU-only torch its compiled operators do not
load, and the import fails at the first one it looks up (``torchvision::nms``). timm imports torchvision, so it fails,
too. Declaring the two operators without an implementation is enough: everything then works except these operators, JPEG
files and ``torchvision.io``, none of which we use.

Import this module before torchvision or timm::

    from adamae import torchvision_import
"""

from __future__ import annotations

import importlib
import sys

import torch

_MISSING = "operator torchvision::nms does not exist"
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# The schemas are removed when the library object is garbage-collected, so it must live as long as the process.
_library: torch.library.Library | None = None


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_operators()
        importlib.import_module("torchvision")


def _declare_operators() -> None:
    global _library
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        _library.define(schema)


_import_torchvision()
