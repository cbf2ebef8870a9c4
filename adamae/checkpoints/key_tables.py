"""Parameter names of each layout, in one table per layout that is used in both directions.

"Ours" are the official names (AdaMAE, VideoMAE), which our state dicts use. ``*`` stands for a block's number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from adamae.errors import UserError

Tensors = tuple[Tensor, ...]
Direction = Literal["to_ours", "to_theirs"]


@dataclass(frozen=True)
class Change:
    """Conversion of tensors to the other layout, and back."""

    to_ours: Callable[[Tensors], Tensors]
    to_theirs: Callable[[Tensors], Tensors]
    note: str = ""


def _same(tensors: Tensors) -> Tensors:
    return tensors


def _without_key_bias(parts: Tensors) -> Tensors:
    query, _, value = parts
    return query, value


def _with_key_bias(parts: Tensors) -> Tensors:
    query, value = parts
    return query, torch.zeros_like(query), value


SAME = Change(_same, _same)
# Their three matrices are one of ours: rows of queries, keys, values.
JOIN = Change(lambda parts: (torch.cat(parts),), lambda whole: whole[0].chunk(3))
# A key bias adds the same q.b to all scores of a query, and softmax is invariant to a constant shift.
_KEY_BIAS = "the key bias was dropped: softmax is invariant to it"
DROP_KEY_BIAS = Change(_without_key_bias, _with_key_bias, _KEY_BIAS)
SPLIT_BIAS = Change(
    lambda whole: _without_key_bias(whole[0].chunk(3)), lambda parts: (torch.cat(_with_key_bias(parts)),), _KEY_BIAS
)
# One position embedding whose first row belongs to the class token.
SPLIT_CLASS = Change(lambda whole: (whole[0][:, :1], whole[0][:, 1:]), lambda parts: (torch.cat(parts, dim=1),))


@dataclass(frozen=True)
class Row:
    """Entries of both layouts that contain the same values.

    Attributes:
        ours: Our names.
        theirs: Their names.
        change: Conversion between the two.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    change: Change = SAME


Table = tuple[Row, ...]


def _rows(pairs: Iterable[tuple[str, str]]) -> Table:
    return tuple(Row((ours,), (theirs,)) for ours, theirs in pairs)


def _layer(ours: str, theirs: str) -> Table:
    """Return the rows of a layer's weight and bias."""
    return _rows((f"{ours}.{leaf}", f"{theirs}.{leaf}") for leaf in ("weight", "bias"))


def _transformers_block(ours: str, theirs: str, biases: tuple[str, str]) -> Table:
    inner = f"{theirs}.attention.attention"
    projections = tuple(f"{inner}.{part}.weight" for part in ("query", "key", "value"))
    return (
        Row((f"{ours}.attn.qkv.weight",), projections, JOIN),
        *_rows(
            zip((f"{ours}.attn.q_bias", f"{ours}.attn.v_bias"), (f"{inner}.{bias}" for bias in biases), strict=True)
        ),
        *_layer(f"{ours}.attn.proj", f"{theirs}.attention.output.dense"),
        *_layer(f"{ours}.norm1", f"{theirs}.layernorm_before"),
        *_layer(f"{ours}.norm2", f"{theirs}.layernorm_after"),
        *_layer(f"{ours}.mlp.fc1", f"{theirs}.intermediate.dense"),
        *_layer(f"{ours}.mlp.fc2", f"{theirs}.output.dense"),
    )


def _transformers_encoder(prefix: str, biases: tuple[str, str]) -> Table:
    return (
        *_layer(f"{prefix}patch_embed.proj", "videomae.embeddings.patch_embeddings.projection"),
        *_transformers_block(f"{prefix}blocks.*", "videomae.encoder.layer.*", biases),
        *_layer(f"{prefix}norm", "videomae.layernorm"),
    )


def _transformers(kind: str, biases: tuple[str, str]) -> Table:
    if kind == "classifier":
        return (*_transformers_encoder("", biases), *_layer("fc_norm", "fc_norm"), *_layer("head", "classifier"))
    return (
        *_rows([("mask_token", "mask_token")]),
        *_transformers_encoder("encoder.", biases),
        *_transformers_block("decoder.blocks.*", "decoder.decoder_layers.*", biases),
        *_layer("decoder.norm", "decoder.norm"),
        *_layer("decoder.head", "decoder.head"),
        *_rows([("encoder_to_decoder.weight", "encoder_to_decoder.weight")]),
    )


