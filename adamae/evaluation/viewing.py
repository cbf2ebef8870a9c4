"""How a checkpoint's network looks at videos: what the commands that score and probe have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.data.annotations import Annotations
from adamae.data.decoding.damage import describe_loss
from adamae.data.loader import choose_workers
from adamae.data.views import VideoViews, ViewPlan, plan_test
from adamae.distributed import World
from adamae.errors import UserError
from adamae.evaluation.networks import ClipFacts, FrozenEncoder, build_classifier, build_encoder, clip_facts
from adamae.evaluation.scoring import Damaged, Unscored
from adamae.models import Classifier
from adamae.options.groups import oversampled
from adamae.options.viewing import (
    ComputeOptions,
    FewViewOptions,
    FrameOptions,
    NetworkOptions,
    SelectionOptions,
    ViewComputeOptions,
    ViewOptions,
)
from adamae.plain_text import one_line
from adamae.precision import choose_precision

# Where windows are cut from the video's own time, whatever a classifier was trained on: the middle of each frame.
MIDDLE = FewViewOptions(frame_sampling="dense")
# Videos that are named when they cannot be read; their number stands in the result.
_MOST_NAMED = 10
# Arguments of a classifier's constructor that say what it looks at.
_SELECTION = ("token_selection", "keep_ratio", "candidate_frames", "frame_keep_ratio", "frame_choice")
_USUAL = {"token_selection": "none", "keep_ratio": 0.6}
_FRAME_OVERSAMPLE = 1.5


def choose_frames(file: CheckpointFile, frames: FrameOptions, frame_sampling: str | None = None) -> ClipFacts:
    """What the network is to see: what was asked for, else what it was trained on."""
    trained = clip_facts(file)
    asked = {
        "num_frames": frames.num_frames,
        "size": frames.input_size,
        "sampling_rate": frames.sampling_rate,
        "frame_sampling": frame_sampling,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    facts = {**vars(trained), **given, "guessed": tuple(name for name in trained.guessed if name not in given)}
    return ClipFacts(**facts)


@dataclass(frozen=True)
class Selection:
    """Which tokens and frames of a clip are looked at.

    Attributes:
        arguments: Those of the network's constructor that say so.
        frames_read: Frames of a clip as it leaves the video.
    """

    arguments: dict[str, Any]
    frames_read: int

    def describe(self, num_frames: int) -> list[str]:
        """In words; no line where all is looked at."""
        strategy, ratio = self.arguments["token_selection"], self.arguments["keep_ratio"]
        lines = [] if strategy == "none" else [f"encodes {ratio:.0%} of the tokens, selection: {strategy}"]
        if self.frames_read != num_frames:
            lines.append(f"selects {num_frames} of {self.frames_read} frames of a clip, those with the most motion")
        return lines


def choose_selection(file: CheckpointFile, num_frames: int, asked: SelectionOptions) -> Selection:
    """What was asked for, else what a fine-tuned checkpoint was trained with, else all tokens of all frames.

    Args:
        file: The checkpoint.
        num_frames: Frames that the network is to see.
        asked: By the person.
    """
    a = file.architecture
    trained = {name: a.given[name] for name in _SELECTION if name in a.given} if a.decoder is None else {}
    if a.sampler and a.decoder is None:
        trained = {"token_selection": "adaptive", **trained}
    candidates = trained.pop("candidate_frames", None)
    ratio = asked.frame_oversample or (candidates / a.frames if candidates else _FRAME_OVERSAMPLE)
    selects = asked.frame_selection == "motion" or (asked.frame_selection == "auto" and candidates)
    frames_read = oversampled(num_frames, ratio) if selects else num_frames
    given = {name: getattr(asked, name, None) for name in _SELECTION}
    arguments = {**_USUAL, **trained, **{name: value for name, value in given.items() if value not in (None, "auto")}}
    arguments |= {"candidate_frames": frames_read if selects else None, **a.sampler_options()}
    return Selection(arguments, frames_read)


def choose_views(clip: ClipFacts, frames: FrameOptions, views: ViewOptions | FewViewOptions) -> ViewPlan:
    """The views of a video.

    Raises:
        UserError: If there are no such views.
    """
    return plan_test(
        num_frames=clip.num_frames,
        sampling_rate=clip.sampling_rate,
        size=clip.size,
        frame_sampling=clip.frame_sampling,
        num_clips=views.test_num_segment,
        num_crops=views.test_num_crop,
        short_side=frames.short_side_size,
    )


def describe_views(clip: ClipFacts, plan: ViewPlan) -> str:
    """The views in words, and what of them is only the usual value."""
    rate = f" with stride {clip.sampling_rate}" if clip.frame_sampling == "dense" else " that span the video"
    text = (
        f"{plan.num_clips} clips x {plan.num_crops} crops per video, {clip.num_frames} frames{rate}, "
        f"{clip.size}x{clip.size} pixels"
    )
    options = {"size": "input_size"}
    flags = ", ".join(f"--{options.get(name, name)}" for name in clip.guessed)
    return f"{text}; the checkpoint does not store {flags}: using the default" if flags else text


@dataclass(frozen=True)
class Viewing:
    """A checkpoint, and how its network is to look at videos.

    Attributes:
        file: The checkpoint.
        clip: A clip as it leaves the video.
        seen: Frames of it that the network sees: all of them, or those on which most moves.
        selection: Which tokens and frames.
        plan: The views of a video.
    """

    file: CheckpointFile
    clip: ClipFacts
    seen: int
    selection: Selection
    plan: ViewPlan

    def classifier(self) -> tuple[Classifier, list[str]]:
        """The network with its head, and what was changed on loading.

        Raises:
            UserError: If the checkpoint has no head, or its weights do not fill the network.
        """
        return build_classifier(
            self.file, num_frames=self.seen, size=self.clip.size, selection=self.selection.arguments
        )

    def encoder(self, random_weights: bool = False) -> tuple[FrozenEncoder, list[str]]:
        """The network without a head, and what was changed on loading.

        Raises:
            UserError: If the checkpoint's weights do not fit.
        """
        return build_encoder(
            self.file,
            num_frames=self.seen,
            size=self.clip.size,
            random_weights=random_weights,
            selection=self.selection.arguments,
        )

    def views_of(self, videos: Annotations, compute: ViewComputeOptions) -> VideoViews:
        """The views of a list's videos."""
        return VideoViews(videos, self.plan, decoder=compute.decoder, video_timeout=compute.video_timeout)

    def describe(self) -> list[str]:
        """The views in words, and then what of them the network looks at, one line each."""
        return [describe_views(self.clip, self.plan), *self.selection.describe(self.seen)]


