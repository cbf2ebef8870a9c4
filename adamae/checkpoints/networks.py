"""Networks of checkpoints with their weights: the classifier, the encoder without a head, and the autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from adamae.checkpoints.architecture import Architecture
from adamae.checkpoints.formats import CheckpointFile
from adamae.checkpoints.loading import LoadReport, load_weights
from adamae.errors import UserError
from adamae.models import Classifier, Pretrainer
from adamae.models.families import family_named
from adamae.samplers import declared

# Arguments that pre-train models and classifiers share.
_SHARED = (
    *("img_size", "patch_size", "tubelet_size", "num_frames", "in_chans", "mlp_ratio", "qkv_bias", "init_values"),
    "imagenet_default_mean_and_std",
)


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
    architecture = file.architecture
    if architecture.decoder is not None or not architecture.classes:
        raise UserError(
            f"{file.path}: is a pre-trained {file.method}, which has no classes; expected a fine-tuned checkpoint "
            "(`adamae finetune` makes one, `adamae probe` evaluates its features)"
        )
    arguments = {**architecture.options(), **_clip_options(num_frames, size), **(selection or {})}
    model = family_named(architecture.family).classifier(**arguments)
    return model.eval(), _changes(load_weights(model, file, complete=True))


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

    @property
    def selects_frames(self) -> bool:
        """Whether only some of the frames of a clip are encoded."""
        return self.model.frame_choice.active

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
    changes = _changes(load_weights(model, file))
    return FrozenEncoder(model), changes


def build_pretrainer(
    file: CheckpointFile, *, num_frames: int | None = None, size: int | None = None
) -> tuple[Pretrainer, list[str]]:
    """Build the autoencoder of a pre-trained checkpoint, with all its weights, in evaluation mode.

    Args:
        file: The checkpoint.
        num_frames: Frames in a clip, if not those of the checkpoint.
        size: Side of a frame in pixels, if not that of the checkpoint.

    Returns:
        The network, and notes for the user.

    Raises:
        UserError: If the checkpoint has no decoder, or its clips do not have three channels.
    """
    architecture = file.architecture
    if architecture.decoder is None:
        raise UserError(f"{file.path}: is a {file.method} without a decoder; expected a pre-trained checkpoint")
    if architecture.channels != 3:
        raise UserError(f"{file.path}: its clips have {architecture.channels} channels, expected 3")
    options = {**architecture.options(), **_clip_options(num_frames, size)}
    notes = []
    ratio = file.args.get("mask_ratio")
    if "mask_ratio" not in options:
        told = isinstance(ratio, float) and 0 < ratio < 1
        usual = declared(options["mask_type"]).sampler_class.usual_ratio(**options)
        options["mask_ratio"] = ratio if told else usual
        notes += [] if told else [f"the checkpoint does not store its mask ratio: using {usual}"]
    if options.get("released_decoder_order") and "released_decoder_order" not in architecture.given:
        notes.append("the decoder takes its positions in the order of UM-MAE's released code, which trained the file")
    model = family_named(architecture.family).pretrainer(**options)
    changes = _changes(load_weights(model, file, complete=True))
    return model.eval().requires_grad_(False), [*notes, *changes]


def _encoder_options(architecture: Architecture) -> dict[str, Any]:
    bare = architecture.classifier_options(_SHARED)
    return {**bare, "num_classes": 0, "use_mean_pooling": architecture.fc_norm or not architecture.norm}


def _clip_options(num_frames: int | None, size: int | None) -> dict[str, Any]:
    options = {"num_frames": num_frames, "img_size": size}
    return {name: value for name, value in options.items() if value is not None}


def _changes(report: LoadReport) -> list[str]:
    resized = [f"resized to the requested clip size: {', '.join(report.resized)}"] if report.resized else []
    return [*report.notes, *resized]
