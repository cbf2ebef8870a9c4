"""``adamae probe``: what frozen features are worth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adamae.options.evaluation import ProbeOptions, probe_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is none, the lists do not fit together, or no video can be read.
    """
    options = probe_parser().parse(words).options
    _ = options.source
    report = _probe(options)
    print(json.dumps(report, indent=2, ensure_ascii=False) if options.probing.json else _render(report))
    return 0


def _probe(options: ProbeOptions) -> dict[str, Any]:
    import torch

    from adamae import distributed
    from adamae.checkpoints.formats import open_checkpoint
    from adamae.cli.run_record import say
    from adamae.cli.viewing import (
        choose_frames,
        choose_selection,
        choose_views,
        computing,
        decoding,
        describe_views,
        progress_bar,
    )
    from adamae.data.splits import load_splits
    from adamae.data.views import VideoViews
    from adamae.evaluation.features import affordable_tokens, extract_videos
    from adamae.evaluation.networks import build_encoder
    from adamae.evaluation.probes import probe_features

    file = open_checkpoint(options.network.checkpoint, options.network.model_key)
    clip = choose_frames(file, options.frames, options.views.frame_sampling)
    chosen = choose_selection(file, clip.num_frames, options.selection)
    seen, clip = clip.num_frames, replace(clip, num_frames=chosen.frames_read)
    plan = choose_views(clip, options.frames, options.views)
    splits = load_splits(options.source, eval_data_path=options.data.eval_data_path, data_root=options.data.data_root)
    probing = options.probing
    torch.manual_seed(probing.seed)
    encoder, changes = build_encoder(
        file,
        num_frames=seen,
        size=clip.size,
        random_weights=probing.random_weights,
        selection=chosen.arguments,
    )
    world = distributed.start(options.compute.device)
    say(
        f"{options.network.checkpoint}: {file.method}",
        *(f"note: {note}" for note in (*changes, *splits.notes)),
        f"{len(splits.train)} training and {len(splits.test)} test videos of {splits.num_classes} classes: "
        f"{describe_views(clip, plan)}",
        *chosen.describe(seen),
    )
    videos_held = len(splits.train) + len(splits.test)
    tokens = affordable_tokens(probing.probe_tokens, videos_held, plan.num_views, encoder.width)
    if tokens < probing.probe_tokens:
        say(f"note: of each view {tokens} tokens fit into memory for the attentive probe, not {probing.probe_tokens}")
    encoder = encoder.to(world.device)
    found = []
    for name, videos in (("training videos", splits.train), ("test videos", splits.test)):
        dataset = VideoViews(videos, plan, **decoding(options.compute))
        with progress_bar(name, world) as progress:
            features = extract_videos(
                encoder,
                dataset,
                most_tokens=tokens,
                progress=progress,
                **computing(options.compute, world),
            )
        say(*(f"no features: {video.path}: {video.reason}" for video in features.unread[:10]))
        found.append(features)
    train, test = found
    results = probe_features(train, test, splits.num_classes, k=probing.k, seed=probing.seed)
    return {
        "checkpoint": str(file.path),
        "weights": "random" if probing.random_weights else "checkpoint",
        "classes": splits.num_classes,
        "training_videos": len(train.labels),
        "test_videos": len(test.labels),
        "unread": len(train.unread) + len(test.unread),
        "probes": {name: accuracy.as_dict() for name, accuracy in results.items()},
    }


def _render(report: dict[str, Any]) -> str:
    lines = [f"{'probe':<12}{'top-1':>8}{'95 % interval':>18}{'top-5':>9}{'mean class':>12}  right"]
    for name, row in report["probes"].items():
        interval = "{:.1f} to {:.1f}".format(*row["top1_interval"])
        lines.append(
            f"{name:<12}{row['top1']:>7.2f}%{interval:>18}{row['top5']:>8.2f}%{row['mean_class']:>11.2f}%"
            f"  {row['top1_correct']} of {row['scored']}"
        )
    return "\n".join(lines)
