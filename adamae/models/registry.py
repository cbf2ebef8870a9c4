"""Registry of named models."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from adamae.errors import UserError
from adamae.flags import did_you_mean
from adamae.layers.pixels import pixel_statistics
from adamae.models.classifier import Classifier
from adamae.models.families import FAMILIES, Family
from adamae.models.pretrainer import Pretrainer

# name: encoder width, depth, heads; decoder width, heads
SIZES = {
    "tiny": (192, 12, 3, 96, 3),
    "small": (384, 12, 6, 192, 3),
    "base": (768, 12, 12, 384, 6),
    "large": (1024, 24, 16, 512, 8),
    "huge": (1280, 32, 16, 640, 8),
}
# name: widths, depths and heads of the stages, hidden width of the position networks; blocks, width and heads of the
# decoder
SWIN_SIZES = {
    "micro": ((32, 64, 128, 256), (1, 1, 2, 1), (1, 2, 4, 8), 16, (1, 128, 4)),
    "tiny": ((96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24), 32, (2, 512, 16)),
    "large": ((192, 384, 768, 1536), (2, 2, 18, 2), (6, 12, 24, 48), 64, (8, 512, 16)),
}


class NamedModel(NamedTuple):
    """Registry entry of a model.

    Attributes:
        kind: Class of the model.
        arguments: Arguments of the family's constructor that define the size.
        family: Family of the model.
    """

    kind: type[Pretrainer] | type[Classifier]
    arguments: dict[str, Any]
    family: Family

    def build(self, **options: Any) -> nn.Module:
        """Build the model; ``options`` override the arguments of the size."""
        constructor = self.family.pretrainer if self.kind is Pretrainer else self.family.classifier
        return constructor(**{**self.arguments, **options})


def _pretrainer(size: str) -> NamedModel:
    width, depth, heads, decoder_width, decoder_heads = SIZES[size]
    arguments = {
        "encoder_embed_dim": width,
        "encoder_depth": depth,
        "encoder_num_heads": heads,
        "decoder_embed_dim": decoder_width,
        "decoder_num_heads": decoder_heads,
    }
    return NamedModel(Pretrainer, arguments, FAMILIES["vit"])


def _classifier(size: str, **more: Any) -> NamedModel:
    width, depth, heads, *_ = SIZES[size]
    return NamedModel(Classifier, {"embed_dim": width, "depth": depth, "num_heads": heads, **more}, FAMILIES["vit"])


def _swin(size: str) -> dict[str, NamedModel]:
    dims, depths, heads, position_dim, (decoder_depth, decoder_dim, decoder_heads) = SWIN_SIZES[size]
    pretrain = {
        "encoder_embed_dim": dims,
        "encoder_depth": depths,
        "encoder_num_heads": heads,
        "position_dim": position_dim,
        "decoder_depth": decoder_depth,
        "decoder_embed_dim": decoder_dim,
        "decoder_num_heads": decoder_heads,
    }
    classifier = {"embed_dim": dims, "depth": depths, "num_heads": heads, "position_dim": position_dim}
    return {
        f"um_swin_{size}": NamedModel(Pretrainer, pretrain, FAMILIES["swin"]),
        f"swin_{size}_256": NamedModel(Classifier, classifier, FAMILIES["swin"]),
    }


def _named() -> dict[str, NamedModel]:
    models: dict[str, NamedModel] = {}
    for size in SIZES:
        models[f"adamae_{size}"] = _pretrainer(size)
        # The names in the official launch scripts.
        for family in ("videomae", "mae"):
            models[f"pretrain_{family}_{size}_patch16_224"] = _pretrainer(size)
        models[f"vit_{size}_patch16_224"] = _classifier(size)
    for size, pixels in (("base", 384), ("large", 384), ("large", 512)):
        models[f"vit_{size}_patch16_{pixels}"] = _classifier(size, img_size=pixels)
    for size in SWIN_SIZES:
        models |= _swin(size)
    width, depth, heads, *_ = SIZES["base"]
    sizes = {"embed_dim": width, "depth": depth, "num_heads": heads}
    pretrain = {f"encoder_{name}": value for name, value in sizes.items()}
    models["um_vit_base"] = NamedModel(Pretrainer, pretrain, FAMILIES["mae_vit"])
    models["mae_vit_base_patch16_224"] = NamedModel(Classifier, sizes, FAMILIES["mae_vit"])
    models["um_pvt_small"] = NamedModel(Pretrainer, {}, FAMILIES["pvt"])
    models["pvt_small_256"] = NamedModel(Classifier, {}, FAMILIES["pvt"])
    return models


MODELS = _named()


def create_model(name: str, **options: Any) -> nn.Module:
    """Build a model by name.

    Args:
        name: A key of :data:`MODELS`: ``adamae_base`` and ``pretrain_videomae_base_patch16_224`` are the same
            pre-train model, ``vit_base_patch16_224`` is the classifier; likewise for the other sizes.
        **options: Keywords that override those of the size: of :func:`~adamae.models.vit.vit_pretrainer` or
            :func:`~adamae.models.vit.vit_classifier`; for ``um_swin_*``, ``um_pvt_small`` and their classifiers of
            ``swin_pretrainer`` and so on in :mod:`adamae.models.pyramid.factories`; for ``um_vit_base`` and
            ``mae_vit_base_patch16_224`` of those in :mod:`adamae.models.mae_vit`.

    Raises:
        UserError: If the name or a keyword is unknown, or sizes do not divide.
    """
    model = named_model(name)
    known = sorted(model.family.keywords(pretrain=model.kind is Pretrainer))
    for option in options:
        if option not in known:
            hint = did_you_mean(option, known) or f": expected one of {', '.join(known)}"
            raise UserError(f"{option}: not an option of {name}{hint}")
    return model.build(**options)


def named_model(name: str) -> NamedModel:
    """Return the registry entry of a name.

    Raises:
        UserError: If the name is unknown.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f": expected one of {', '.join(sorted(MODELS))}"
        raise UserError(f"unknown model {name!r}{hint}")
    return MODELS[name]


