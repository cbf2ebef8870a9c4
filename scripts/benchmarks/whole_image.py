"""A pyramid that sees one unit of each cell, against the same network fed the whole image with mask tokens.

The second follows SimMIM: three quarters of the units are replaced by a mask token after the projection of the
patches, the encoder takes all units in windows of twice the side, and a linear layer with PixelShuffle predicts pixels.
Both are timed in alternation on the same images; memory is measured in a separate process for each.

    python scripts/benchmarks/whole_image.py --model um_swin_tiny --batch_size 16 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from adamae.benchmark.activation_memory import count_kept_bytes
from adamae.benchmark.timing import take_turns
from adamae.layers.pixels import cut_pixels
from adamae.models import MODELS, Classifier, Pretrainer, create_model
from adamae.models.pyramid.encoder import PyramidEncoder
from adamae.peak_memory import peak_memory
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import draw_distinct
from adamae.selection import is_among

# Pre-train model -> classifier with the same encoder, which takes all units.
WHOLE = {"um_swin_micro": "swin_micro_256", "um_swin_tiny": "swin_tiny_256", "um_pvt_small": "pvt_small_256"}
CELLS, IMAGE = "one unit of each cell", "whole image with mask tokens"
MASK_RATIO = 0.75


class WholeImage(nn.Module):
    """SimMIM around the encoder of a classifier: the encoder takes mask tokens, and a single layer predicts pixels.

    Args:
        model: A pyramid classifier without a head, whose encoder includes the last norm.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        encoder = model.encoder
        assert isinstance(encoder, PyramidEncoder)
        self.grid, self.encoder, self.pixel_norm = model.grid, encoder, model.pixel_norm
        self.mask_token = nn.Parameter(torch.zeros(1, 1, encoder.patch_dim))
        outputs = encoder.in_chans * self.grid.tubelet_size * self.grid.patch_size**2
        # A feature of the last stage covers two by two units.
        self.head = nn.Linear(encoder.embed_dim, 4 * outputs)

    def forward(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Compute the loss of uint8 images (B, T, H, W, C): the mean absolute error of the masked units."""
        noise, total = SampleNoise(seeds), self.grid.num_tokens
        pixels = cut_pixels(images, self.grid, self.pixel_norm)
        every = torch.arange(total, device=pixels.device).expand(len(pixels), -1)
        masked = is_among(every, draw_distinct(noise.fold_in(0), total, int(MASK_RATIO * total)), total).unsqueeze(2)
        tokens = self.encoder.patch_embed(pixels)
        tokens = torch.where(masked, self.mask_token.repeat(1, 1, self.encoder.patches**2).to(tokens.dtype), tokens)
        features = self.encoder(tokens, noise.fold_in(1))
        t, h, w = self.grid.t, self.grid.h // 2, self.grid.w // 2
        shape = {"t": t, "h": h, "w": w, "i": 2, "j": 2}
        prediction = rearrange(self.head(features), "b (t h w) (i j p) -> b (t h i w j) p", **shape)
        error = (prediction - pixels).abs() * masked
        return error.sum() / (masked.sum() * pixels.shape[2])


def losses(name: str, batch_size: int) -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    """Build both networks, each with a function that computes its loss on the same random images."""
    size = 256
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch_size, 1, size, size, 3), dtype=torch.uint8, generator=generator)
    seeds = torch.arange(batch_size)
    torch.manual_seed(0)
    cells = create_model(name, img_size=size).train()
    whole = create_model(WHOLE[name], img_size=size, num_classes=0, use_mean_pooling=False)
    assert isinstance(cells, Pretrainer) and isinstance(whole, Classifier)
    image = WholeImage(whole).train()
    return {
        CELLS: (cells, lambda: cells(images, seeds=seeds).losses["loss"]),
        IMAGE: (image, lambda: image(images, seeds)),
    }


def step(network: nn.Module, loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Run the forward pass, the backward pass and the update."""
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


def steps(name: str, batch_size: int) -> dict[str, Callable[[], None]]:
    """Build a complete training step of each network."""

    def of(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
        return lambda: step(network, loss, optimizer)

    return {which: of(*both) for which, both in losses(name, batch_size).items()}


def peak_of(which: str, name: str, batch_size: int) -> int:
    """Return the peak memory in bytes that three steps add to a new process."""
    command = [sys.executable, __file__, "--model", name, "--batch_size", str(batch_size), "--peak_of", which]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(json.loads(ended.stdout.splitlines()[-1]))


def report_peak(which: str, name: str, batch_size: int) -> None:
    """Run in the process of :func:`peak_of`: print the bytes as JSON."""
    device = torch.device("cpu")
    before = peak_memory(device)
    chosen = steps(name, batch_size)[which]
    for _ in range(3):
        chosen()
    print(json.dumps(peak_memory(device) - before))


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(WHOLE.keys() & MODELS.keys()), default="um_swin_tiny")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no_time", action="store_true", help="memory only, which a busy machine does not change")
    parser.add_argument("--peak_of", choices=[CELLS, IMAGE], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak_of:
        report_peak(asked.peak_of, asked.model, asked.batch_size)
        return
    result: dict[str, object] = {"model": asked.model, "batch_size": asked.batch_size}
    peaks = {which: peak_of(which, asked.model, asked.batch_size) for which in (CELLS, IMAGE)}
    kept = {
        which: count_kept_bytes(loss, [*network.parameters(), *network.buffers()])
        for which, (network, loss) in losses(asked.model, asked.batch_size).items()
    }
    result |= {"kept_bytes": kept, "kept_ratio": kept[CELLS] / kept[IMAGE]}
    result |= {"peak_bytes": peaks, "peak_ratio": peaks[CELLS] / peaks[IMAGE]}
    if not asked.no_time:
        timings = take_turns(steps(asked.model, asked.batch_size), asked.rounds, torch.device("cpu"))
        seconds = {which: timing.wall for which, timing in timings.items()}
        result |= {"seconds": seconds, "time_ratio": seconds[CELLS] / seconds[IMAGE]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
