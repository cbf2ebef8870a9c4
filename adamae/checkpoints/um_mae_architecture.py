"""Architecture of UM-MAE's networks (Swin, PVT and MAE's ViT), inferred from the state dict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from adamae.checkpoints.architecture import Architecture, Stack, mlp_ratio, usual_heads
from adamae.checkpoints.shapes import Shapes, block_numbers, from_json, shape_of, sides
from adamae.errors import UserError
from adamae.models.ema_network import PREFIX as EMA_PREFIX
from adamae.models.families import family_named
from adamae.models.pyramid.encoder import UNIT_SIZE
from adamae.models.pyramid.tokenizer import PATCH_SIZE
from adamae.samplers.builtin import UNIFORM

# Published decoders have 16 heads; our narrow ones have fewer.
_USUAL_DECODER_HEADS = 16
_USUAL_SIZE = 256
_USUAL_FRAMES = 16
_PUBLISHED_SECONDARY = 0.25

_shape_of = partial(shape_of, expected="a pyramid network")


@dataclass(frozen=True)
class UmMaeArchitecture(Architecture):
    """Architecture of a network of UM-MAE as inferred from a checkpoint.

    Attributes:
        family: "swin", "pvt" or "mae_vit".
        stages: Constructor arguments of a classifier that describe the encoder's blocks.
        secondary: Whether the network has a mask token for secondary masks.
        released_order: Whether the decoder takes its positions in the order of the released code, see
            :class:`~adamae.models.pyramid.expansion.CellExpansion`.
    """

    family: str = "swin"
    stages: Mapping[str, Any] = field(default_factory=dict)
    secondary: bool = False
    released_order: bool = False

    @property
    def position_grid(self) -> tuple[int, int, int]:
        """Entries along time, height and width: one for each patch of a frame."""
        side = self.patch if self.family == _VIT else PATCH_SIZE
        return 1, self.size[0] // side, self.size[1] // side

    def options(self) -> dict[str, Any]:
        """See :meth:`~adamae.checkpoints.architecture.Architecture.options`."""
        options = self._clip_options()
        if self.decoder is None:
            options |= {**self.stages, "num_classes": self.classes, "use_mean_pooling": self.fc_norm or not self.norm}
        else:
            options |= {_PRETRAIN_NAMES.get(self.family, {}).get(name, name): v for name, v in self.stages.items()}
            options |= {
                "decoder_embed_dim": self.decoder.width,
                "decoder_depth": self.decoder.depth,
                "decoder_num_heads": self.decoder.heads,
                "mask_type": UNIFORM.name,
                "secondary_mask_ratio": _PUBLISHED_SECONDARY if self.secondary else 0.0,
            }
            if self.released_order:
                options["released_decoder_order"] = True
        return {**options, **self._given_options()}

    def classifier_options(self, shared: tuple[str, ...] = ()) -> dict[str, Any]:
        """See :meth:`~adamae.checkpoints.architecture.Architecture.classifier_options`."""
        given = {name: value for name, value in self.given.items() if name in shared}
        if self.decoder is not None and self.family == "pvt":
            # A pre-train model's mlp_ratio is that of the decoder; the encoder's ratios follow from the shapes.
            given.pop("mlp_ratio", None)
        if self.decoder is None:
            given |= {name: self.given[name] for name in ("window_size", "pools") if name in self.given}
        elif "window_size" in self.given:
            # A classifier processes all units, twice as many along each side as the visible ones.
            given["window_size"] = 2 * self.given["window_size"]
        return replace(self, kind="classifier", decoder=None, classes=0, given=given).options()

    def shapes(self) -> Shapes:
        """See :meth:`~adamae.checkpoints.architecture.Architecture.shapes`."""
        family = family_named(self.family)
        options = self.options()
        with torch.device("meta"):
            model = family.classifier(**options) if self.decoder is None else family.pretrainer(**options)
            state = model.state_dict()
        # The EMA of the weights is not read from files.
        return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.startswith(EMA_PREFIX)}

    def facts(self) -> dict[str, Any]:
        """See :meth:`~adamae.checkpoints.architecture.Architecture.facts`."""
        return {"family": self.family, "encoder": dict(self.stages), "secondary_masks": self.secondary}

    def rows(self) -> dict[str, str]:
        """See :meth:`~adamae.checkpoints.architecture.Architecture.rows`."""
        stages = ", ".join(f"{name} {' '.join(map(str, _listed(value)))}" for name, value in self.stages.items())
        return {
            "encoder": f"{self.family}: {stages}",
            "tokens": f"{self.tubelet} frames of {self.patch}x{self.patch} pixels, {self.channels} channels"
            + ("; a token for secondary masks" if self.secondary else ""),
        }


_VIT = "mae_vit"
# Names of the blocks' arguments in the constructor of a pre-train model.
_ENCODER = {"embed_dim": "encoder_embed_dim", "depth": "encoder_depth", "num_heads": "encoder_num_heads"}
_PRETRAIN_NAMES = {"swin": _ENCODER, "pvt": {**_ENCODER, "mlp_ratio": "encoder_mlp_ratio"}, _VIT: _ENCODER}


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def is_um_mae(shapes: Shapes) -> bool:
    """Return whether a state dict is one of UM-MAE's networks: a pyramid, or a ViT with an image patch embedding."""
    pyramid = "blocks.0.attn.posmlp.0.weight" in shapes or "blocks.0.attn.sr.weight" in shapes
    return pyramid or ("cls_token" in shapes and len(shapes.get("patch_embed.proj.weight", ())) == 4)


