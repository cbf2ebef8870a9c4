"""Trial run: ten training steps of a tiny model."""

from __future__ import annotations

import math
import statistics
import time

import torch

from adamae.distributed import World
from adamae.doctor.findings import Finding
from adamae.models import create_model
from adamae.plain_text import first_line
from adamae.precision import choose_precision
from adamae.training.adam_state import build_optimizer
from adamae.training.engine import EngineSettings
from adamae.training.objectives import pretrain_objective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.torch_engine import TorchEngine

STEPS = 10
_CLIPS = 8
# Frames, height and width, as small as in the quickstart; so is the network.
_CLIP = (8, 64, 64)
_SIZES = {
    "num_frames": _CLIP[0], "img_size": _CLIP[1:], "patch_size": 8, "encoder_embed_dim": 96, "encoder_depth": 4,
    "encoder_num_heads": 4, "decoder_embed_dim": 64, "decoder_depth": 2, "decoder_num_heads": 4, "mask_ratio": 0.9,
}  # fmt: skip


def try_steps(world: World) -> Finding:
    """Pre-train on one batch of random clips, on the device and in the precision that a run would use."""
    precision = choose_precision("auto", world.device)
    value = f"{STEPS} steps on {world.device} in {precision}, {world.size} process{'es' if world.size > 1 else ''}"
    try:
        losses, seconds = _run(world, precision)
    # A broken installation surfaces as a RuntimeError of torch.
    except RuntimeError as error:
        return Finding("trial run", value, f"a step failed: {first_line(error)}")
    return judge_losses(f"{value}: {1000 * statistics.median(seconds[1:]):.0f} ms a step", losses)


def judge_losses(value: str, losses: list[float]) -> Finding:
    """Check whether the losses are finite."""
    value = f"{value}, loss {losses[0]:.3f} to {losses[-1]:.3f}"
    broken = not all(map(math.isfinite, losses))
    return Finding("trial run", value, "losses are not finite" if broken else "")


def _run(world: World, precision: str) -> tuple[list[float], list[float]]:
    torch.manual_seed(0)
    model = create_model("adamae_tiny", **_SIZES).to(world.device).train()
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    settings = EngineSettings(precision=precision)
    engine = TorchEngine(model, pretrain_objective, optimizer, world=world, settings=settings)
    batch = {
        "clip": torch.randint(256, (_CLIPS, *_CLIP, 3), dtype=torch.uint8),
        "seed": torch.arange(_CLIPS),
    }
    losses, seconds = [], []
    try:
        for _ in range(STEPS):
            begin = time.perf_counter()
            # item() waits for the device.
            losses.append(engine.step([batch], lr=1e-3, weight_decay=0.05)["loss"].item())
            seconds.append(time.perf_counter() - begin)
    finally:
        engine.close()
    return losses, seconds
