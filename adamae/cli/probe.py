"""``adamae probe``: evaluate frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adamae.options.evaluation import ProbeOptions, probe_parser
from adamae.plain_text import as_json

if TYPE_CHECKING:
    from adamae.checkpoints.networks import FrozenEncoder
    from adamae.data.splits import Splits
    from adamae.distributed import World
    from adamae.evaluation.features import VideoFeatures
    from adamae.evaluation.setup import EvaluationSetup


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is invalid, the lists are inconsistent, or no video can be read.
    """
    options = probe_parser().parse(words).options
    _ = options.source
    report = _probe(options)
    print(as_json(report) if options.probing.json else _render(report))
    return 0


def _probe(options: ProbeOptions) -> dict[str, Any]:
    """Return the report."""
    import torch

    from adamae import distributed
    from adamae.data.image_files import image_files_for
    from adamae.data.splits import load_splits
    from adamae.evaluation.probes import probe_features
    from adamae.evaluation.setup import open_setup
    from adamae.progress import say

    setup = open_setup(options.network, options.frames, options.selection, options.views)
    splits = load_splits(
        options.source,
        eval_data_path=options.data.eval_data_path,
        data_root=options.data.data_root,
        image_files=image_files_for(setup.seen),
    )
    probing = options.probing
    torch.manual_seed(probing.seed)
    encoder, changes = setup.encoder(probing.random_weights)
    world = distributed.start(options.compute.device, timeout_seconds=options.compute.rendezvous_timeout)
    views, *selected = setup.describe(splits.train.noun)
    say(
        f"{options.network.checkpoint}: {setup.file.method}",
        *(f"note: {note}" for note in (*changes, *splits.notes)),
        f"{len(splits.train)} training and {len(splits.test)} test {splits.train.noun}s of "
        f"{splits.num_classes} classes: {views}",
        *selected,
    )
    train, test = _extract(encoder, splits, setup, options, world)
    results = probe_features(train, test, splits.num_classes, k=probing.k, seed=probing.seed)
    return {
        "checkpoint": str(setup.file.path),
        "weights": "random" if probing.random_weights else "checkpoint",
        "classes": splits.num_classes,
        "training_videos": len(train.labels),
        "test_videos": len(test.labels),
        "unread": len(train.unread) + len(test.unread),
        "probes": {name: accuracy.as_dict() for name, accuracy in results.items()},
    }


def _extract(
    encoder: FrozenEncoder, splits: Splits, setup: EvaluationSetup, options: ProbeOptions, world: World
) -> tuple[VideoFeatures, VideoFeatures]:
    """Return the features of the training and of the test videos."""
    from adamae.evaluation.features import affordable_tokens, extract_videos
    from adamae.evaluation.setup import compute_settings, describe_unread
    from adamae.progress import progress_bar, say

    asked, videos_held = options.probing.probe_tokens, len(splits.train) + len(splits.test)
    tokens = affordable_tokens(asked, videos_held, setup.plan.num_views, encoder.width)
    if tokens < asked:
        say(f"note: the attentive probe uses {tokens} tokens per view instead of {asked}, as memory allows")
    encoder, settings = encoder.to(world.device), compute_settings(options.compute, world)
    found = []
    for name, videos in (("training", splits.train), ("test", splits.test)):
        dataset = setup.views_of(videos, options.compute)
        with progress_bar(f"{name} {videos.noun}s", world) as progress:
            features = extract_videos(encoder, dataset, most_tokens=tokens, progress=progress, **settings)
        say(*describe_unread("features", features.unread))
        found.append(features)
    train, test = found
    return train, test


def _render(report: dict[str, Any]) -> str:
    lines = [f"{'probe':<12}{'top-1':>8}{'95 % interval':>18}{'top-5':>9}{'mean class':>12}  correct"]
    for name, row in report["probes"].items():
        interval = "{:.1f} to {:.1f}".format(*row["top1_interval"])
        lines.append(
            f"{name:<12}{row['top1']:>7.2f}%{interval:>18}{row['top5']:>8.2f}%{row['mean_class']:>11.2f}%"
            f"  {row['top1_correct']} of {row['scored']}"
        )
    return "\n".join(lines)
