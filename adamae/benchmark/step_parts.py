"""Parts of a pre-train step, each with its own forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from adamae.losses.reconstruction import token_error
from adamae.losses.sampling import sampling_loss
from adamae.models import Pretrainer
from adamae.models.decoder_budget import draw_part
from adamae.precision import autocast_to
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection, gather_tokens


def step_parts(model: Pretrainer, clips: Tensor, precision: torch.dtype) -> dict[str, Callable[[], object]]:
    """Return callables that run one part of the step each, on inputs with the same shapes as in the step.

    Args:
        model: The model, in training mode.
        clips: (B, T, H, W, C) uint8.
        precision: Autocast dtype; float32 disables autocast.
    """
    noise = SampleNoise(torch.arange(len(clips), device=clips.device))
    autocast = autocast_to(clips.device, precision)

    def decoded_part(selection: TokenSelection) -> TokenSelection:
        return draw_part(selection, model.decoder_budget, noise) if model.decoder_budget < 1 else selection

    with torch.no_grad(), autocast:
        pixels, _ = model.frame_choice.shorten(model.pixels(clips), model.encoder.patch_embed.exact, noise, True)
        tokens = model.tokens_for(model.sampler, pixels)
        seen, selection = model.select_tokens(pixels, noise, None)
        selection = decoded_part(selection)
        latent = model.encoder(seen, noise, selection)
        prediction = model.decoder(model.encoder_to_decoder(latent, selection), model.mask_token, selection, noise)

    def leaf(x: Tensor) -> Tensor:
        return x.detach().clone().requires_grad_()

    def tokenizer() -> Tensor:
        chosen_from = model.tokens_for(model.sampler, pixels)
        taught = model.sampler.teaches_tokenizer
        return chosen_from if taught else model.embed(gather_tokens(pixels, selection.visible))

    def losses() -> Tensor:
        error = token_error(leaf(prediction), model.target(pixels, selection), model.reconstruction_loss)
        return error.mean()

    def sampler() -> Tensor | None:
        chosen = model.sampler(leaf(tokens), model.grid, noise)
        if chosen.log_probs is None:
            return None
        part = decoded_part(chosen)
        reward = chosen.log_probs.new_ones(part.target.shape)
        return sampling_loss(
            part, reward, reduction=model.sampling_reduction, entropy_weight=model.sampling_entropy_weight
        )

    forwards: dict[str, Callable[[], Tensor | None]] = {
        "patchify and normalise": lambda: _without_gradient(model.pixels(clips)),
        "tokenizer": tokenizer,
        "sampler": sampler,
        "encoder": lambda: model.encoder(leaf(seen), noise, selection),
        "decoder": lambda: model.decoder(
            model.encoder_to_decoder(leaf(latent), selection), model.mask_token, selection, noise
        ),
        "targets and loss": losses,
    }
    return {name: _forward_backward(forward, autocast) for name, forward in forwards.items()}


def _forward_backward(forward: Callable[[], Tensor | None], autocast: torch.autocast) -> Callable[[], None]:
    def run() -> None:
        with autocast:
            out = forward()
        if out is not None:
            # The gradient of a plain sum is a constant, which some kernels treat specially; ones of the same shape are
            # not.
            out.backward(torch.ones_like(out))

    return run


def _without_gradient(_: Tensor) -> None:
    return None
