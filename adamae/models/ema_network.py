"""An exponential moving average of the network, to measure learning progress (not in the paper).

A learned sampler with the error as reward keeps selecting tokens that cannot be predicted. Learning progress is the
error of an exponential moving average of the weights minus the current error, on the same clip with the same visible
tokens. As a reward it is zero on noise, where both errors are equal.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from adamae.models.decoder import Decoder
from adamae.models.encoder import Encoder
from adamae.models.noise_streams import DECODER, ENCODER
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection

# EMA decay per step: an average over about a hundred steps.
DECAY = 0.99
# Prefix of its entries in a pre-train model's state dict: the name of its attribute there.
PREFIX = "past."


class EmaNetwork(nn.Module):
    """Encoder and decoder with an exponential moving average (EMA) of their weights, which is not trained.

    All arguments are copied.

    Args:
        encoder: Encodes the visible tokens.
        encoder_to_decoder: Maps the encoder's output to the decoder's width.
        decoder: Predicts the target tokens.
        mask_token: (1, 1, D') decoder input for a target token.
    """

    def __init__(
        self, encoder: Encoder, encoder_to_decoder: nn.Module, decoder: Decoder, mask_token: nn.Parameter
    ) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder_to_decoder = copy.deepcopy(encoder_to_decoder)
        self.decoder = copy.deepcopy(decoder)
        self.mask_token = nn.Parameter(mask_token.detach().clone())
        self.requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the weights of a model that has the same parts under the same names."""
        now = dict(model.named_parameters())
        averages = dict(self.named_parameters())
        moved_to = [now[name].to(average.dtype) for name, average in averages.items()]
        # A few kernels for all parameters.
        torch._foreach_lerp_(list(averages.values()), moved_to, 1 - DECAY)

    @torch.no_grad()
    def forward(self, seen: Tensor, selection: TokenSelection, noise: SampleNoise) -> Tensor:
        """Predict the target tokens.

        Args:
            seen: (B, V, P) standardised pixels of the visible tokens.
            selection: Indices of visible and target tokens.
            noise: Noise for stochastic depth.

        Returns:
            (B, M, P) predicted pixels.
        """
        latent = self.encoder(self.encoder.patch_embed(seen), noise.fold_in(ENCODER), selection)
        visible = self.encoder_to_decoder(latent, selection)
        decoded = self.decoder.decode(visible, self.mask_token, selection, noise.fold_in(DECODER))
        return self.decoder.predict(decoded)
