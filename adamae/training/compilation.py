"""``torch.compile`` of a model, on the torch releases for which it is tested."""

from __future__ import annotations

import torch
from torch import nn

from adamae.errors import UserError

# Oldest release for which the tests verify a single graph per step (tests/models/test_compile.py) and training with
# several processes (tests/training/test_compilation.py).
OLDEST = "2.6"


def check_compiler() -> None:
    """Check that torch is new enough for ``torch.compile`` of our models.

    Raises:
        UserError: If torch is too old.
    """
    if torch.__version__ < OLDEST:
        raise UserError(f"--compile: torch {torch.__version__} is installed, expected {OLDEST} or newer")


def compile_in_place(model: nn.Module) -> None:
    """Compile a model's forward and backward pass on first use; the names of its parameters do not change.

    Raises:
        UserError: If torch is too old.
    """
    check_compiler()
    if torch.__version__ < "2.13":
        # Splitting graphs at DDP's buckets fails on torch 2.6 with activation checkpointing and works on 2.13; releases
        # in between were not tested. Without splitting, gradients are exchanged after the complete backward pass.
        torch._dynamo.config.optimize_ddp = False
    model.compile()
