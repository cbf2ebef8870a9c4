"""Networks built from checkpoints, for scoring or feature extraction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from adamae.checkpoints.architecture import Architecture
from adamae.checkpoints.formats import CheckpointFile
from adamae.checkpoints.loading import load_weights
from adamae.errors import UserError
from adamae.models import Classifier
from adamae.models.families import family_named

# Arguments that pre-train models and classifiers share.
_SHARED = (
    *("img_size", "patch_size", "tubelet_size", "num_frames", "in_chans", "mlp_ratio", "qkv_bias", "init_values"),
    "imagenet_default_mean_and_std",
)
# Names of data sets whose official recipes sample segments.
_SEGMENT_SETS = ("ssv2",)


@dataclass(frozen=True)
class ClipFacts:
    """Clips on which a network was trained.

    Attributes:
        num_frames: T, frames in a clip.
        size: Height and width in pixels.
        sampling_rate: Stride of the frames.
        frame_sampling: "dense" or "segment".
        guessed: Names of the fields that the checkpoint does not store and that have default values.
    """

    num_frames: int
    size: int
    sampling_rate: int
    frame_sampling: str
    guessed: tuple[str, ...]


def clip_facts(file: CheckpointFile) -> ClipFacts:
    """Read the clip settings from a checkpoint: from its architecture and from the options of the training program.

    Raises:
        UserError: If its frames are not square.
    """
    height, width = file.architecture.size
    if height != width:
        raise UserError(f"{file.path}: its clips are {height}x{width}, expected square ones")
    guessed = [name for name in ("num_frames", "size") if name.removeprefix("num_") in file.architecture.guessed]
    rate, sampling = file.args.get("sampling_rate"), file.args.get("frame_sampling")
    if sampling not in ("dense", "segment"):
        data_set = str(file.args.get("data_set") or "")
        sampling = "segment" if data_set.lower() in _SEGMENT_SETS else "dense"
        guessed += [] if data_set else ["frame_sampling"]
    if not isinstance(rate, int) or rate < 1:
        rate = 4
        guessed += ["sampling_rate"] if sampling == "dense" else []
    return ClipFacts(file.architecture.frames, height, rate, sampling, tuple(guessed))


def build_classifier(
    file: CheckpointFile,
    *,
    num_frames: int | None = None,
    size: int | None = None,
    selection: Mapping[str, Any] | None = None,
) -> tuple[Classifier, list[str]]:
    """Build the classifier of a fine-tuned checkpoint, with all its weights.

    Args:
        file: The checkpoint.
        num_frames: Frames in a clip, if not those of the checkpoint.
        size: Side of a frame in pixels, if not that of the checkpoint.
        selection: Arguments of the network for the selection of tokens and frames; None: those of the checkpoint.

    Returns:
        The network in evaluation mode, and notes on changes when loading.

    Raises:
        UserError: If it is not a classifier, or weights are missing.
    """
    a = file.architecture
    if a.decoder is not None or not a.classes:
        raise UserError(
            f"{file.path}: is a pre-trained {file.method}, which has no classes; expected a fine-tuned checkpoint "
            "(`adamae finetune` makes one, `adamae probe` evaluates its features)"
        )
    arguments = {**a.options(), **_clip_options(num_frames, size), **(selection or {})}
    model = family_named(a.family).classifier(**arguments)
    report = load_weights(model, file, complete=True)
    return model.eval(), _changes(report.resized, report.notes)


class FrozenEncoder(nn.Module):
    """The frozen encoder of any checkpoint, over all tokens or those that its network selects.

    The feature of a clip is the mean over its tokens. For a pre-trained checkpoint, the encoder's last norm is applied
    to the tokens before the mean. For a fine-tuned one, ``fc_norm`` is applied to the mean, as before the head. If the
    checkpoint has neither, a norm without weights is applied to the mean.

    Args:
        model: A classifier without a head.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.feature_grid = model.encoder.feature_grid
        self.width = model.encoder.embed_dim

    def encode(self, clips: Tensor) -> Tensor:
        """(B, T, H, W, C) uint8 to encoded tokens (B, t * h * w, D), or (B, K, D) if K tokens are selected."""
        return self.model.encode(clips, self.model.noise(clips))

    @property
    def selects_tokens(self) -> bool:
        """Whether only some of the tokens are encoded."""
        return self.model.token_choice.active

    def pool(self, encoded: Tensor) -> Tensor:
        """(..., N, D) encoded tokens to (..., D): one feature for all of them."""
        mean = encoded.mean(dim=-2)
        return mean if self.model.fc_norm is None else self.model.fc_norm(mean)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, T, H, W, C) uint8 to (B, D): one feature for each clip."""
        return self.pool(self.encode(clips))

    def times(self, clips: Tensor) -> Tensor:
        """(B, T, H, W, C) uint8 to (B, t, D): one feature for each tubelet's frames."""
        return self.pool(self.encode(clips).unflatten(1, (self.feature_grid[0], -1)))

    def tokens(self, clips: Tensor) -> Tensor:
        """(B, T, H, W, C) uint8 to (B, t * h * w, D): one feature for each token."""
        return self.pool(self.encode(clips).unsqueeze(-2))


def build_encoder(
    file: CheckpointFile,
    *,
    num_frames: int | None = None,
    size: int | None = None,
    random_weights: bool = False,
    selection: Mapping[str, Any] | None = None,
) -> tuple[FrozenEncoder, list[str]]:
    """Build the encoder of a pre-trained or fine-tuned checkpoint.

    Args:
        file: The checkpoint.
        num_frames: Frames in a clip, if not those of the checkpoint.
        size: Side of a frame in pixels, if not that of the checkpoint.
        random_weights: Keep random weights instead of the checkpoint's, as a baseline.
        selection: Arguments of the network for the selection of tokens and frames; None: all are used.

    Returns:
        The encoder, and notes on changes when loading.
    """
    arguments = {**_encoder_options(file.architecture), **_clip_options(num_frames, size), **(selection or {})}
    model = family_named(file.architecture.family).classifier(**arguments)
    if random_weights:
        return FrozenEncoder(model), ["random weights (--random_weights)"]
    report = load_weights(model, file)
    return FrozenEncoder(model), _changes(report.resized, report.notes)


def _encoder_options(architecture: Architecture) -> dict[str, Any]:
    bare = architecture.classifier_options(_SHARED)
    return {**bare, "num_classes": 0, "use_mean_pooling": architecture.fc_norm or not architecture.norm}


def _clip_options(num_frames: int | None, size: int | None) -> dict[str, Any]:
    options = {"num_frames": num_frames, "img_size": size}
    return {name: value for name, value in options.items() if value is not None}


def _changes(resized: tuple[str, ...], notes: tuple[str, ...]) -> list[str]:
    return [*notes, *([f"resized to the requested clip size: {', '.join(resized)}"] if resized else [])]
