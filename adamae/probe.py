"""Probes of the frozen features of any checkpoint: k-NN, linear and attentive.

from adamae.options.evaluation import ProbeOptions
from adamae.probe import probe

result = probe(ProbeOptions.of("runs/mine", data_path="videos"))
print(result.accuracies["knn"].top1)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from adamae.checkpoints.networks import FrozenEncoder
from adamae.data.image_files import image_files_for
from adamae.data.splits import Splits, load_splits
from adamae.distributed import World
from adamae.evaluation.metrics import Accuracy
from adamae.evaluation.probes import probe_features
from adamae.evaluation.setup import EvaluationSetup, compute_settings, describe_unread, open_setup, start_world
from adamae.evaluation.video_features import VideoFeatures, affordable_tokens, extract_videos
from adamae.options.evaluation import ProbeOptions
from adamae.progress import Reporter


@dataclass(frozen=True)
class ProbeResult:
    """Accuracies of the probes, and the features that they are trained and tested on.

    Attributes:
        checkpoint: Path of the checkpoint.
        random_weights: Whether the network has random weights instead.
        accuracies: Accuracy on the test videos by name of the probe: "knn", "linear" and, with tokens, "attentive".
        splits: The lists and the names of the classes.
        train: Features of the training videos.
        test: Features of the test videos.
    """

    checkpoint: str
    random_weights: bool
    accuracies: dict[str, Accuracy]
    splits: Splits
    train: VideoFeatures
    test: VideoFeatures

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "checkpoint": self.checkpoint,
            "weights": "random" if self.random_weights else "checkpoint",
            "classes": self.splits.num_classes,
            "training_videos": len(self.splits.train),
            "training_unread": len(self.train.unread),
            "test_videos": len(self.splits.test),
            "test_unread": len(self.test.unread),
            "probes": {name: accuracy.as_dict() for name, accuracy in self.accuracies.items()},
        }

    def render(self) -> str:
        """Format the accuracies as a table."""
        most = f"top-{next(iter(self.accuracies.values())).k}"
        lines = [f"{'probe':<12}{'top-1':>8}{'95 % interval':>18}{most:>9}{'mean class':>12}  correct"]
        for name, accuracy in self.accuracies.items():
            row = accuracy.as_dict()
            interval = "{:.1f} to {:.1f}".format(*row["top1_interval"])
            lines.append(
                f"{name:<12}{row['top1']:>7.2f}%{interval:>18}{row['top5']:>8.2f}%{row['mean_class']:>11.2f}%"
                f"  {row['top1_correct']} of {row['scored']}{accuracy.render_unscored()}"
            )
        return "\n".join(lines)


def probe(options: ProbeOptions, world: World | None = None, *, verbose: bool = False) -> ProbeResult:
    """Evaluate the frozen features of a checkpoint on labelled videos or images. No files are written.

    Args:
        options: All options of the probes; ``json`` has no effect.
        world: Its device is used, and each of its processes does all the work; None joins those of the launcher, and
            closes the world at the end.
        verbose: Print settings, notes and progress bars on standard error.

    Raises:
        UserError: If the checkpoint is invalid, the lists are missing or inconsistent, or no video of one can be read.
    """
    if world is None:
        with start_world(options.compute) as world:
            return probe(options, world, verbose=verbose)
    # Random weights are drawn from torch's generator, whose state is the caller's afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(options.probing.seed)
        return _probe(options, Reporter(world, verbose))


def _probe(options: ProbeOptions, reporter: Reporter) -> ProbeResult:
    probing = options.probing
    setup = open_setup(options.network, options.frames, options.selection, options.views)
    splits = load_splits(
        options.source,
        eval_data_path=options.data.eval_data_path,
        data_root=options.data.data_root,
        image_files=image_files_for(setup.clip.num_frames),
    )
    encoder, changes = setup.encoder(probing.random_weights)
    views, *selected = setup.describe(splits.train.noun)
    reporter.say(
        f"{options.network.checkpoint}: {setup.file.method}",
        *(f"note: {note}" for note in (*changes, *splits.notes)),
        f"{len(splits.train)} training and {len(splits.test)} test {splits.train.noun}s of "
        f"{splits.num_classes} classes: {views}",
        *selected,
    )
    train, test = _extract(encoder.to(reporter.world.device), splits, setup, options, reporter)
    labels, count = splits.test.labels, splits.num_classes
    accuracies = probe_features(train, test, labels, count, k=probing.k, seed=probing.seed)
    return ProbeResult(str(setup.file.path), probing.random_weights, accuracies, splits, train, test)


def _extract(
    encoder: FrozenEncoder, splits: Splits, setup: EvaluationSetup, options: ProbeOptions, reporter: Reporter
) -> tuple[VideoFeatures, VideoFeatures]:
    """Return the features of the training and of the test videos."""
    asked, videos_held = options.probing.probe_tokens, len(splits.train) + len(splits.test)
    tokens = affordable_tokens(asked, videos_held, setup.plan.num_views, encoder.width)
    if tokens < asked:
        reporter.say(f"note: the attentive probe uses {tokens} tokens per view instead of {asked}, as memory allows")
    settings = compute_settings(options.compute, reporter.world)
    found = []
    for name, videos in (("training", splits.train), ("test", splits.test)):
        dataset = setup.views_of(videos, options.compute)
        with reporter.progress_bar(f"{name} {videos.noun}s") as progress:
            features = extract_videos(encoder, dataset, most_tokens=tokens, progress=progress, **settings)
        reporter.say(*describe_unread("features", features.unread))
        found.append(features)
    train, test = found
    return train, test
