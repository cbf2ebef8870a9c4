"""Images, weights, masks and noise of the golden numbers of uniform masks, computed by formula."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.losses.reconstruction import token_error
from adamae.models import Pretrainer
from adamae.models.naming import reference_parameters
from adamae.randomness import SampleNoise
from adamae.samplers.cells import PATTERNS, CellSampler
from adamae.selection import TokenSelection, complement, gather_tokens
from tests.golden import recipe

GOLDEN = recipe.load("um_mae.json")
STATE_DICTS = recipe.load("um_mae_state_dicts.json")


def formula_noise(batch: int, count: int) -> Tensor:
    """Return noise (B, count) float64: ((3571 i + 1237 n + 17) mod 7919) / 7919."""
    n, i = np.arange(batch)[:, None], np.arange(count)[None]
    return torch.from_numpy(((3571 * i + 1237 * n + 17) % 7919) / 7919)


def cell_choices(batch: int, cells: int) -> Tensor:
    """Return (B, cells) int64: sub-position (3 k + n + (k k mod 3)) mod 4 of cell k of sample n."""
    n, k = np.arange(batch)[:, None], np.arange(cells)[None]
    return torch.from_numpy((3 * k + n + (k * k) % 3) % 4)


def cell_order_units(side: int, batch: int) -> Tensor:
    """Return (B, cells) int64: the visible units of the formula's masks, in the order of their cells."""
    choices = cell_choices(batch, (side // 2) ** 2)
    table = PATTERNS["tube"].tokens(image_grid(side)).expand(batch, -1, -1)
    return table.gather(2, choices.unsqueeze(2)).squeeze(2)


def image_grid(side: int) -> TokenGrid:
    """Return the grid of an image of ``side`` x ``side`` units."""
    return TokenGrid(1, side, side, 1, 16)


def selection(model: Pretrainer, batch: int = 2) -> TokenSelection:
    """Return the formula's masks and secondary masks for a model on images."""
    grid, sampler = model.grid, model.sampler
    visible = cell_order_units(grid.h, batch).sort(dim=1).values
    assert isinstance(sampler, CellSampler)
    if model.encoder.family == "mae_vit":
        secondary = visible.gather(1, vit_token_slots(batch, visible.shape[1]))
    else:
        secondary = sampler.secondary_of(visible, grid, formula_noise(batch, grid.num_tokens))
    return TokenSelection(visible, complement(visible, grid.num_tokens), secondary=secondary)


def vit_token_slots(batch: int, visible: int) -> Tensor:
    """Return (B, S), ascending: visible tokens that the official ViT replaces, those with a late argsort(noise)."""
    order = formula_noise(batch, visible).argsort(dim=1)
    kept = int(visible * 0.75)
    return (order >= kept).nonzero()[:, 1].view(batch, visible - kept)


def fill(model: Pretrainer) -> None:
    """Set the formula's weights, by the official names of the trainable parameters in alphabetical order."""
    for p, (name, parameter) in enumerate(sorted(reference_parameters(model))):
        values = 0.2 * np.sin(0.37 * np.arange(parameter.numel(), dtype=np.float64) + 1.3 * p)
        values += "norm" in name and name.endswith(".weight")
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values).view(parameter.shape))


def images(size: int, batch: int = 2) -> Tensor:
    """Return images (B, 3, 1, size, size) float64 that count as normalised."""
    n, c, y, x = np.meshgrid(*(np.arange(count) for count in (batch, 3, size, size)), indexing="ij")
    values = np.sin(0.05 * x + 0.08 * y + c) + 0.5 * np.sin(0.021 * x * (1 + c) - 0.017 * y + n)
    return torch.from_numpy(values).unsqueeze(2)


def encoded(model: Pretrainer, clips: Tensor, chosen: TokenSelection) -> Tensor:
    """Return the encoder's output (B, L, D) for the visible units."""
    seen = model.encoder.patch_embed(gather_tokens(model.pixels(clips), chosen.visible))
    latent: Tensor = model.encoder(seen, SampleNoise(torch.arange(len(clips))), chosen)
    return latent


def whole_forward(model: Pretrainer, clips: Tensor, chosen: TokenSelection) -> tuple[Tensor, Tensor]:
    """Return the latent (B, L, D) and the prediction (B, N, P) of all tokens, the visible ones first."""
    latent, decoder = encoded(model, clips, chosen), model.decoder
    tokens = model.encoder_to_decoder(latent, chosen)
    # As in the decoder, but the last block computes all tokens.
    table = decoder.positions.to(tokens).expand(len(tokens), -1, -1)
    extra, table = table[:, : decoder.num_extra], table[:, decoder.num_extra :]
    x = torch.cat(
        (
            tokens + torch.cat((extra, gather_tokens(table, chosen.visible)), dim=1),
            model.mask_token + gather_tokens(table, chosen.target),
        ),
        dim=1,
    )
    for block in decoder.blocks:
        x = block(x, SampleNoise(torch.arange(len(clips))))
    return latent, decoder.predict(x[:, decoder.num_extra :])


def loss(model: Pretrainer, clips: Tensor, latent: Tensor, chosen: TokenSelection) -> Tensor:
    """Return the 0-dim loss, computed with the model's own decoder."""
    tokens = model.encoder_to_decoder(latent, chosen)
    prediction = model.decoder(tokens, model.mask_token, chosen, SampleNoise(torch.arange(len(clips))))
    return token_error(prediction, model.target(model.pixels(clips), chosen)).mean()