# Files of Transformers 4 and 5 have the biases beside the layers; the modules of version 5 have them inside the layers.
TRANSFORMERS_FILES = {kind: _transformers(kind, ("q_bias", "v_bias")) for kind in ("pretrain", "classifier")}
TRANSFORMERS_MODULES = {kind: _transformers(kind, ("query.bias", "value.bias")) for kind in ("pretrain", "classifier")}


def joined_attention(blocks: str) -> Table:
    """Return the table for queries, keys and values in one matrix with one bias vector, as in timm's blocks."""
    return (
        Row((f"{blocks}.attn.qkv.weight",), (f"{blocks}.attn.qkv.weight",)),
        Row((f"{blocks}.attn.q_bias", f"{blocks}.attn.v_bias"), (f"{blocks}.attn.qkv.bias",), SPLIT_BIAS),
    )


def _separate_attention(blocks: str) -> Table:
    weights, biases = (tuple(f"{blocks}.attn.{part}.{leaf}" for part in "qkv") for leaf in ("weight", "bias"))
    return (
        Row((f"{blocks}.attn.qkv.weight",), weights, JOIN),
        Row((f"{blocks}.attn.q_bias", f"{blocks}.attn.v_bias"), biases, DROP_KEY_BIAS),
    )


def _mae_st(attention: Table, positions: Table) -> Table:
    layers = ("attn.proj", "norm1", "norm2", "mlp.fc1", "mlp.fc2")
    return (
        *_rows([("cls_token", "cls_token")]),
        *positions,
        *_layer("patch_embed.proj", "patch_embed.proj"),
        *attention,
        *(row for layer in layers for row in _layer(f"blocks.*.{layer}", f"blocks.*.{layer}")),
        # mae_st passes its last norm on to the classifier, where it follows the mean over the tokens.
        *_layer("fc_norm", "norm"),
        *_layer("head", "head"),
    )


def mae_st_table(names: Iterable[str]) -> Table:
    """Return the table for mae_st's encoder, which has several variants of positions and attention.

    Args:
        names: The names in the file.
    """
    names = set(names)
    attention = (_separate_attention if "blocks.0.attn.q.weight" in names else joined_attention)("blocks.*")
    if "pos_embed" not in names:
        parts = ("pos_embed_spatial", "pos_embed_temporal", "pos_embed_class")
        return _mae_st(attention, _rows((part, part) for part in parts))
    if "cls_token" in names:
        return _mae_st(attention, (Row(("pos_embed_class", "pos_embed"), ("pos_embed",), SPLIT_CLASS),))
    return _mae_st(attention, _rows([("pos_embed", "pos_embed")]))


def translate(
    state: dict[str, Tensor], table: Table, direction: Direction
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Rename and convert the entries of a state dict by a table.

    Args:
        state: State dict in the source layout.
        table: Rows of the table; rows whose source names are missing are skipped.
        direction: "to_ours" or "to_theirs".

    Returns:
        The state dict in the target layout, the entries that match no row, and notes on the changes.

    Raises:
        UserError: If tensors of one row have incompatible shapes.
    """
    left, result, notes = dict(state), dict[str, Tensor](), dict[str, None]()
    for row in table:
        source, target = (row.theirs, row.ours) if direction == "to_ours" else (row.ours, row.theirs)
        change = row.change.to_ours if direction == "to_ours" else row.change.to_theirs
        for number in _numbers(source[0], left):
            names = [name.replace("*", number) for name in source]
            if not all(name in left for name in names):
                continue
            try:
                made = change(tuple(left[name] for name in names))
                pairs = zip(target, made, strict=True)
                result |= {name.replace("*", number): tensor for name, tensor in pairs}
            except (RuntimeError, ValueError, IndexError) as error:
                shapes = ", ".join(f"{name} {tuple(left[name].shape)}" for name in names)
                raise UserError(f"incompatible shapes: {shapes}") from error
            for name in names:
                del left[name]
            if row.change.note and direction == "to_ours":
                notes[row.change.note] = None
    return result, left, list(notes)


def _numbers(name: str, state: dict[str, Tensor]) -> list[str]:
    """Return the numbers that ``*`` matches in the names of ``state``; one empty string for a name without ``*``."""
    if "*" not in name:
        return [""] if name in state else []
    pattern = re.compile(re.escape(name).replace(r"\*", r"(\d+)"))
    return [match[1] for match in map(pattern.fullmatch, state) if match]
