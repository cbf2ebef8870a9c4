"""How well a pre-trained network reconstructs moving and still tokens of held-out videos, from common visible tokens.

    .venv/bin/python scripts/benchmarks/reconstruction_error.py runs/quickstart/pretrain runs/quickstart/videos/test.csv

The visible tokens are drawn at random, with the same seeds for every network, at several mask ratios; the network's own
sampler is not used for them. The hit rate of its own sampler is measured as well. The clips are the middle clip of each
video, without crop or flip. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from hit_rate import read_middle
from torch import Tensor

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.data.annotations import load_annotations
from adamae.errors import UserError
from adamae.evaluation.clip_settings import training_clip
from adamae.grid import TokenGrid
from adamae.models import vit_pretrainer
from adamae.models.pretrainer import Pretrainer
from adamae.randomness import sample_seed
from adamae.samplers import build_sampler
from adamae.samplers.hit_rate import MOVING_SHARE, count_hits

RATIOS = (0.75, 0.9, 0.95)
BATCH = 32


@torch.no_grad()
def measure(run: str, data: str, device: str) -> dict[str, float]:
    """Measure mean errors of moving and still target tokens at each ratio, and the hit rate of the model's sampler.

    Raises:
        UserError: If the run or the list does not exist, the run is not a pre-training run, or a video has no motion
            mask.
    """
    file = open_checkpoint(run)
    if file.architecture.kind != "pretrain":
        raise UserError(f"{run}: is not a pre-training checkpoint; expected one with a decoder")
    model = vit_pretrainer(**file.architecture.options())
    load_weights(model, file)
    model.to(device).eval()
    annotations, rate = load_annotations(data, split="test"), training_clip(file).sampling_rate
    sums: dict[str, Tensor] = {}
    own = model.sampler
    for start in range(0, len(annotations), BATCH):
        rows = range(start, min(start + BATCH, len(annotations)))
        pairs = [read_middle(annotations.path(row), model.grid.clip_shape[0], rate) for row in rows]
        clips = torch.cat([middle_square(clip, model.grid) for clip, _ in pairs]).to(device)
        moving = torch.cat([middle_square(mask[:1], model.grid) for _, mask in pairs]).to(device)
        seeds = torch.tensor([sample_seed(0, 0, row) for row in rows], device=device)
        model.sampler = own
        selection = model(clips, seeds=seeds).selection
        hits, expected = count_hits(selection, moving, model.grid)
        # Drawing all tokens would hit all moving ones.
        per_draw = model.grid.num_tokens / selection.visible.shape[1]
        _add(sums, {"hits": hits.sum(), "expected": expected.sum(), "moving tokens": per_draw * expected.sum()})
        for ratio in RATIOS:
            _add(sums, region_errors(model, ratio, clips, moving, seeds))
    videos = len(annotations)
    result = {"hit_rate": float(sums["hits"] / sums["expected"]), "videos": videos}
    # Means per clip.
    result |= {"hits": float(sums["hits"]) / videos, "moving_tokens": float(sums["moving tokens"]) / videos}
    for ratio in RATIOS:
        for region in ("moving", "still"):
            result[f"{region}_{ratio:g}"] = float(sums[f"{region} {ratio:g}"] / sums[f"{region} {ratio:g} tokens"])
    return result


def middle_square(x: Tensor, grid: TokenGrid) -> Tensor:
    """Crop (B, T, H, W, ...) to the grid's height and width at the centre; the network rejects smaller clips."""
    _, height, width = grid.clip_shape
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, max(top, 0) :, max(left, 0) :][:, :, :height, :width]


def region_errors(model: Pretrainer, ratio: float, clips: Tensor, moving: Tensor, seeds: Tensor) -> dict[str, Tensor]:
    """Sum the errors over the target tokens of B clips and count the tokens, separately for moving and still ones.

    Args:
        model: Model, whose sampler is replaced.
        ratio: Mask ratio of the random masks.
        clips: (B, T, H, W, 3) uint8.
        moving: Motion masks (B, T, H, W) bool.
        seeds: Seeds (B,) of the masks.
    """
    model.sampler = build_sampler("random", ratio, model.grid, model.encoder.embed_dim)
    out = model(clips, seeds=seeds)
    share = model.grid.patchify(moving.unsqueeze(-1)).float().mean(dim=2)
    moves = (share >= MOVING_SHARE).gather(1, out.selection.target)
    sums = {}
    for region, chosen in (("moving", moves), ("still", ~moves)):
        sums[f"{region} {ratio:g}"] = (out.token_error * chosen).sum()
        sums[f"{region} {ratio:g} tokens"] = chosen.sum()
    return sums


def _add(sums: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    for name, value in more.items():
        sums[name] = sums.get(name, 0) + value.double()


def main(words: Sequence[str]) -> int:
    """Measure a run and print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="folder or checkpoint of a pre-training run")
    parser.add_argument("data", type=Path, help="list of videos with motion masks beside them")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    given = parser.parse_args(words)
    device = given.device if given.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        print(json.dumps(measure(given.run, str(given.data), device)))
    except UserError as error:
        print(f"reconstruction_error: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
