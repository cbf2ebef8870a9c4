"""Architecture of a network: its constructor arguments and the shapes of its state dict."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from adamae.checkpoints.shapes import Shapes, from_json
from adamae.errors import UserError
from adamae.samplers.adaptive import SAMPLER_HEADS
from adamae.samplers.builtin import ADAPTIVE, RANDOM, UNIFORM

# Widths of published ViTs whose head count is not width / 64: ViT-H, VideoMAEv2's ViT-g.
_HEADS = {1280: 16, 1408: 16}
_HEAD_WIDTH = 64


def usual_heads(width: int) -> int:
    """Return the default attention heads for a width: those of published ViTs, else 64 or more channels per head."""
    heads = _HEADS.get(width, max(1, width // _HEAD_WIDTH))
    return next(count for count in range(heads, 0, -1) if width % count == 0)


def mlp_ratio(width: int, hidden: int) -> float:
    """Return the ratio with which the constructors, which truncate width * ratio, give an MLP of ``hidden``."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


@dataclass(frozen=True)
class Stack:
    """Transformer blocks: width, number of blocks, attention heads, hidden width of the MLP."""

    width: int
    depth: int
    heads: int
    hidden: int

    def __str__(self) -> str:
        return f"width {self.width}, depth {self.depth}, {self.heads} heads, MLP {self.hidden}"


@dataclass(frozen=True)
class SamplerShape:
    """The adaptive sampler's network: kind, width, layers, hidden width of the blocks' MLP, number of tokens."""

    network: Literal["mha", "mlp"]
    width: int
    depth: int
    hidden: int
    tokens: int


@dataclass(frozen=True)
class Architecture(ABC):
    """Architecture of a network as inferred from a checkpoint.

    Attributes:
        family: Name of the model family, see :mod:`adamae.models.families`.
        kind: "pretrain" or "classifier".
        decoder: Blocks of the decoder; None in a classifier.
        channels: Colour channels.
        tubelet: Frames in a token.
        patch: Pixels along a token's side.
        norm: Whether a LayerNorm follows the encoder's blocks.
        fc_norm: Whether a LayerNorm follows the mean over the tokens.
        classes: Outputs of the head; 0 without a head.
        frames: Frames in a clip.
        size: Height and width of a frame.
        guessed: Values that are not stored in the checkpoint and set to defaults: any of "heads", "frames", "size".
        given: Constructor arguments stored beside the weights, or told by options of another program.
    """

    kind: Literal["pretrain", "classifier"]
    decoder: Stack | None
    channels: int
    tubelet: int
    patch: int
    norm: bool
    fc_norm: bool
    classes: int
    frames: int
    size: tuple[int, int]
    guessed: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    family: str = "vit"

    @property
    def guesses_clip(self) -> bool:
        """Whether frames or size of a clip are guessed."""
        return not {"frames", "size"}.isdisjoint(self.guessed)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        return self.frames // self.tubelet, self.size[0] // self.patch, self.size[1] // self.patch

    @property
    def position_grid(self) -> tuple[int, int, int]:
        """Entries of a learned position embedding along time, height and width."""
        return self.grid

    def _clip_options(self) -> dict[str, Any]:
        """Return the constructor's arguments for the clip and its tokens."""
        return {
            "img_size": self.size[0] if self.size[0] == self.size[1] else self.size,
            "patch_size": self.patch,
            "tubelet_size": self.tubelet,
            "num_frames": self.frames,
            "in_chans": self.channels,
        }

    def _given_options(self) -> dict[str, Any]:
        """Return ``given`` with tuples for JSON's lists."""
        return {name: from_json(value) for name, value in self.given.items()}

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return the arguments for the family's constructor of a pre-train model or classifier.

        Raises:
            UserError: If the constructor does not support the architecture.
        """

    @abstractmethod
    def classifier_options(self, shared: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the arguments for the family's classifier with the same encoder and without a head.

        Args:
            shared: Names of the arguments in ``given`` to keep.
        """

    @abstractmethod
    def shapes(self) -> Shapes:
        """Return names and shapes of all entries of the network's state dict, in its order."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return the architecture for ``inspect --json``, without the decoder."""

    @abstractmethod
    def rows(self) -> dict[str, str]:
        """Return the rows that ``inspect`` prints: "encoder", "tokens" and optional others."""

    def sampler_options(self) -> dict[str, Any]:
        """Return constructor arguments of an adaptive sampler that a classifier can use; empty without one."""
        return {}


