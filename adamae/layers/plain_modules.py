"""Whether a module may be replaced by a fused operation on its parameters."""

from __future__ import annotations

from torch import nn


def is_plain(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a call of ``module`` is exactly ``forward`` of one of ``kinds``.

    It is not for a module put in its place (LoRA, quantisation), for a patched ``forward``, and with hooks, which
    observe calls or recompute a pruned weight. Such a module must be called.
    """
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    # By forward, not by type: a parametrized module has a class of its own and the same forward.
    return (
        any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)
        and "forward" not in module.__dict__
        and not any(hooks)
    )
