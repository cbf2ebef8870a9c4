"""``torch.compile`` of a model, on the releases of torch for which it is tested."""

from __future__ import annotations

import torch
from torch import nn

from adamae.errors import UserError

# Oldest release on which the tests find one graph in a step (tests/models/test_compile.py), and on which several
# processes train it (tests/training/test_compilation.py).
OLDEST = "2.6"


def check_compiler() -> None:
    """Make sure that torch is new enough for ``torch.compile`` of our models.

    Raises:
        UserError: If it is not.
    """
    if torch.__version__ < OLDEST:
        raise UserError(f"--compile: torch {torch.__version__} is installed, expected {OLDEST} or newer")


def compile_in_place(model: nn.Module) -> None:
    """Compile a model's forward and backward pass at their first use; its parameters keep their names.

    Raises:
        UserError: If torch is too old.
    """
    check_compiler()
    if torch.__version__ < "2.13":
        # Graphs cut at DDP's buckets fail on torch 2.6 where activations are checkpointed, and work on 2.13; the
        # releases between were not tried. With whole graphs gradients are exchanged when the backward pass is done.
        torch._dynamo.config.optimize_ddp = False
    model.compile()