@dataclass(frozen=True)
class VitArchitecture(Architecture):
    """Architecture of a plain ViT as inferred from a checkpoint.

    Attributes:
        encoder: Blocks of the encoder.
        sampler: The adaptive sampler, which selects the tokens in a classifier; None without one.
        other_sampler: Names and shapes of a learned sampler's entries that no published checkpoint has.
        secondary: Whether the network has a mask token for secondary masks.
        qkv_bias: Whether queries and values have a bias.
        layer_scale: Whether the blocks use LayerScale.
        positions: "fixed", "learned" or "separable".
        cls_token: Whether the network has a class token.
    """

    encoder: Stack = Stack(0, 0, 1, 0)
    sampler: SamplerShape | None = None
    qkv_bias: bool = True
    layer_scale: bool = False
    positions: str = "fixed"
    cls_token: bool = False
    secondary: bool = False
    other_sampler: Shapes = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """See :meth:`Architecture.options`."""
        options = {
            **self._clip_options(),
            "mlp_ratio": mlp_ratio(self.encoder.width, self.encoder.hidden),
            "qkv_bias": self.qkv_bias,
            # Only zero or non-zero matters: the values are loaded from the checkpoint.
            "init_values": 0.1 if self.layer_scale else 0.0,
        }
        options |= self._pretrain_options() if self.decoder else self._classifier_options()
        return {**options, **self._given_options()}

    def classifier_options(self, shared: tuple[str, ...] = ()) -> dict[str, Any]:
        """See :meth:`Architecture.classifier_options`."""
        given = {name: value for name, value in self.given.items() if name in shared}
        return replace(self, kind="classifier", decoder=None, sampler=None, classes=0, given=given).options()

    def shapes(self) -> Shapes:
        """See :meth:`Architecture.shapes`."""
        encoder, decoder, sampler = self.encoder, self.decoder, self.sampler
        prefix = "encoder." if decoder else ""
        shapes: Shapes = {"mask_token": (1, 1, decoder.width)} if decoder else {}
        if sampler:
            shapes[f"{prefix}pos_embed_probs"] = (1, sampler.tokens, encoder.width)
        if self.secondary:
            shapes[f"{prefix}vis_mask_token"] = (1, 1, encoder.width)
        if self.cls_token:
            shapes["cls_token"] = (1, 1, encoder.width)
        t, h, w = self.grid
        tables = {"learned": {"": t * h * w}, "separable": {"_spatial": h * w, "_temporal": t}}.get(self.positions, {})
        if tables and self.cls_token:
            tables = {**tables, "_class": 1}
        shapes |= {f"pos_embed{name}": (1, count, encoder.width) for name, count in tables.items()}
        kernel = (self.channels, self.tubelet, self.patch, self.patch)
        shapes[f"{prefix}patch_embed.proj.weight"] = (encoder.width, *kernel)
        shapes[f"{prefix}patch_embed.proj.bias"] = (encoder.width,)
        shapes |= _blocks(f"{prefix}blocks", encoder, self.qkv_bias, self.layer_scale)
        if self.norm:
            shapes |= _layer(f"{prefix}norm", encoder.width)
        if sampler:
            shapes |= _sampler_shapes(sampler, encoder.width, prefix)
        if decoder:
            shapes |= _blocks("decoder.blocks", decoder, self.qkv_bias, self.layer_scale)
            shapes |= _layer("decoder.norm", decoder.width)
            shapes |= _layer("decoder.head", self.channels * self.tubelet * self.patch**2, decoder.width)
            shapes["encoder_to_decoder.weight"] = (decoder.width, encoder.width)
            shapes |= self.other_sampler
        if self.fc_norm:
            shapes |= _layer("fc_norm", encoder.width)
        return shapes | _layer("head", self.classes, encoder.width) if self.classes else shapes

    def facts(self) -> dict[str, Any]:
        """See :meth:`Architecture.facts`."""
        return {
            "encoder": asdict(self.encoder),
            "sampler": asdict(self.sampler) if self.sampler else None,
            "qkv_bias": self.qkv_bias,
            "layer_scale": self.layer_scale,
            "positions": self.positions,
            "cls_token": self.cls_token,
        }

    def rows(self) -> dict[str, str]:
        """See :meth:`Architecture.rows`."""
        rows = {
            "encoder": str(self.encoder),
            "tokens": f"{self.tubelet} frames of {self.patch}x{self.patch} pixels, {self.channels} channels; "
            f"{self.positions} positions" + (", a class token" if self.cls_token else ""),
        }
        if self.sampler:
            sampler = self.sampler
            rows["sampler"] = (
                f"{sampler.network}, {sampler.depth} layers, width {sampler.width}, {sampler.tokens} tokens"
            )
        return rows

    def _pretrain_options(self) -> dict[str, Any]:
        assert self.decoder is not None
        if int(self.decoder.width * mlp_ratio(self.encoder.width, self.encoder.hidden)) != self.decoder.hidden:
            raise UserError(
                f"the decoder's MLP is {self.decoder.hidden} wide at a width of {self.decoder.width}; expected the "
                f"encoder's ratio of {self.encoder.hidden} to {self.encoder.width}: there is one mlp_ratio for both"
            )
        options: dict[str, Any] = {"mask_type": ADAPTIVE.name if self.sampler else RANDOM.name}
        if self.secondary:
            options["mask_type"] = UNIFORM.name
        for side, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            options |= {
                f"{side}_embed_dim": stack.width,
                f"{side}_depth": stack.depth,
                f"{side}_num_heads": stack.heads,
            }
        return options | self.sampler_options()

    def sampler_options(self) -> dict[str, Any]:
        """Return constructor arguments of the sampler's network; empty without a sampler."""
        if not self.sampler:
            return {}
        dim = None if self.sampler.width == self.encoder.width else self.sampler.width
        options: dict[str, Any] = {
            "sampler_network": self.sampler.network,
            "sampler_depth": self.sampler.depth,
            "sampler_dim": dim,
        }
        # Only if it is not the constructor's default: early files of this project used the encoder's ratio.
        if self.sampler.hidden not in (0, 4 * self.sampler.width):
            options["sampler_mlp_ratio"] = mlp_ratio(self.sampler.width, self.sampler.hidden)
        return options

    def _classifier_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "embed_dim": self.encoder.width,
            "depth": self.encoder.depth,
            "num_heads": self.encoder.heads,
            "num_classes": self.classes,
            # A file without either norm gets a new fc_norm after the mean.
            "use_mean_pooling": self.fc_norm or not (self.norm and self.classes),
        }
        # The following only if they are not the constructor's defaults.
        if self.sampler:
            options |= {"token_selection": "adaptive", **self.sampler_options()}
        if self.positions != "fixed":
            options["position_embedding"] = self.positions
        return {**options, "cls_token": True} if self.cls_token else options


