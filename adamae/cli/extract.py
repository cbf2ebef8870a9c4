"""``adamae extract``: features of sliding windows, with time stamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamae.options.evaluation import ExtractOptions, extract_parser

if TYPE_CHECKING:
    from adamae.data.annotations import Annotations
    from adamae.distributed import World
    from adamae.evaluation.features import WindowFeatures
    from adamae.evaluation.networks import FrozenEncoder
    from adamae.evaluation.viewing import Viewing


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the file cannot be written as asked, the checkpoint is none, or no video can be read.
    """
    _extract(extract_parser().parse(words).options)
    return 0


def _extract(options: ExtractOptions) -> None:
    from adamae.evaluation.feature_files import check_feature_file, write_features

    out = options.features.out
    check_feature_file(out)
    from adamae import distributed
    from adamae.data.named_videos import load_named
    from adamae.evaluation.viewing import MIDDLE, describe_damaged, describe_unread, open_viewing
    from adamae.progress import say

    annotations = load_named(options.data.videos, data_root=options.data.data_root, split="train")
    viewing = open_viewing(options.network, options.frames, options.selection, MIDDLE)
    encoder, changes = viewing.encoder()
    world = distributed.start(options.compute.device, timeout_seconds=options.compute.rendezvous_timeout)
    clip = viewing.clip
    say(
        f"{options.network.checkpoint}: {viewing.file.method}, feature dimension {encoder.width}",
        *(f"note: {note}" for note in changes),
        f"{len(annotations)} videos, windows of {clip.num_frames} frames with stride {clip.sampling_rate}",
        *viewing.selection.describe(viewing.seen),
    )
    found = _extract_windows(encoder, annotations, viewing, options, world)
    about = {
        "checkpoint": str(viewing.file.path),
        "list": annotations.source,
        "level": options.features.level,
        "num_frames": clip.num_frames,
        "sampling_rate": clip.sampling_rate,
        "size": clip.size,
        "selection": viewing.selection.arguments,
    }
    write_features(out, found, about)
    say(*describe_unread("features", found.unread), *describe_damaged(found.damaged))
    videos = len(annotations) - len(found.unread)
    print(f"{out}: {len(found.row)} windows of {videos} videos, features {found.features.shape[1:]}")
    world.close()


def _extract_windows(
    encoder: FrozenEncoder, annotations: Annotations, viewing: Viewing, options: ExtractOptions, world: World
) -> WindowFeatures:
    from adamae.evaluation.features import extract_windows
    from adamae.evaluation.windows import Windows
    from adamae.precision import choose_precision
    from adamae.progress import progress_bar

    clip = viewing.clip
    with progress_bar("extracting", world) as progress:
        return extract_windows(
            encoder.to(world.device),
            annotations,
            windows=Windows(clip.num_frames, clip.sampling_rate, options.features.window_step),
            plan=viewing.plan,
            level=options.features.level,
            decoder=options.compute.decoder,
            batch_size=options.compute.batch_size,
            precision=choose_precision(options.compute.precision, world.device),
            progress=progress,
        )
