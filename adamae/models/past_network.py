"""An average of the network over its past steps, which tells where it has learned something (not in the paper).

A learned sampler that is rewarded by errors keeps looking at what cannot be predicted. Rewarded by learning progress,
the error of an exponential moving average of the weights less the error now, on the same clip from the same visible
tokens, it gets nothing for noise: both are equally wrong.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from adamae.models.decoder import Decoder
from adamae.models.encoder import Encoder
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection

# Of the average per step: a memory of about a hundred steps.
DECAY = 0.99


class PastNetwork(nn.Module):
    """Encoder and decoder with averaged weights, which are no parameters to be trained.

    Args:
        encoder: Copied, as the others are.
        encoder_to_decoder: Between the two.
        decoder: Its prediction is what is compared.
        mask_token: (1, 1, D') what the decoder reads for a target token.
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
    def follow(self, model: nn.Module) -> None:
        """Move towards the weights of a model that has the same parts by the same names."""
        now = dict(model.named_parameters())
        averages = dict(self.named_parameters())
        moved_to = [now[name].to(average.dtype) for name, average in averages.items()]
        # A few kernels for all of them.
        torch._foreach_lerp_(list(averages.values()), moved_to, 1 - DECAY)

    @torch.no_grad()
    def forward(self, seen: Tensor, selection: TokenSelection, noise: SampleNoise) -> Tensor:
        """Predict.

        Args:
            seen: (B, V, P) standardised pixels of the visible tokens.
            selection: Where they and the targets lie.
            noise: Of the dropping of blocks.

        Returns:
            (B, M, P) predicted pixels.
        """
        latent = self.encoder(self.encoder.patch_embed(seen), noise.fold_in(1), selection)
        visible = self.encoder_to_decoder(latent, selection)
        decoded = self.decoder.decode(visible, self.mask_token, selection, noise.fold_in(2))
        return self.decoder.predict(decoded)