def _layer(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _blocks(name: str, stack: Stack, qkv_bias: bool, layer_scale: bool) -> Shapes:
    shapes: Shapes = {}
    # If the width is not divisible by the sampler's eight heads, the remainder is dropped as in the official code.
    inner = stack.width // stack.heads * stack.heads
    for number in range(stack.depth):
        block = f"{name}.{number}"
        if layer_scale:
            shapes |= {f"{block}.gamma_1": (stack.width,), f"{block}.gamma_2": (stack.width,)}
        shapes |= _layer(f"{block}.norm1", stack.width)
        if qkv_bias:
            shapes |= {f"{block}.attn.q_bias": (inner,), f"{block}.attn.v_bias": (inner,)}
        shapes[f"{block}.attn.qkv.weight"] = (3 * inner, stack.width)
        shapes |= _layer(f"{block}.attn.proj", stack.width, inner)
        shapes |= _layer(f"{block}.norm2", stack.width)
        shapes |= _layer(f"{block}.mlp.fc1", stack.hidden, stack.width)
        shapes |= _layer(f"{block}.mlp.fc2", stack.width, stack.hidden)
    return shapes


def _sampler_shapes(sampler: SamplerShape, width: int, prefix: str) -> Shapes:
    name = f"{prefix}get_token_probs"
    shapes = _layer(f"{prefix}reduce_token_probs", sampler.width, width) if sampler.width != width else {}
    if sampler.network == "mha":
        shapes |= _blocks(
            name, Stack(sampler.width, sampler.depth, SAMPLER_HEADS, sampler.hidden), qkv_bias=False, layer_scale=False
        )
    else:
        for number in range(sampler.depth):
            shapes |= _layer(f"{name}.{number}.0", sampler.width, sampler.width)
    return shapes | _layer(f"{name}.{sampler.depth}", 1, sampler.width)
