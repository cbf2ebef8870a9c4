"""A checkpoint and videos, opened to be looked at: what visualize, saliency and timeline have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.data.annotations import Annotations
from adamae.data.decoding import DecodeError, get_decoder
from adamae.data.named_videos import load_named
from adamae.data.views import ViewPlan
from adamae.distributed import start as start_device
from adamae.evaluation.networks import ClipFacts
from adamae.evaluation.scoring import Damaged, Unscored
from adamae.evaluation.viewing import MIDDLE, choose_frames, choose_views, describe_damaged, describe_unread, without
from adamae.evaluation.windows import Windows
from adamae.files import check_writable, publish
from adamae.models import Pretrainer
from adamae.options.viewing import FrameOptions, NetworkOptions
from adamae.options.visualize import FootageOptions, LookComputeOptions
from adamae.plain_text import one_line
from adamae.progress import say
from adamae.visualize.footage import Footage, choose_range, cut_into_clips, read_footage
from adamae.visualize.networks import build_pretrainer


@dataclass(frozen=True)
class Show:
    """A network and how it looks at videos.

    Attributes:
        checkpoint: As it was named.
        file: The same, opened.
        model: Its autoencoder, on the device.
        clip: The clips that it sees.
        plan: The square that is cut from a frame.
        videos: That are shown.
        footage: What of them.
        decoder: Name of the back end.
        out: Folder to write to; it may not be there yet.
    """

    checkpoint: str
    file: CheckpointFile
    model: Pretrainer
    clip: ClipFacts
    plan: ViewPlan
    videos: Annotations
    footage: FootageOptions
    decoder: str
    out: Path

    def read(self, row: int) -> Footage:
        """The shown part of a video.

        Raises:
            DecodeError: It cannot be read, or is too short to show anything.
        """
        path = self.videos.path(row)
        with get_decoder(self.decoder)(self.videos.video(row)) as reader:
            shown = choose_range(path, reader, self.footage.start, self.footage.seconds, self.model.grid.tubelet_size)
            if shown.stop < reader.num_frames:
                say(f"{one_line(path)}: {len(shown)} of {reader.num_frames} frames shown (--start, --seconds)")
            windows = Windows(self.clip.num_frames, self.clip.sampling_rate)
            starts = windows.starts(len(shown))
            cut = cut_into_clips(starts, len(shown), self.clip.num_frames, self.clip.sampling_rate)
            footage = read_footage(path, reader, shown, self.plan, cut)
            if reader.damaged:
                say(*describe_damaged([Damaged(row, path, reader.damaged)]))
            return footage

    def caption(self, path: str) -> str:
        """Which video, and whose pictures of it."""
        return f"{one_line(Path(path).name)}, checkpoint {Path(self.checkpoint).name} ({describe_training(self.file)})"


def open_show(
    network: NetworkOptions, frames: FrameOptions, footage: FootageOptions, compute: LookComputeOptions, out: str
) -> Show:
    """Open a checkpoint to look at videos with it.

    Raises:
        UserError: If nothing can be written to the folder ``out``, a folder or list of videos is none, the checkpoint
            is no pre-trained one, or the options fit no clip.
    """
    check_writable(Path(out), folder=True)
    videos = load_named(footage.videos, data_root=footage.data_root)
    file = open_checkpoint(network.checkpoint, network.model_key)
    clip = choose_frames(file, frames, MIDDLE.frame_sampling)
    model, notes = build_pretrainer(file, num_frames=clip.num_frames, size=clip.size)
    world = start_device(compute.device)
    plan = choose_views(clip, frames, MIDDLE)
    guessed = [name for name in clip.guessed if name != "frame_sampling"]
    flags = ", ".join("--input_size" if name == "size" else f"--{name}" for name in guessed)
    say(
        f"{network.checkpoint}: {file.method}, {describe_training(file)}",
        *(f"note: {note}" for note in notes),
        *([f"note: the checkpoint does not store {flags}: using the default"] if flags else []),
    )
    model = model.to(world.device)
    world.close()
    return Show(network.checkpoint, file, model, clip, plan, videos, footage, compute.decoder, Path(out))


def show_videos(show: Show, draw: Callable[[Footage], Mapping[str, bytes]]) -> None:
    """Write the pictures of every video, and print where they are. One that cannot be read is told and passed over.

    Args:
        show: The network and the videos.
        draw: From a video to the contents of its files, by what follows the video's name in theirs.

    Raises:
        UserError: If nothing can be written; or, when all else is written, if a video could not be read.
    """
    unread: list[Unscored] = []
    names = names_of([show.videos.path(row) for row in range(len(show.videos))])
    for row, name in enumerate(names):
        try:
            footage = show.read(row)
        except DecodeError as error:
            unread.append(Unscored(row, error.path, error.reason))
            say(*describe_unread("pictures", unread[-1:]))
            continue
        contents = draw(footage)
        for written in write_files(show.out, {name + ending: content for ending, content in contents.items()}):
            print(written)
    if unread:
        raise without("pictures", unread)


def describe_training(file: CheckpointFile) -> str:
    """How far a checkpoint was trained, as far as it tells."""
    if file.step is not None:
        return f"{file.step} steps"
    return "training time unknown" if file.epoch is None else f"epoch {file.epoch}"


def write_files(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files, each whole or not at all, and return where they are.

    Raises:
        UserError: If one cannot be written.
    """
    for name, content in contents.items():
        # Bound now: the loop's variable would have moved on.
        publish(folder / name, lambda path, content=content: path.write_bytes(content))  # type: ignore[misc]
    return [folder / name for name in contents]


def names_of(videos: Sequence[str]) -> list[str]:
    """A file name without suffix for each video; equal names get numbers."""
    # The last number of each stem: a list may name many videos alike.
    numbers: dict[str, int] = {}
    names: dict[str, None] = {}
    for path in videos:
        stem = name = Path(path).stem
        while name in names:
            numbers[stem] = numbers.get(stem, 1) + 1
            name = f"{stem}-{numbers[stem]}"
        names[name] = None
    return list(names)