def infer_um_mae(shapes: Shapes, given: Mapping[str, Any], known: Mapping[str, Any]) -> UmMaeArchitecture:
    """Infer the architecture of a network of UM-MAE from the shapes of its state dict.

    Args:
        shapes: Shapes by official name.
        given: Constructor arguments stored beside the weights.
        known: ``given`` and further constructor arguments from other metadata.

    Raises:
        UserError: If the entries do not form such a network.
    """
    family = _family(shapes)
    kernel = _shape_of(shapes, "patch_embed.proj.weight")
    if len(kernel) not in (4, 5) or 0 in kernel:
        raise UserError(f"patch_embed.proj.weight has the shape {kernel}; expected 4 or 5 axes")
    video = len(kernel) == 5
    pretrain = "decoder_embed.weight" in shapes
    patch = kernel[-1] if family == _VIT else UNIT_SIZE
    decoder = _decoder(shapes, family, known) if pretrain else None
    # The ViT's order has always been right, and the released code has no video.
    may_be_released = pretrain and family != _VIT and not video
    stages = _stages(shapes, family)
    # Swin's numbers of heads follow from the shapes.
    heads = None if family == "swin" else known.get("encoder_num_heads" if pretrain else "num_heads")
    if heads is not None:
        stages["num_heads"] = from_json(heads)
    frames, size, guessed = _clip(shapes, known, patch, video=video)
    decoder_guessed = pretrain and known.get("decoder_num_heads") is None
    if decoder_guessed or (heads is None and family != "swin"):
        guessed = ("heads", *guessed)
    return UmMaeArchitecture(
        kind="pretrain" if pretrain else "classifier",
        decoder=decoder,
        channels=kernel[1],
        tubelet=kernel[2] if video else 1,
        patch=patch,
        norm="norm.weight" in shapes,
        fc_norm="fc_norm.weight" in shapes,
        classes=_shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        frames=frames,
        size=size,
        guessed=guessed,
        given=given,
        family=family,
        stages=stages,
        secondary="vis_mask_token" in shapes,
        released_order=may_be_released and bool(known.get("released_decoder_order")),
    )


def _family(shapes: Shapes) -> str:
    if "blocks.0.attn.posmlp.0.weight" in shapes:
        return "swin"
    return "pvt" if "blocks.0.attn.sr.weight" in shapes else _VIT


def _decoder(shapes: Shapes, family: str, known: Mapping[str, Any]) -> Stack:
    # In a pyramid, PixelShuffle turns each feature into four tokens.
    embedding, per_feature = _shape_of(shapes, "decoder_embed.weight", 2), 1 if family == _VIT else 4
    width = embedding[0] // per_feature
    if not width:
        raise UserError(f"decoder_embed.weight has the shape {embedding}; expected at least {per_feature} rows")
    heads = known.get("decoder_num_heads")
    depth = len(block_numbers(shapes, "decoder_blocks"))
    hidden = _shape_of(shapes, "decoder_blocks.0.mlp.fc1.weight", 2)[0] if depth else 4 * width
    return Stack(width, depth, math.gcd(width, _USUAL_DECODER_HEADS) if heads is None else heads, hidden)


def _stages(shapes: Shapes, family: str) -> dict[str, Any]:
    """Infer the stages' arguments from the blocks; each stage except the first begins with a downsampling."""
    numbers = sorted(block_numbers(shapes, "blocks"))
    if 0 not in numbers:
        _shape_of(shapes, "blocks.0.norm1.weight")
    starts = [number for number in numbers if number == 0 or f"blocks.{number}.downsample.proj.weight" in shapes]
    dims = [_shape_of(shapes, f"blocks.{number}.norm1.weight", 1)[0] for number in starts]
    ratios = [
        mlp_ratio(dim, _shape_of(shapes, f"blocks.{number}.mlp.fc1.weight", 2)[0])
        for number, dim in zip(starts, dims, strict=True)
    ]
    ends = [*starts[1:], len(numbers)]
    stages: dict[str, Any] = {
        "embed_dim": tuple(dims),
        "depth": tuple(end - start for start, end in zip(starts, ends, strict=True)),
    }
    if family == _VIT:
        (dim,), (depth,) = stages["embed_dim"], stages["depth"]
        return {"embed_dim": dim, "depth": depth, "num_heads": usual_heads(dim), "mlp_ratio": ratios[0]}
    if family == "swin":
        heads = [_shape_of(shapes, f"blocks.{number}.attn.posmlp.2.weight", 4)[0] for number in starts]
        position_dim = _shape_of(shapes, "blocks.0.attn.posmlp.0.weight", 4)[0]
        return {**stages, "num_heads": tuple(heads), "mlp_ratio": ratios[0], "position_dim": position_dim}
    return {
        **stages,
        "num_heads": tuple(map(usual_heads, dims)),
        "mlp_ratio": tuple(ratios),
    }


def _clip(
    shapes: Shapes, known: Mapping[str, Any], patch: int, *, video: bool
) -> tuple[int, tuple[int, int], tuple[str, ...]]:
    """Return frames, (height, width) and which of them are guessed; only tables of positions store the size."""
    guessed = []
    frames = known.get("num_frames") if video else 1
    if frames is None:
        frames = _USUAL_FRAMES
        guessed.append("frames")
    size = sides(known.get("img_size")) or _table_side(shapes, patch)
    if size is None:
        size = (_USUAL_SIZE, _USUAL_SIZE)
        guessed.append("size")
    return frames, size, tuple(guessed)


def _table_side(shapes: Shapes, patch: int) -> tuple[int, int] | None:
    """Return height and width of square frames from a table of positions; None without one."""
    extra = "cls_token" in shapes
    for name, pixels in (("decoder_pos_embed", patch), ("pos_embed", patch if extra else PATCH_SIZE)):
        if name in shapes:
            tokens = _shape_of(shapes, name, 3)[1] - extra
            side = math.isqrt(tokens) * pixels
            return side, side
    return None
