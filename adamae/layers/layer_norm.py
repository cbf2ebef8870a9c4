"""LayerNorm in half precision: with exact gradients on a CPU, without casts to float32 on a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamae.layers.half_precision import half_on_cpu, half_on_gpu, without_autocast


class LayerNorm(nn.LayerNorm):
    """``nn.LayerNorm`` whose output is in half precision if its input is, also under autocast.

    On a CPU it is computed in float32, because torch's CPU kernels sum the gradients of the weight and the bias over
    all rows in half precision: half of the bias's gradient is lost with a few thousand rows, and nearly all of it with
    a hundred thousand.

    On a GPU it is computed by the kernels for half precision. They read and write half precision, but compute each row
    and sum over all rows in float32 (accumulation type ``T_ACC`` in torch's layer_norm_kernel.cu), so only the results
    are rounded, as those of matrix products are. Autocast would run the norm in float32, with a cast before and one
    after: 20 bytes for each value instead of 4. The kernels require weights of the input's dtype.

    torch.compile fuses the casts with the norm, so there it is computed in float32.

    Args:
        dim: Width of the normalised axis.
        eps: Added to the variance; the official code uses 1e-6 almost everywhere.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__(dim, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same shape."""
        if half_on_gpu(x) and not torch.compiler.is_compiling():
            with without_autocast(x):
                weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
                return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
        if half_on_cpu(x) or half_on_gpu(x):
            # The weights, too: a model that was cast as a whole has them in half precision.
            weight, bias = self.weight.float(), self.bias.float()
            return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)
        return super().forward(x)
