"""Imports torchvision, and mends that where its compiled part does not fit torch.

torchvision's wheel is built against the CUDA release of torch. Beside a CPU-only torch its compiled operators do not
load, and the import stops at the first one it looks up (``torchvision::nms``). timm imports torchvision, so it stops
too. Declaring the two operators without an implementation is enough: everything then works but these operators, JPEG
files and ``torchvision.io``, of which we use none.

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
# A library forgets its schemas when it is collected, so it has to stay alive as long as the process.
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