def open_viewing(
    network: NetworkOptions, frames: FrameOptions, selection: SelectionOptions, views: ViewOptions | FewViewOptions
) -> Viewing:
    """Open a checkpoint to look at videos with it; the network is not built yet.

    Raises:
        UserError: If it is none, or there are no such views.
    """
    file = open_checkpoint(network.checkpoint, network.model_key)
    clip = choose_frames(file, frames, views.frame_sampling)
    chosen = choose_selection(file, clip.num_frames, selection)
    seen, clip = clip.num_frames, replace(clip, num_frames=chosen.frames_read)
    return Viewing(file, clip, seen, chosen, choose_views(clip, frames, views))


def compute_settings(compute: ComputeOptions, world: World) -> dict[str, Any]:
    """Batch size, workers and precision as the functions that compute take them."""
    return {
        "batch_size": compute.batch_size,
        "num_workers": choose_workers(compute.num_workers),
        "precision": choose_precision(compute.precision, world.device),
    }


def describe_unread(missing: str, videos: Sequence[Unscored]) -> list[str]:
    """The first videos that could not be read and why, a line each.

    Args:
        missing: What they have none of.
        videos: All of them.
    """
    return [one_line(f"no {missing}: {video.path}: {video.reason}") for video in videos[:_MOST_NAMED]]


def describe_damaged(videos: Sequence[Damaged]) -> list[str]:
    """The first videos that were read past damage, a line each."""
    return [one_line(f"note: {video.path}: {describe_loss(video.packets)}") for video in videos[:_MOST_NAMED]]


def without(missing: str, videos: Sequence[Unscored]) -> UserError:
    """What ends a command that has done all it could, though some videos could not be read.

    Args:
        missing: What they have none of.
        videos: All of them, at least one.
    """
    more = f", and {len(videos) - 1} more videos without {missing}" if len(videos) > 1 else ""
    return UserError(f"{videos[0].path}: {videos[0].reason}{more}")
