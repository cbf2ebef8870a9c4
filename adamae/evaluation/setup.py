"""A checkpoint with its clips, views and token selection: shared by the commands that evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from adamae import distributed
from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.checkpoints.networks import FrozenEncoder, build_classifier, build_encoder
from adamae.data.annotations import Annotations
from adamae.data.decoding.damage import describe_loss
from adamae.data.loader import choose_workers
from adamae.data.views import VideoViews, ViewPlan, plan_test
from adamae.distributed import World
from adamae.errors import UserError
from adamae.evaluation.clip_settings import ClipSettings, training_clip
from adamae.evaluation.scoring import Damaged, Unscored
from adamae.models import Classifier
from adamae.options.groups import oversampled
from adamae.options.inference import (
    ComputeOptions,
    FewViewOptions,
    FrameOptions,
    NetworkOptions,
    SelectionOptions,
    ViewComputeOptions,
    ViewOptions,
)
from adamae.plain_text import counted, one_line
from adamae.precision import choose_precision

# A centre crop with dense frames, independent of how a classifier was trained.
MIDDLE = FewViewOptions(frame_sampling="dense")
# Number of unreadable videos that are logged; the result has the total.
_MOST_NAMED = 10
# Arguments of a classifier's constructor that select tokens and frames.
_SELECTION = ("token_selection", "keep_ratio", "candidate_frames", "frame_keep_ratio", "frame_choice")
_USUAL = {"token_selection": "none", "keep_ratio": 0.6}
_FRAME_OVERSAMPLE = 1.5


def choose_frames(file: CheckpointFile, frames: FrameOptions, frame_sampling: str | None = None) -> ClipSettings:
    """Frames, stride and size of a clip: the given options, otherwise those of training."""
    trained = training_clip(file)
    asked: dict[str, Any] = {
        "num_frames": frames.num_frames,
        "size": frames.input_size,
        "sampling_rate": frames.sampling_rate,
        "frame_sampling": frame_sampling,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    guessed = tuple(name for name in trained.guessed if name not in given)
    return replace(trained, **given, guessed=guessed)


@dataclass(frozen=True)
class Selection:
    """Selection of tokens and frames of a clip.

    Attributes:
        arguments: Arguments of the model's constructor for the selection.
        frames_read: Frames of a clip that are decoded.
    """

    arguments: dict[str, Any]
    frames_read: int

    def describe(self, num_frames: int) -> list[str]:
        """Log lines; none if all tokens and frames are used."""
        strategy, ratio = self.arguments["token_selection"], self.arguments["keep_ratio"]
        lines = [] if strategy == "none" else [f"encodes {ratio:.0%} of the tokens, selection: {strategy}"]
        if self.frames_read != num_frames:
            lines.append(f"selects {num_frames} of {self.frames_read} frames of a clip, those with the most motion")
        return lines


def choose_selection(file: CheckpointFile, num_frames: int, asked: SelectionOptions) -> Selection:
    """The given selection, otherwise that of a fine-tuned checkpoint, otherwise all tokens and frames.

    Args:
        file: The checkpoint.
        num_frames: Frames of the model's input.
        asked: Options of the command line.

    Raises:
        UserError: If an option of a selection is given and nothing is selected.
    """
    a = file.architecture
    trained = {name: a.given[name] for name in _SELECTION if name in a.given} if a.decoder is None else {}
    if a.decoder is None and a.sampler_options():
        trained = {"token_selection": "adaptive", **trained}
    candidates = trained.pop("candidate_frames", None)
    ratio = asked.frame_oversample or (candidates / a.frames if candidates else _FRAME_OVERSAMPLE)
    selects = asked.frame_selection == "motion" or (asked.frame_selection == "auto" and candidates)
    frames_read = oversampled(num_frames, ratio) if selects else num_frames
    given = {name: getattr(asked, name, None) for name in _SELECTION}
    arguments = {**_USUAL, **trained, **{name: value for name, value in given.items() if value not in (None, "auto")}}
    if arguments["token_selection"] == "none" and given["keep_ratio"] is not None:
        raise UserError(
            f"--keep_ratio {given['keep_ratio']} has no effect: all tokens are encoded; expected --token_selection "
            "motion, adaptive or random with it"
        )
    if not selects:
        _refuse_frame_options(asked)
    arguments |= {"candidate_frames": frames_read if selects else None, **a.sampler_options()}
    return Selection(arguments, frames_read)


def _refuse_frame_options(asked: SelectionOptions) -> None:
    """Refuse options of frame selection if all decoded frames are used."""
    usual = SelectionOptions()
    for name in ("frame_oversample", "frame_keep_ratio", "frame_choice"):
        value = getattr(asked, name)
        if value != getattr(usual, name):
            raise UserError(
                f"--{name} {value} has no effect: no frames are selected; expected --frame_selection motion with it"
            )


def choose_views(
    clip: ClipSettings, frames: FrameOptions, views: ViewOptions | FewViewOptions, *, frames_read: int
) -> ViewPlan:
    """Plan the views of a video.

    Args:
        clip: Stride and size of a clip.
        frames: Options of the command line.
        views: Options of the command line.
        frames_read: Frames of a clip that are decoded.

    Raises:
        UserError: If the views are not supported.
    """
    return plan_test(
        num_frames=frames_read,
        sampling_rate=clip.sampling_rate,
        size=clip.size,
        frame_sampling=clip.frame_sampling,
        num_clips=views.test_num_segment,
        num_crops=views.test_num_crop,
        short_side=frames.short_side_size,
    )


def describe_views(clip: ClipSettings, frames_read: int, plan: ViewPlan, noun: str) -> str:
    """One line about the views of each video or image, as decoded, and which of their settings are defaults."""
    rate = f" with stride {clip.sampling_rate}" if clip.frame_sampling == "dense" else " that span the video"
    text = (
        f"{counted(plan.num_clips, 'clip')} x {counted(plan.num_crops, 'crop')} per {noun}, "
        f"{counted(frames_read, 'frame')}{rate if frames_read > 1 else ''}, {clip.size}x{clip.size} pixels"
    )
    options = {"size": "input_size"}
    flags = ", ".join(f"--{options.get(name, name)}" for name in clip.guessed)
    return f"{text}; the checkpoint does not store {flags}: using the default" if flags else text


@dataclass(frozen=True)
class EvaluationSetup:
    """A checkpoint with its clips, views and selection; the model is built on request.

    Attributes:
        file: The checkpoint.
        clip: Frames of the model's input, their stride and size.
        selection: Selection of tokens and frames.
        plan: The views of a video.
    """

    file: CheckpointFile
    clip: ClipSettings
    selection: Selection
    plan: ViewPlan

    def classifier(self) -> tuple[Classifier, list[str]]:
        """The classifier, and notes on what was changed on loading.

        Raises:
            UserError: If the checkpoint has no head, or its weights do not match the model.
        """
        return build_classifier(
            self.file, num_frames=self.clip.num_frames, size=self.clip.size, selection=self.selection.arguments
        )

    def encoder(self, random_weights: bool = False) -> tuple[FrozenEncoder, list[str]]:
        """The encoder without a head, and notes on what was changed on loading.

        Raises:
            UserError: If the checkpoint's weights do not fit.
        """
        return build_encoder(
            self.file,
            num_frames=self.clip.num_frames,
            size=self.clip.size,
            random_weights=random_weights,
            selection=self.selection.arguments,
        )

    def averages_probabilities(self, asked: bool | None) -> bool:
        """Whether probabilities are averaged over the views: as given, otherwise as in the test of a run of ours."""
        return self.file.args.get("softmax") is True if asked is None else asked

    def views_of(self, videos: Annotations, compute: ViewComputeOptions) -> VideoViews:
        """The views of a list's videos."""
        return VideoViews(videos, self.plan, decoder=compute.decoder, video_timeout=compute.video_timeout)

    def describe(self, noun: str) -> list[str]:
        """Log lines about the views and the selection; ``noun`` is the annotations'."""
        views = describe_views(self.clip, self.selection.frames_read, self.plan, noun)
        return [views, *self.selection.describe(self.clip.num_frames)]


