"""Clips, weights and noise of the golden numbers of motion-aware selection, computed by formula."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from adamae.benchmark.arithmetic import count_multiply_adds
from adamae.grid import TokenGrid
from adamae.layers.tokenizer import TubeletTokenizer
from adamae.models import Pretrainer
from adamae.randomness import SampleNoise
from tests.golden import recipe

GOLDEN = recipe.load("mats.json")


class FormulaNoise(SampleNoise):
    """The noise of the golden file for every use: ((3571 i + 1237 n + 17) mod 7919) / 7919."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def fold_in(self, number: int) -> FormulaNoise:
        """Return the same noise."""
        return self

    def uniform(self, *shape: int) -> Tensor:
        """Return noise (B, slots) float32."""
        (slots,) = shape
        samples, slot = np.arange(self.batch)[:, None], np.arange(slots)[None]
        return torch.from_numpy((((3571 * slot + 1237 * samples + 17) % 7919) / 7919).astype(np.float32))


class GivenNoise(FormulaNoise):
    """Noise given by a test."""

    def __init__(self, noise: Tensor) -> None:
        super().__init__(len(noise))
        self.noise = noise

    def uniform(self, *shape: int) -> Tensor:
        """Return the given noise."""
        assert self.noise.shape[1:] == shape
        return self.noise


def embeddings() -> tuple[Tensor, TokenGrid]:
    """Return tokens (2, 48, 5) and their grid of 8 x 2 x 3."""
    j = np.arange(2 * 48 * 5, dtype=np.float64)
    values = (np.sin(0.37 * j) + np.fmod(0.01 * j, 0.7)).astype(np.float32)
    return torch.from_numpy(values).view(2, 48, 5), TokenGrid(8, 2, 3, 2, 16)


def video(frames: int, size: int) -> Tensor:
    """Return a video (1, T, H, W, 3) float32 of a bright spot that moves over a background of waves."""
    c, t, y, x = np.meshgrid(np.arange(3), np.arange(frames), np.arange(size), np.arange(size), indexing="ij")
    column = 0.1 * size + (0.8 * size / frames) * t
    row = 0.5 * size + 0.13 * size * np.sin(0.5 * t)
    spot = 0.6 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * (size / 16) ** 2))
    ground = 0.5 + 0.25 * np.sin(0.07 * x + 0.11 * y + c) + 0.05 * np.sin(0.013 * (3 * x + 7 * y) + 0.9 * t * (1 + c))
    return torch.from_numpy((ground + spot).astype(np.float32)).permute(1, 2, 3, 0).unsqueeze(0)


def tokenizer(width: int) -> TubeletTokenizer:
    """Build a tokenizer with the formula's weights."""
    made = TubeletTokenizer(2, 16, 3, width)
    weight = 0.05 * np.sin(0.137 * np.arange(made.proj.weight.numel()) + 0.1)
    with torch.no_grad():
        made.proj.weight.copy_(torch.from_numpy(weight.reshape(made.proj.weight.shape)))
        assert made.proj.bias is not None
        made.proj.bias.copy_(0.01 * torch.arange(width))
    return made


def video_tokens(frames: int, size: int, width: int) -> tuple[Tensor, TokenGrid]:
    """Return tokens (1, N, width) of the formula's clip, with pixels that are not normalised, and their grid."""
    grid = TokenGrid.of(frames, size, size, 2, 16)
    with torch.no_grad():
        return tokenizer(width)(grid.patchify(video(frames, size))), grid


def fill(model: nn.Module) -> None:
    """Set the weights of ``model`` by the formula, from the names in its state dict in alphabetical order."""
    state = {}
    for place, (name, value) in enumerate(sorted(model.state_dict().items())):
        filled = 0.05 * np.sin(0.37 * np.arange(value.numel()) + 1.3 * place)
        if "norm" in name and name.endswith(".weight"):
            filled = filled + 1
        state[name] = torch.from_numpy(filled.reshape(value.shape).astype(np.float32))
    model.load_state_dict(state)


def standardised(clip: Tensor) -> Tensor:
    """Normalise (1, T, H, W, 3) by ImageNet's mean and std to (1, 3, T, H, W)."""
    mean, std = (torch.tensor(v.reshape(3, 1, 1, 1), dtype=torch.float32) for v in (recipe.MEAN, recipe.STD))
    return ((clip.permute(0, 4, 1, 2, 3) - mean) / std).float()


def published_multiply_adds(model: Pretrainer) -> int:
    """Count the MACs of one clip's forward pass in the official code.

    The official code embeds all patches once, even if they are not used, and the decoder's last block computes all
    tokens, although only the targets are predicted.

    Args:
        model: The model, on the meta device.
    """
    last = model.decoder.blocks[-1]
    embedded, asked = [], []
    hooks = [
        model.encoder.patch_embed.register_forward_pre_hook(lambda _, given: embedded.append(given[0])),
        last.register_forward_pre_hook(lambda _, given: asked.append(given)),
    ]
    count = count_multiply_adds(model)
    for hook in hooks:
        hook.remove()
    counters = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with torch.no_grad(), counters[0]:
        for pixels in embedded:
            model.encoder.patch_embed(pixels)
        last(*asked[0])
    with torch.no_grad(), counters[1]:
        model.encoder.patch_embed(pixels.new_empty(1, model.grid.num_tokens, pixels.shape[2]))
        last(*asked[0][:2])
    here, there = (counter.get_total_flops() // 2 for counter in counters)
    return count - here + there
