"""Features of sliding windows over videos, or of images, from the encoder of any checkpoint.

from adamae.extract import extract
from adamae.options.evaluation import ExtractOptions

extraction = extract(ExtractOptions.of("runs/mine", "videos"))
print(extraction.windows.features.shape, extraction.windows.path)
extraction.write("features.npz")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adamae.data.annotations import Annotations
from adamae.data.image_files import image_files_for
from adamae.data.loader import choose_workers
from adamae.data.named_videos import load_named
from adamae.distributed import World
from adamae.evaluation.feature_files import write_features
from adamae.evaluation.setup import (
    MIDDLE,
    EvaluationSetup,
    describe_damaged,
    describe_unread,
    open_setup,
    start_world,
)
from adamae.evaluation.window_features import WindowFeatures, extract_windows
from adamae.evaluation.windows import Windows
from adamae.options.evaluation import ExtractOptions
from adamae.plain_text import counted
from adamae.precision import choose_precision
from adamae.progress import Reporter

# One thread that decodes ahead was slower than none, two and more were faster (two cores, 2026-11-28).
_LEAST_THREADS = 2


@dataclass(frozen=True)
class Extraction:
    """Features of the videos of a list.

    Attributes:
        windows: Features, positions, paths and labels of all windows, and the videos without features.
        annotations: The list.
        about: Checkpoint and settings, as JSON values.
    """

    windows: WindowFeatures
    annotations: Annotations
    about: dict[str, Any]

    def write(self, path: str | Path) -> None:
        """Write the file of ``adamae extract``.

        Args:
            path: Ends in ``.npz`` or ``.parquet``.

        Raises:
            UserError: If the ending is another, or the file cannot be written.
        """
        write_features(path, self.windows, self.about)


def extract(options: ExtractOptions, world: World | None = None, *, verbose: bool = False) -> Extraction:
    """Extract features of sliding windows over videos, or of images. No files are written.

    Args:
        options: All options of the extraction; ``out`` has no effect.
        world: Its device is used, and each of its processes does all the work; None joins those of the launcher, and
            closes the world at the end.
        verbose: Print settings, notes and a progress bar on standard error.

    Raises:
        UserError: If the checkpoint is invalid, its network does not encode all tokens and frames that the level needs,
            a list or folder of videos does not exist, or no video can be read.
    """
    if world is None:
        with start_world(options.compute) as world:
            return extract(options, world, verbose=verbose)
    reporter = Reporter(world, verbose)
    setup = open_setup(options.network, options.frames, options.selection, MIDDLE)
    annotations = load_named(
        options.data.videos,
        data_root=options.data.data_root,
        split="train",
        image_files=image_files_for(setup.clip.num_frames),
    )
    encoder, changes = setup.encoder()
    clip, frames_read = setup.clip, setup.selection.frames_read
    windows = f"windows of {counted(frames_read, 'frame')}"
    if frames_read > 1:
        windows += f" with stride {clip.sampling_rate}"
    reporter.say(
        f"{options.network.checkpoint}: {setup.file.method}, feature dimension {encoder.width}",
        *(f"note: {note}" for note in changes),
        f"{counted(len(annotations), annotations.noun)}, {windows}",
        *setup.selection.describe(clip.num_frames),
    )
    with reporter.progress_bar("extracting") as progress:
        found = extract_windows(
            encoder.to(world.device),
            annotations,
            windows=Windows(frames_read, clip.sampling_rate, options.features.window_step),
            plan=setup.plan,
            level=options.features.level,
            decoder=options.compute.decoder,
            batch_size=options.compute.batch_size,
            num_threads=_decoding_threads(options.compute.num_workers),
            precision=choose_precision(options.compute.precision, world.device),
            progress=progress,
        )
    reporter.say(*describe_unread("features", found.unread), *describe_damaged(found.damaged))
    return Extraction(found, annotations, _about(setup, annotations, options.features.level))


def _decoding_threads(asked: int | None) -> int:
    """Return ``asked``, or else as many as a loader has workers, but at least two."""
    return max(choose_workers(None), _LEAST_THREADS) if asked is None else asked


def _about(setup: EvaluationSetup, annotations: Annotations, level: str) -> dict[str, Any]:
    clip = setup.clip
    return {
        "checkpoint": str(setup.file.path),
        "list": annotations.source,
        "level": level,
        "num_frames": setup.selection.frames_read,
        "sampling_rate": clip.sampling_rate,
        "size": clip.size,
        "selection": setup.selection.arguments,
    }