def open_setup(
    network: NetworkOptions, frames: FrameOptions, selection: SelectionOptions, views: ViewOptions | FewViewOptions
) -> EvaluationSetup:
    """Open a checkpoint for evaluation; the model is not built yet.

    Raises:
        UserError: If it is not a checkpoint, or the views are not supported.
    """
    file = open_checkpoint(network.checkpoint, network.model_key)
    clip = choose_frames(file, frames, views.frame_sampling)
    chosen = choose_selection(file, clip.num_frames, selection)
    return EvaluationSetup(file, clip, chosen, choose_views(clip, frames, views, frames_read=chosen.frames_read))


def start_world(compute: ComputeOptions) -> World:
    """Start the processes of a command that runs a checkpoint: those of the launcher, or this one alone.

    Raises:
        UserError: If the device does not exist, or a process does not answer in time.
    """
    return distributed.start(compute.device, timeout_seconds=compute.rendezvous_timeout)


def compute_settings(compute: ComputeOptions, world: World) -> dict[str, Any]:
    """Batch size, workers and precision as keyword arguments of the functions that compute."""
    return {
        "batch_size": compute.batch_size,
        "num_workers": choose_workers(compute.num_workers),
        "precision": choose_precision(compute.precision, world.device),
    }


def describe_unread(missing: str, videos: Sequence[Unscored]) -> list[str]:
    """One line for each of the first unreadable videos, with the reason.

    Args:
        missing: The missing result, such as "features".
        videos: The unreadable videos.
    """
    return [one_line(f"no {missing}: {video.path}: {video.reason}") for video in videos[:_MOST_NAMED]]


def describe_damaged(videos: Sequence[Damaged]) -> list[str]:
    """The first videos that are damaged but readable, one line each."""
    return [one_line(f"note: {video.path}: {describe_loss(video.packets)}") for video in videos[:_MOST_NAMED]]


def without(missing: str, videos: Sequence[Unscored]) -> UserError:
    """The final error of a command for which some videos could not be read.

    Args:
        missing: The missing result, such as "features".
        videos: All of them, at least one.
    """
    more = f", and {len(videos) - 1} more without {missing}" if len(videos) > 1 else ""
    return UserError(f"{videos[0].path}: {videos[0].reason}{more}")
