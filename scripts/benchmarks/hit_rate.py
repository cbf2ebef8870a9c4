"""How much more often the sampler looks at what moves than chance would: the hit rate of a run on held-out videos.

    .venv/bin/python scripts/benchmarks/hit_rate.py runs/quickstart/pretrain runs/quickstart/videos/test.csv

Several draws for every video, the middle clip without crop or flip. The interval is a bootstrap over videos, which are
the independent pieces; draws of one video are not. Prints a row of PRETRAIN.md's table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.data.annotations import load_annotations
from adamae.data.decoding import get_decoder
from adamae.data.motion_masks import read_motion_masks
from adamae.errors import UserError
from adamae.evaluation.clip_settings import training_clip
from adamae.models import vit_pretrainer
from adamae.randomness import sample_seed
from adamae.samplers.hit_rate import count_hits

DRAWS = 4
RESAMPLES = 10_000


@torch.no_grad()
def measure(run: str, data: str, sampling_rate: int | None) -> dict[str, float]:
    """Measure the hit rate with its interval, and the losses; ``sampling_rate`` None: that of training."""
    file = open_checkpoint(run)
    if file.architecture.kind != "pretrain":
        raise UserError(f"{run} is no pre-training checkpoint: expected one with a sampler")
    model = vit_pretrainer(**file.architecture.options())
    load_weights(model, file)
    model.eval()
    rate = training_clip(file).sampling_rate if sampling_rate is None else sampling_rate
    annotations = load_annotations(data, split="test")
    hits: list[Tensor] = []
    expected: list[Tensor] = []
    losses: list[list[float]] = []
    for row in range(len(annotations)):
        clip, masks = read_middle(annotations.path(row), model.grid.clip_shape[0], rate)
        seeds = torch.tensor([sample_seed(0, 0, row, draw) for draw in range(DRAWS)])
        out = model(clip.expand(DRAWS, -1, -1, -1, -1), seeds=seeds, diagnose=True)
        for total, each in zip((hits, expected), count_hits(out.selection, masks, model.grid), strict=True):
            total.append(each.mean())
        losses.append([float(out.losses[name]) for name in ("reconstruction", "trivial", "entropy", "top_tenth")])
    return summary(torch.stack(hits), torch.stack(expected)) | dict(
        zip(("reconstruction", "trivial", "entropy", "top_tenth"), np.mean(losses, axis=0).tolist(), strict=True)
    )


def read_middle(path: str, frames: int, sampling_rate: int) -> tuple[Tensor, Tensor]:
    """Read the middle clip (1, T, H, W, 3) of a video and its motion mask (DRAWS, T, H, W)."""
    span = (frames - 1) * sampling_rate + 1
    with get_decoder("pyav")(path) as reader:
        start = max(0, (reader.num_frames - span) // 2)
        indices = np.minimum(np.arange(start, start + span, sampling_rate), reader.num_frames - 1)
        clip = reader.read(indices)
    masks = read_motion_masks(path, indices)
    return torch.from_numpy(clip)[None], torch.from_numpy(masks).expand(DRAWS, -1, -1, -1)


def summary(hits: Tensor, expected: Tensor) -> dict[str, float]:
    """Return the hit rate of all videos together, with a 95 % bootstrap interval over the videos."""
    rows = torch.randint(len(hits), (RESAMPLES, len(hits)), generator=torch.Generator().manual_seed(0))
    resampled = hits[rows].sum(dim=1) / expected[rows].sum(dim=1)
    low, high = resampled.quantile(torch.tensor([0.025, 0.975])).tolist()
    return {"videos": len(hits), "hit_rate": float(hits.sum() / expected.sum()), "low": low, "high": high}


def main() -> int:
    """Measure runs and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder or checkpoint of a pre-training run")
    parser.add_argument("data", help="list of videos with ground truth beside them")
    parser.add_argument("--sampling_rate", type=int, help="take every n-th frame (default: as in training)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    try:
        found = measure(given.run, given.data, given.sampling_rate)
    except UserError as error:
        print(f"hit_rate: error: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(found))
    else:
        print(
            f"| {Path(given.run).name} | {found['hit_rate']:.2f} [{found['low']:.2f}, {found['high']:.2f}] "
            f"| {found['reconstruction']:.4f} | {found['trivial']:.4f} | {found['entropy']:.3f} "
            f"| {found['top_tenth']:.2f} | {found['videos']} |"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
