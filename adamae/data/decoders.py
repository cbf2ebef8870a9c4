"""The decoder back ends by name. This module does not import them."""

from __future__ import annotations

# Name on the command line -> (package that must be installed, module that wraps it).
DECODERS = {
    "pyav": ("av", "adamae.data.decoding.pyav"),
    "decord": ("decord", "adamae.data.decoding.decord"),
    "torchcodec": ("torchcodec", "adamae.data.decoding.torchcodec"),
}


def decoder_names() -> tuple[str, ...]:
    """Return the names of all back ends."""
    return tuple(DECODERS)
