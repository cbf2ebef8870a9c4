"""Infer the architecture of a network from the shapes of its state dict and the metadata beside it."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from adamae.checkpoints.architecture import Architecture, SamplerShape, Stack, VitArchitecture, usual_heads
from adamae.checkpoints.given_options import check_options, check_sizes
from adamae.checkpoints.shapes import Shapes, block_numbers, positive, shape_of, sides
from adamae.checkpoints.um_mae_architecture import infer_um_mae, is_um_mae
from adamae.errors import UserError
from adamae.models.families import family_named
from adamae.plain_text import some_of
from adamae.removed_options import without_removed

# Widths of decoders whose head count is not width / 64: our tiny model's and ViT-H's.
_DECODER_HEADS = {96: 3, 640: 8}
# Files without our config are from the official programs. UM-MAE's trained its pyramids in this order.
_OFFICIAL = {"released_decoder_order": True}
# The layer between encoder and decoder, in a plain ViT and in UM-MAE's networks.
_BEFORE_THE_DECODER = ("encoder_to_decoder.weight", "decoder_embed.weight")
# Names of normalize_target in the official code of VideoMAE and AdaMAE, and in that of MAE, UM-MAE and Transformers.
_NORMALISED_TARGETS = ("normlize_target", "norm_pix_loss")


def infer_architecture(
    state: Mapping[str, Tensor],
    *,
    config: Mapping[str, Any] | None = None,
    hf_config: Mapping[str, Any] | None = None,
    args: Mapping[str, Any] | None = None,
) -> Architecture:
    """Infer the architecture of a network from its state dict.

    Args:
        state: Tensors under the official names, as in :func:`~adamae.checkpoints.formats.open_checkpoint`.
        config: Constructor arguments of our model: ``{"options": {...}}``.
        hf_config: Transformers' ``config.json``.
        args: Options of the program that wrote the checkpoint.

    Raises:
        UserError: If it is not a video masked autoencoder, or if entries are missing, unknown, or inconsistent in shape
            with the other entries.
    """
    shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    pretrain = any(name in shapes for name in _BEFORE_THE_DECODER)
    given = {**(_normalised_targets(args or {}, hf_config or {}) if pretrain else {}), **_given_options(config or {})}
    known = {
        **_from_args(args or {}),
        **_from_transformers(hf_config or {}),
        **({} if config else _OFFICIAL),
        **given,
    }
    infer = infer_um_mae if is_um_mae(shapes) else _infer_vit
    architecture: Architecture = infer(shapes, given, known)
    check_options(given, family_named(architecture.family), pretrain=pretrain)
    check_sizes(given, _sizes(architecture))
    _compare(shapes, architecture.shapes())
    return architecture


def _sizes(architecture: Architecture) -> dict[str, Any]:
    """Return the constructor arguments that follow from the shapes alone."""
    if isinstance(architecture, VitArchitecture):
        width, depth = architecture.encoder.width, architecture.encoder.depth
    else:
        stages = architecture.facts()["encoder"]
        width, depth = stages["embed_dim"], stages["depth"]
    sizes = {"patch_size": architecture.patch, "tubelet_size": architecture.tubelet, "in_chans": architecture.channels}
    if architecture.decoder is None:
        return {**sizes, "embed_dim": width, "depth": depth}
    decoder = {"decoder_embed_dim": architecture.decoder.width, "decoder_depth": architecture.decoder.depth}
    return {**sizes, "encoder_embed_dim": width, "encoder_depth": depth, **decoder}


def _infer_vit(shapes: Shapes, given: Mapping[str, Any], known: Mapping[str, Any]) -> VitArchitecture:
    pretrain = "encoder_to_decoder.weight" in shapes
    prefix = "encoder." if pretrain else ""
    kernel = shape_of(shapes, f"{prefix}patch_embed.proj.weight", 5)
    if kernel[3] != kernel[4] or not all(kernel):
        raise UserError(f"{prefix}patch_embed.proj.weight is {kernel}; expected (width, channels, frames, side, side)")
    encoder = _stack(shapes, f"{prefix}blocks", kernel[0], known.get("encoder_num_heads" if pretrain else "num_heads"))
    decoder = None
    if pretrain:
        width = shape_of(shapes, "encoder_to_decoder.weight", 2)[0]
        decoder = _stack(shapes, "decoder.blocks", width, known.get("decoder_num_heads"), _DECODER_HEADS.get(width))
    sampler = _sampler(shapes, kernel[0], prefix)
    frames, size, guessed = _clip(shapes, kernel, sampler, known)
    names = ("encoder_num_heads", "decoder_num_heads") if pretrain else ("num_heads",)
    if any(name not in known for name in names):
        guessed = ("heads", *guessed)
    return VitArchitecture(
        kind="pretrain" if pretrain else "classifier",
        encoder=encoder,
        decoder=decoder,
        sampler=sampler,
        other_sampler={name: shape for name, shape in shapes.items() if pretrain and name.startswith("sampler.")},
        channels=kernel[1],
        tubelet=kernel[2],
        patch=kernel[3],
        qkv_bias=f"{prefix}blocks.0.attn.q_bias" in shapes or not encoder.depth,
        layer_scale=f"{prefix}blocks.0.gamma_1" in shapes,
        positions="learned" if "pos_embed" in shapes else "separable" if "pos_embed_spatial" in shapes else "fixed",
        cls_token="cls_token" in shapes,
        secondary=f"{prefix}vis_mask_token" in shapes,
        norm=f"{prefix}norm.weight" in shapes,
        fc_norm="fc_norm.weight" in shapes,
        classes=shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        frames=frames,
        size=size,
        guessed=guessed,
        given=given,
    )


def _stack(shapes: Shapes, name: str, width: int, heads: Any, usual: int | None = None) -> Stack:
    depth = len(block_numbers(shapes, name))
    hidden = shape_of(shapes, f"{name}.0.mlp.fc1.weight", 2)[0] if depth else 4 * width
    if not isinstance(heads, int) or heads < 1 or width % heads:
        heads = usual or usual_heads(width)
    return Stack(width, depth, heads, hidden)


def _sampler(shapes: Shapes, width: int, prefix: str) -> SamplerShape | None:
    name, reduction = f"{prefix}get_token_probs", f"{prefix}reduce_token_probs.weight"
    if f"{prefix}pos_embed_probs" not in shapes:
        return None
    tokens = shape_of(shapes, f"{prefix}pos_embed_probs", 3)[1]
    inner = shape_of(shapes, reduction, 2)[0] if reduction in shapes else width
    depth = len(block_numbers(shapes, name)) - 1
    if f"{name}.0.mlp.fc1.weight" in shapes:
        return SamplerShape("mha", inner, depth, shape_of(shapes, f"{name}.0.mlp.fc1.weight", 2)[0], tokens)
    return SamplerShape("mlp", inner, depth, 0, tokens)


def _clip(
    shapes: Shapes, kernel: tuple[int, ...], sampler: SamplerShape | None, known: Mapping[str, Any]
) -> tuple[int, tuple[int, int], tuple[str, ...]]:
    """Return frames, (height, width) and which of them are guessed; only learned tables store the number of tokens."""
    _, _, tubelet, patch, _ = kernel
    frames = positive(known.get("num_frames"))
    size = sides(known.get("img_size"))
    times = shapes.get("pos_embed_temporal", (1, None))[1]
    places = shapes.get("pos_embed_spatial", (1, None))[1]
    tokens = sampler.tokens if sampler else shapes.get("pos_embed", (1, None))[1]
    guessed = []
    if frames and frames < tubelet:
        raise UserError(f"its options have num_frames = {frames}; expected at least {tubelet}, the frames of a token")
    if not frames or (times and frames // tubelet != times):
        frames = times * tubelet if times else _likely_frames(tokens, tubelet)
        guessed += [] if times else ["frames"]
    if not size:
        places = places or (tokens // (frames // tubelet) if tokens else None)
        side = math.isqrt(places) * patch if places else 224 // patch * patch or patch
        size = (side, side)
        guessed += [] if places else ["size"]
    return frames, size, tuple(guessed)


def _likely_frames(tokens: int | None, tubelet: int) -> int:
    """Return 16 frames, the usual number, unless the number of tokens gives square frames only for another one."""
    usual = max(1, 16 // tubelet)
    candidates = [usual, *range(1, 65)]
    fits = (t for t in candidates if not tokens or (tokens % t == 0 and math.isqrt(tokens // t) ** 2 == tokens // t))
    return next(fits, usual) * tubelet


def _compare(got: Shapes, expected: Shapes) -> None:
    missing, extra = [name for name in expected if name not in got], [name for name in got if name not in expected]
    if missing or extra:
        parts = [
            f"{what} {len(names)}: {some_of(names, 6)}"
            for what, names in (("missing", missing), ("unknown", extra))
            if names
        ]
        raise UserError(f"entries do not form a supported model ({'; '.join(parts)})")
    for name, shape in expected.items():
        if got[name] != shape:
            raise UserError(f"{name} has the shape {got[name]}; expected, from the other entries, {shape}")


def _given_options(config: Mapping[str, Any]) -> dict[str, Any]:
    options = config.get("options", {})
    if not isinstance(options, Mapping):
        raise UserError(
            f"its config has options = {reprlib.repr(options)}; expected an object of constructor arguments"
        )
    return without_removed(options)


def _from_transformers(config: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "num_attention_heads": ("num_heads", "encoder_num_heads"),
        "decoder_num_attention_heads": ("decoder_num_heads",),
        "num_frames": ("num_frames",),
        "image_size": ("img_size",),
    }
    return {ours: config[theirs] for theirs, all_ours in names.items() if theirs in config for ours in all_ours}


def _normalised_targets(*metadata: Mapping[str, Any]) -> dict[str, bool]:
    """Return ``normalize_target`` if one of several dicts of options tells it."""
    told = [options[name] for options in metadata for name in _NORMALISED_TARGETS if name in options]
    return {"normalize_target": told[0]} if told and isinstance(told[0], bool) else {}


def _from_args(args: Mapping[str, Any]) -> dict[str, Any]:
    names = {"num_frames": "num_frames", "input_size": "img_size"}
    return {ours: args[theirs] for theirs, ours in names.items() if positive(args.get(theirs))}
