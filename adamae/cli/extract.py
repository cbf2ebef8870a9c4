"""``adamae extract``: features of sliding windows, with time stamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adamae.options.evaluation import ExtractOptions, extract_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the file cannot be written as asked, the checkpoint is none, or no video can be read.
    """
    _extract(extract_parser().parse(words).options)
    return 0


def _extract(options: ExtractOptions) -> None:
    from adamae.evaluation.feature_files import check_feature_file, write_features

    check_feature_file(options.features.out)
    from adamae import distributed
    from adamae.checkpoints.formats import open_checkpoint
    from adamae.cli.run_record import say
    from adamae.cli.viewing import choose_frames, choose_selection, computing, progress_bar
    from adamae.data.annotations import load_annotations
    from adamae.data.views import plan_test
    from adamae.evaluation.features import extract_windows
    from adamae.evaluation.networks import build_encoder
    from adamae.evaluation.windows import Windows

    file = open_checkpoint(options.network.checkpoint, options.network.model_key)
    # Windows are cut from the video's own time, whatever a classifier was trained on.
    clip = choose_frames(file, options.frames, "dense")
    chosen = choose_selection(file, clip.num_frames, options.selection)
    encoder, changes = build_encoder(file, num_frames=clip.num_frames, size=clip.size, selection=chosen.arguments)
    seen, clip = clip.num_frames, replace(clip, num_frames=chosen.frames_read)
    annotations = load_annotations(options.data.data_path, data_root=options.data.data_root)
    world = distributed.start(options.compute.device)
    windows = Windows(clip.num_frames, clip.sampling_rate, options.features.window_step)
    say(
        f"{options.network.checkpoint}: {file.method}, features of {encoder.width} numbers",
        *(f"note: {note}" for note in changes),
        f"{len(annotations)} videos, windows of {clip.num_frames} frames at every {clip.sampling_rate}. frame",
        *chosen.describe(seen),
    )
    settings = computing(options.compute, world)
    with progress_bar("extracting", world) as progress:
        found = extract_windows(
            encoder.to(world.device),
            annotations,
            windows=windows,
            plan=plan_test(
                num_frames=clip.num_frames,
                sampling_rate=clip.sampling_rate,
                size=clip.size,
                num_crops=1,
                short_side=options.frames.short_side_size,
            ),
            level=options.features.level,
            decoder=options.compute.decoder,
            batch_size=options.compute.batch_size,
            precision=str(settings["precision"]),
            progress=progress,
        )
    about = {
        "checkpoint": str(file.path),
        "list": annotations.source,
        "level": options.features.level,
        "num_frames": clip.num_frames,
        "sampling_rate": clip.sampling_rate,
        "size": clip.size,
        "selection": chosen.arguments,
    }
    write_features(options.features.out, found, about)
    say(*(f"no features: {video.path}: {video.reason}" for video in found.unread[:10]))
    videos = len(annotations) - len(found.unread)
    print(f"{options.features.out}: {len(found.row)} windows of {videos} videos, features {found.features.shape[1:]}")
    world.close()
