"""Tiny networks in which all weights are random, so that a lost or swapped tensor changes the outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adamae.models import Classifier, Pretrainer, vit_classifier, vit_pretrainer

CLIP = {"img_size": 16, "patch_size": 8, "tubelet_size": 2, "num_frames": 4, "in_chans": 3}
PRETRAIN: dict[str, Any] = {
    **CLIP,
    "encoder_embed_dim": 32,
    "encoder_depth": 2,
    "encoder_num_heads": 4,
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
    "mlp_ratio": 2.0,
    "mask_ratio": 0.5,
}
CLASSIFIER: dict[str, Any] = {**CLIP, "embed_dim": 32, "depth": 2, "num_heads": 4, "mlp_ratio": 2.0, "num_classes": 5}


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Set all parameters to random values that preserve the scale of activations; none stays zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                noise *= 1.5 / parameter[0].numel() ** 0.5
            elif name.endswith("weight"):
                noise = 1 + 0.2 * noise
            parameter.copy_(noise if parameter.dim() > 1 or name.endswith("weight") else 0.3 * noise)
    return model.eval()


def pretrainer(seed: int = 0, **options: Any) -> Pretrainer:
    model = randomise(vit_pretrainer(**{**PRETRAIN, **options}), seed)
    assert isinstance(model, Pretrainer)
    return model


def classifier(seed: int = 0, **options: Any) -> Classifier:
    model = randomise(vit_classifier(**{**CLASSIFIER, **options}), seed)
    assert isinstance(model, Classifier)
    return model


def clip(batch: int = 2, channels: int = 3) -> Tensor:
    """Return a normalised clip (B, C, T, H, W)."""
    return torch.randn(batch, channels, 4, 16, 16, generator=torch.Generator().manual_seed(7))


def bits(state: dict[str, Tensor]) -> dict[str, tuple[Any, ...]]:
    """Return a value that compares equal only for bitwise equal state dicts."""
    return {
        name: (value.dtype, tuple(value.shape), value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        for name, value in state.items()
    }
