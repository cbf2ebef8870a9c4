"""A checkpoint and videos, opened to be looked at: what visualize, saliency and timeline have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.checkpoints.tensor_files import publish
from adamae.cli.run_record import say
from adamae.cli.viewing import MIDDLE, choose_frames, choose_views
from adamae.data.decoding import get_decoder
from adamae.data.views import ViewPlan
from adamae.distributed import start as start_device
from adamae.errors import UserError
from adamae.evaluation.networks import ClipFacts
from adamae.evaluation.windows import Windows
from adamae.models import Pretrainer
from adamae.options.viewing import FrameOptions, NetworkOptions
from adamae.options.visualize import FootageOptions, LookComputeOptions
from adamae.plain_text import one_line
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
        footage: Which videos, and what of them.
        decoder: Name of the back end.
    """

    checkpoint: str
    file: CheckpointFile
    model: Pretrainer
    clip: ClipFacts
    plan: ViewPlan
    footage: FootageOptions
    decoder: str

    def check_videos(self) -> None:
        """Open every video, so that a bad one is told before anything is made.

        Raises:
            UserError: If one cannot be read, or is too short to show anything.
        """
        for path in self.footage.videos:
            with get_decoder(self.decoder)(path) as reader:
                choose_range(path, reader, self.footage.start, self.footage.seconds, self.model.grid.tubelet_size)

    def read(self, path: str) -> Footage:
        """The shown part of a video."""
        with get_decoder(self.decoder)(path) as reader:
            shown = choose_range(path, reader, self.footage.start, self.footage.seconds, self.model.grid.tubelet_size)
            if shown.stop < reader.num_frames:
                say(f"{path}: {len(shown)} of {reader.num_frames} frames are shown (--start, --seconds)")
            windows = Windows(self.clip.num_frames, self.clip.sampling_rate)
            starts = windows.starts(len(shown))
            cut = cut_into_clips(starts, len(shown), self.clip.num_frames, self.clip.sampling_rate)
            return read_footage(path, reader, shown, self.plan, cut)

    def caption(self, path: str) -> str:
        """Which video, and whose pictures of it."""
        return f"{one_line(Path(path).name)}, seen by {Path(self.checkpoint).name} ({describe_training(self.file)})"


def open_show(
    network: NetworkOptions, frames: FrameOptions, footage: FootageOptions, compute: LookComputeOptions
) -> Show:
    """Open a checkpoint to look at videos with it.

    Raises:
        UserError: If it is no pre-trained checkpoint, or the options fit no clip.
    """
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
        *([f"note: the checkpoint does not tell {flags}: the usual value is taken"] if flags else []),
    )
    model = model.to(world.device)
    world.close()
    return Show(network.checkpoint, file, model, clip, plan, footage, compute.decoder)


def show_videos(show: Show, out: str, draw: Callable[[Footage], Mapping[str, bytes]]) -> None:
    """Write the pictures of every video, and print where they are.

    Args:
        show: The network and the videos.
        out: Folder to write to.
        draw: From a video to the contents of its files, by what follows the video's name in theirs.

    Raises:
        UserError: If a video cannot be read, before anything is written; or if nothing can be written.
    """
    show.check_videos()
    folder = check_folder(out)
    videos = show.footage.videos
    for path, name in zip(videos, names_of(videos), strict=True):
        contents = draw(show.read(path))
        for written in write_files(folder, {name + ending: content for ending, content in contents.items()}):
            print(written)


def describe_training(file: CheckpointFile) -> str:
    """How far a checkpoint was trained, as far as it tells."""
    if file.step is not None:
        return f"{file.step} steps"
    return "training time unknown" if file.epoch is None else f"epoch {file.epoch}"


def check_folder(out: str) -> Path:
    """The folder to write to, made if need be.

    Raises:
        UserError: If nothing can be written there.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}") from error
    return folder


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
    names: list[str] = []
    for path in videos:
        stem, name, number = Path(path).stem, Path(path).stem, 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
