"""``adamae extract``: write features of sliding windows with timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamae.options.evaluation import ExtractOptions, extract_parser
from adamae.plain_text import counted

if TYPE_CHECKING:
    from adamae.checkpoints.networks import FrozenEncoder
    from adamae.data.annotations import Annotations
    from adamae.distributed import World
    from adamae.evaluation.features import WindowFeatures
    from adamae.evaluation.setup import EvaluationSetup


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the file cannot be written, the checkpoint is invalid, or no video can be read.
    """
    _extract(extract_parser().parse(words).options)
    return 0


def _extract(options: ExtractOptions) -> None:
    from adamae.evaluation.feature_files import check_feature_file, write_features

    out = options.features.out
    check_feature_file(out)
    from adamae import distributed
    from adamae.data.image_files import image_files_for
    from adamae.data.named_videos import load_named
    from adamae.evaluation.setup import MIDDLE, describe_damaged, describe_unread, open_setup
    from adamae.progress import say

    setup = open_setup(options.network, options.frames, options.selection, MIDDLE)
    annotations = load_named(
        options.data.videos,
        data_root=options.data.data_root,
        split="train",
        image_files=image_files_for(setup.seen),
    )
    encoder, changes = setup.encoder()
    world = distributed.start(options.compute.device, timeout_seconds=options.compute.rendezvous_timeout)
    clip = setup.clip
    windows = f"windows of {counted(clip.num_frames, 'frame')}"
    if clip.num_frames > 1:
        windows += f" with stride {clip.sampling_rate}"
    say(
        f"{options.network.checkpoint}: {setup.file.method}, feature dimension {encoder.width}",
        *(f"note: {note}" for note in changes),
        f"{counted(len(annotations), annotations.noun)}, {windows}",
        *setup.selection.describe(setup.seen),
    )
    found = _extract_windows(encoder, annotations, setup, options, world)
    about = {
        "checkpoint": str(setup.file.path),
        "list": annotations.source,
        "level": options.features.level,
        "num_frames": clip.num_frames,
        "sampling_rate": clip.sampling_rate,
        "size": clip.size,
        "selection": setup.selection.arguments,
    }
    write_features(out, found, about)
    say(*describe_unread("features", found.unread), *describe_damaged(found.damaged))
    read = counted(len(annotations) - len(found.unread), annotations.noun)
    print(f"{out}: {counted(len(found.row), 'window')} of {read}, features {found.features.shape[1:]}")
    world.close()


def _extract_windows(
    encoder: FrozenEncoder, annotations: Annotations, setup: EvaluationSetup, options: ExtractOptions, world: World
) -> WindowFeatures:
    from adamae.evaluation.features import extract_windows
    from adamae.evaluation.windows import Windows
    from adamae.precision import choose_precision
    from adamae.progress import progress_bar

    clip = setup.clip
    with progress_bar("extracting", world) as progress:
        return extract_windows(
            encoder.to(world.device),
            annotations,
            windows=Windows(clip.num_frames, clip.sampling_rate, options.features.window_step),
            plan=setup.plan,
            level=options.features.level,
            decoder=options.compute.decoder,
            batch_size=options.compute.batch_size,
            precision=choose_precision(options.compute.precision, world.device),
            progress=progress,
        )
