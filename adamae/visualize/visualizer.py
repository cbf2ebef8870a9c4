"""A pre-trained checkpoint and the videos to run it on: shared by visualize, saliency and timeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.checkpoints.networks import build_pretrainer
from adamae.data.annotations import Annotations
from adamae.data.decoding import DecodeError, get_decoder
from adamae.data.image_files import image_files_for
from adamae.data.named_videos import load_named
from adamae.data.views import ViewPlan
from adamae.distributed import start as start_device
from adamae.evaluation.clip_settings import ClipSettings
from adamae.evaluation.scoring import Damaged, Unscored
from adamae.evaluation.setup import MIDDLE, choose_frames, choose_views, describe_damaged, describe_unread, without
from adamae.evaluation.windows import Windows
from adamae.files import LONGEST_NAME, cut_name, publish
from adamae.models import Pretrainer
from adamae.options.inference import FrameOptions, NetworkOptions
from adamae.options.visualize import ShownVideosOptions, VisualizeComputeOptions
from adamae.plain_text import one_line
from adamae.progress import Reporter
from adamae.visualize.video_clips import VideoClips, choose_range, read_video_clips, split_into_clips

# Bytes for a number and for the suffixes of the files of a video.
_ROOM = 55


@dataclass(frozen=True)
class Visualizer:
    """A pre-trained model and the videos to run it on.

    Attributes:
        checkpoint: Path of the checkpoint as given.
        file: The opened checkpoint.
        model: The autoencoder, on the device.
        clip: Frames, stride and size of a clip.
        plan: Resize and crop of a frame.
        annotations: The videos.
        start: First second of each video to show.
        seconds: Maximum duration to show.
        decoder: Name of the decoding library.
        reporter: Prints notes on the videos.
    """

    checkpoint: str
    file: CheckpointFile
    model: Pretrainer
    clip: ClipSettings
    plan: ViewPlan
    annotations: Annotations
    start: float
    seconds: float
    decoder: str
    reporter: Reporter

    def read(self, row: int) -> VideoClips:
        """Decode the shown part of a video.

        Raises:
            DecodeError: If the video cannot be read or is too short.
        """
        path = self.annotations.path(row)
        with get_decoder(self.decoder)(self.annotations.video(row)) as reader:
            shown = choose_range(path, reader, self.start, self.seconds, self.model.grid.tubelet_size)
            if shown.stop < reader.num_frames:
                self.reporter.say(
                    f"{one_line(path)}: {len(shown)} of {reader.num_frames} frames shown (--start, --seconds)"
                )
            windows = Windows(self.clip.num_frames, self.clip.sampling_rate)
            starts = windows.starts(len(shown))
            cut = split_into_clips(starts, len(shown), self.clip.num_frames, self.clip.sampling_rate)
            video = read_video_clips(path, reader, shown, self.plan, cut)
            if reader.damaged:
                self.reporter.say(*describe_damaged([Damaged(row, path, reader.damaged)]))
            return video

    def caption(self, path: str) -> str:
        """Names of the video and of the checkpoint."""
        checkpoint = Path(self.checkpoint)
        # "." and ".." are no names. Links keep theirs: that of a downloaded file may lead to one named by its hash.
        name = checkpoint.name if checkpoint.name.strip(".") else checkpoint.resolve().name
        return f"{one_line(Path(path).name)}, checkpoint {one_line(name)} ({describe_training(self.file)})"

    def videos(self) -> Iterator[tuple[str, VideoClips]]:
        """Decode the videos one after the other. Unreadable videos are reported and skipped.

        Yields:
            A unique name for the files of the video, and the video.

        Raises:
            UserError: After all other videos, if a video could not be read.
        """
        unread: list[Unscored] = []
        names = output_names([self.annotations.path(row) for row in range(len(self.annotations))])
        for row, name in enumerate(names):
            try:
                video = self.read(row)
            except DecodeError as error:
                unread.append(Unscored(row, error.path, error.reason))
                self.reporter.say(*describe_unread("pictures", unread[-1:]))
                continue
            yield name, video
        if unread:
            raise without("pictures", unread)

    def write(self, folder: str | Path, draw: Callable[[VideoClips], Mapping[str, bytes]]) -> Iterator[Path]:
        """Write the files of each video, and yield their paths.

        Args:
            folder: Output folder, which is created.
            draw: Returns the contents of the files of a video, keyed by the suffix that follows the name of the video.

        Raises:
            UserError: If a file cannot be written; or, after all other videos, if a video could not be read.
        """
        for name, video in self.videos():
            yield from write_files(Path(folder), {name + suffix: content for suffix, content in draw(video).items()})


def open_visualizer(
    network: NetworkOptions,
    frames: FrameOptions,
    videos: ShownVideosOptions,
    compute: VisualizeComputeOptions,
    *,
    verbose: bool = False,
) -> Visualizer:
    """Open a pre-trained checkpoint and a list of videos.

    Args:
        network: The checkpoint.
        frames: Frames and size of a clip.
        videos: The videos and the part of each to show.
        compute: The device and the decoder.
        verbose: Print notes on the checkpoint and on the videos on standard error.

    Raises:
        UserError: If a folder or list of videos does not exist, the checkpoint is not a pre-trained one, or the options
            do not make a clip.
    """
    file = open_checkpoint(network.checkpoint, network.model_key)
    clip = choose_frames(file, frames, MIDDLE.frame_sampling)
    annotations = load_named(videos.videos, data_root=videos.data_root, image_files=image_files_for(clip.num_frames))
    model, notes = build_pretrainer(file, num_frames=clip.num_frames, size=clip.size)
    world = start_device(compute.device)
    plan = choose_views(clip, frames, MIDDLE, frames_read=clip.num_frames)
    guessed = [name for name in clip.guessed if name != "frame_sampling"]
    flags = ", ".join("--input_size" if name == "size" else f"--{name}" for name in guessed)
    reporter = Reporter(world, verbose)
    reporter.say(
        f"{network.checkpoint}: {file.method}, {describe_training(file)}",
        *(f"note: {note}" for note in notes),
        *([f"note: the checkpoint does not store {flags}: using the default"] if flags else []),
    )
    model = model.to(world.device)
    world.close()
    return Visualizer(
        checkpoint=network.checkpoint,
        file=file,
        model=model,
        clip=clip,
        plan=plan,
        annotations=annotations,
        start=videos.start,
        seconds=videos.seconds,
        decoder=compute.decoder,
        reporter=reporter,
    )


def describe_training(file: CheckpointFile) -> str:
    """Number of steps or epochs of training, if the checkpoint stores it."""
    if file.step is not None:
        return f"{file.step} steps"
    return "training time unknown" if file.epoch is None else f"epoch {file.epoch}"


def output_names(videos: Sequence[str]) -> list[str]:
    """A unique file name without suffix for each video: its stem if that is not too long; duplicates are numbered."""
    # The last number of each stem, as a list may contain many videos of the same name.
    numbers: dict[str, int] = {}
    names: dict[str, None] = {}
    for path in videos:
        stem = name = cut_name(Path(path).stem, LONGEST_NAME - _ROOM)
        while name in names:
            numbers[stem] = numbers.get(stem, 1) + 1
            name = f"{stem}-{numbers[stem]}"
        names[name] = None
    return list(names)


def write_files(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files atomically and return their paths.

    Args:
        folder: The folder, which is created.
        contents: Contents by file name.

    Raises:
        UserError: If one cannot be written.
    """
    for name, content in contents.items():
        # Bound as a default argument, since the loop variable changes.
        publish(folder / name, lambda path, content=content: path.write_bytes(content))  # type: ignore[misc]
    return [folder / name for name in contents]