def register_with_timm() -> None:
    """Register all models with ``timm.create_model``.

    timm has its own image models named ``vit_*``, so our classifiers are registered as ``video_vit_*``. The models have
    what timm's optimizer factory (weight decay, layer decay), data config, gradient checkpointing and changes of the
    head ask for; downloaded weights, ``features_only``, ``global_pool`` and intermediate features are not supported.
    """
    from adamae import torchvision_import  # noqa: F401  (timm imports torchvision, which may need repair)

    # isort: split
    from timm.models import register_model

    for name in MODELS:
        timm_name = f"video_{name}" if name.startswith("vit_") else name
        register_model(_entry_point(name, timm_name))


def _entry_point(name: str, timm_name: str) -> Callable[..., nn.Module]:
    def build(pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise UserError(
                f"{timm_name}: no weights are downloaded; build the model, then load a file with adamae.load_weights"
            )
        for timm_only in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            options.pop(timm_only, None)
        model = create_model(name, **options)
        assert isinstance(model, Pretrainer | Classifier)
        config = _timm_config(model, timm_name, options.get("imagenet_default_mean_and_std", True))
        model.pretrained_cfg = model.default_cfg = config  # type: ignore[assignment]
        return model

    build.__name__ = timm_name
    build.__qualname__ = timm_name
    build.__module__ = __name__
    return build


def _timm_config(model: Pretrainer | Classifier, timm_name: str, imagenet: bool) -> dict[str, Any]:
    """Return what timm's data config and fine-tuning code read from ``pretrained_cfg``."""
    channels = model.encoder.in_chans
    mean, std = pixel_statistics(channels, imagenet)
    frames, height, width = model.grid.clip_shape
    config: dict[str, Any] = {
        "architecture": timm_name,
        "input_size": (channels, height, width),
        "fixed_input_size": True,
        "mean": mean,
        "std": std,
        # As in validation.
        "interpolation": "bicubic" if frames == 1 else "bilinear",
        "crop_pct": 1.0,
        "first_conv": "encoder.patch_embed.proj",
    }
    return config | ({"num_classes": model.num_classes, "classifier": "head"} if isinstance(model, Classifier) else {})
