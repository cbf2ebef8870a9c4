"""Model families: their constructors, and the constructor arguments that determine the weights.

The config in a checkpoint has the name of a family and the arguments of its constructor. This is the only module that
maps one to the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adamae.errors import UserError
from adamae.models.classifier import Classifier
from adamae.models.mae_vit import mae_vit_classifier, mae_vit_pretrainer
from adamae.models.pretrainer import Pretrainer
from adamae.models.pyramid.factories import (
    pvt_classifier,
    pvt_pretrainer,
    pyramid_classifier,
    pyramid_pretrainer,
    swin_classifier,
    swin_pretrainer,
)
from adamae.models.vit import vit_classifier, vit_pretrainer
from adamae.samplers import SAMPLERS

_CLIP = ("img_size", "patch_size", "tubelet_size", "num_frames", "in_chans")
_STAGES = ("encoder_embed_dim", "encoder_depth", "encoder_num_heads")
_DECODER = ("decoder_embed_dim", "decoder_depth", "decoder_num_heads")
_PIXELS = ("imagenet_default_mean_and_std",)
# Arguments of a classifier that only have an effect in training.
_MAY_CHANGE = ("drop_rate", "attn_drop_rate", "drop_path_rate", "fc_drop_rate", "init_scale")
# Arguments of Pretrainer that its constructors build from their own.
_PARTS = {"encoder_to_decoder", "mask_token", "published_names"}


@dataclass(frozen=True)
class Family:
    """A model family.

    Attributes:
        name: Name of the family in a checkpoint's config.
        pretrainer: Constructor of the pre-train model.
        classifier: Constructor of the classifier.
        pretrain_sizes: Arguments of ``pretrainer`` that determine the weights, except those of the sampler.
        shared: Functions that ``pretrainer`` and ``classifier`` pass further arguments to, in this order; the defaults
            of these arguments are read from them.
    """

    name: str
    pretrainer: Callable[..., Pretrainer]
    classifier: Callable[..., Classifier]
    pretrain_sizes: tuple[str, ...]
    shared: tuple[Callable[..., Any], ...] = ()

    def arguments(self, *, pretrain: bool) -> dict[str, Any]:
        """Return the arguments of the constructor with their defaults, without those that it only hands on.

        Args:
            pretrain: Whether the network is a pre-train model.
        """
        found: dict[str, Any] = {}
        for function in self.constructors(pretrain=pretrain):
            found |= _defaults(function)
        return found

    def constructors(self, *, pretrain: bool) -> tuple[Callable[..., Any], ...]:
        """Return the functions whose arguments a network takes: the shared one, if any, then the family's own.

        Args:
            pretrain: Whether the network is a pre-train model.
        """
        own, shared = (self.pretrainer, self.shared[:1]) if pretrain else (self.classifier, self.shared[1:])
        return (*shared, own)

    def keywords(self, *, pretrain: bool) -> set[str]:
        """Return all keywords of the constructor; those of a pre-train model include its losses' and the samplers'.

        Args:
            pretrain: Whether the network is a pre-train model.
        """
        own = set(self.arguments(pretrain=pretrain))
        if not pretrain:
            return own
        own |= _defaults(Pretrainer).keys() - _PARTS
        return own.union(*(each.sampler_class.keywords() for each in SAMPLERS.values()))

    def weight_arguments(self, given: Mapping[str, Any], *, pretrain: bool) -> dict[str, Any]:
        """Return the arguments that determine a network's weights, with the defaults of missing ones.

        Args:
            given: Arguments of the constructor.
            pretrain: Whether the network is a pre-train model.
        """
        whole = self.arguments(pretrain=pretrain)
        # Only whether LayerScale exists matters: its values are loaded from the checkpoint.
        whole |= {**given, "init_values": bool(given.get("init_values"))}
        whole = {name: tuple(value) if isinstance(value, list) else value for name, value in whole.items()}
        if pretrain:
            return {name: whole[name] for name in self.pretrain_sizes if name in whole}
        return {name: value for name, value in whole.items() if name not in _MAY_CHANGE}


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters of ``function`` that have a default."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


FAMILIES: dict[str, Family] = {
    "vit": Family(
        "vit",
        vit_pretrainer,
        vit_classifier,
        (*_CLIP, "mlp_ratio", "qkv_bias", "init_values", *_STAGES, *_DECODER, *_PIXELS),
    ),
    "swin": Family(
        "swin",
        swin_pretrainer,
        swin_classifier,
        (
            *(*_CLIP, "mlp_ratio", *_STAGES, "window_size", "position_dim", *_DECODER, *_PIXELS),
            *("uniform_sampling", "released_decoder_order"),
        ),
        (pyramid_pretrainer, pyramid_classifier),
    ),
    "pvt": Family(
        "pvt",
        pvt_pretrainer,
        pvt_classifier,
        (
            *(*_CLIP, "mlp_ratio", *_STAGES, "encoder_mlp_ratio", "pools", *_DECODER, *_PIXELS),
            *("uniform_sampling", "released_decoder_order"),
        ),
        (pyramid_pretrainer, pyramid_classifier),
    ),
    "mae_vit": Family(
        "mae_vit",
        mae_vit_pretrainer,
        mae_vit_classifier,
        (*_CLIP, "mlp_ratio", *_STAGES, *_DECODER, *_PIXELS),
    ),
}


def family_named(name: str) -> Family:
    """Return the family with a name.

    Raises:
        UserError: If the name is unknown.
    """
    if name not in FAMILIES:
        raise UserError(f"unknown kind of network {name!r}: expected one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def family_of(model: Pretrainer | Classifier) -> Family:
    """Return the family of a network's encoder.

    Raises:
        UserError: If the encoder does not belong to a family.
    """
    return family_named(model.encoder.family)
