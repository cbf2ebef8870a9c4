"""Steps of small networks under ``fake_cuda()``: every mask, token selection and option that changes a step.

    python -m tests.fake_cuda.steps CASE...

prints a line of JSON for each case. It runs in a process of its own, because torch's autograd engine counts the devices
once, before the first backward pass of a process.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, get_args

import torch
from torch import nn

from adamae.data.batch import Batch
from adamae.distributed import World
from adamae.evaluation.scoring import evaluating, forward_in_batches
from adamae.models import create_model
from adamae.options.economy import economy_arguments
from adamae.samplers import SAMPLERS
from adamae.samplers.frame_choice import FrameRule
from adamae.samplers.token_choice import TokenStrategy
from adamae.training.adam_state import build_optimizer
from adamae.training.device_prefetch import prefetched
from adamae.training.ema import WeightEma
from adamae.training.engine import EngineSettings, Losses
from adamae.training.metrics import MetricAverager
from adamae.training.mixing import MIX
from adamae.training.objectives import FinetuneObjective, pretrain_objective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.torch_engine import TorchEngine
from tests.fake_cuda.device import DEVICE, fake_cuda
from tests.fake_cuda.watch import Watch

PRECISIONS = ("fp32", "bf16", "fp16")
BATCH = 4
CLIP: dict[str, Any] = {"img_size": 64, "num_frames": 4}
VIT = {
    **CLIP,
    **{"encoder_embed_dim": 64, "encoder_depth": 2, "encoder_num_heads": 2},
    **{"decoder_embed_dim": 64, "decoder_depth": 2, "decoder_num_heads": 2},
}
CLASSIFIER = {**CLIP, "embed_dim": 64, "depth": 2, "num_heads": 2, "num_classes": 5, "drop_path_rate": 0.2}
PYRAMID = {**CLIP, "tubelet_size": 2, "decoder_embed_dim": 64, "decoder_num_heads": 2, "decoder_depth": 1}
PVT = {"encoder_embed_dim": (32, 64, 96, 128), "encoder_depth": (1, 1, 1, 1), "encoder_num_heads": (1, 2, 3, 4)}
OF_CELLS = ("uniform", "adaptive_uniform")
# precision -> host waits during the "step" and while its results are read ("reading"); number of device operations for
# the "noise" of the step
Report = dict[str, dict[str, Any]]


def pretraining(name: str, options: dict[str, Any], recompute: Any = "none", **settings: Any) -> Report:
    """Run steps of a pre-train model."""
    model = create_model(name, **options)
    model.checkpoint_activations(recompute)
    return training(model, settings.pop("objective", pretrain_objective), **settings)


def finetuning(
    options: dict[str, Any], recompute: Any = "none", name: str = "vit_base_patch16_224", **settings: Any
) -> Report:
    """Run steps of a classifier."""
    model = create_model(name, **options)
    model.checkpoint_activations(recompute)
    return training(model, FinetuneObjective(), **settings)


def training(
    model: nn.Module,
    objective: Any,
    *,
    diagnose: bool = False,
    mix: bool = False,
    decay: float | None = None,
    on_host: bool = False,
    precisions: Iterable[str] = PRECISIONS,
    **of_engine: Any,
) -> Report:
    """Run a step in each precision as the loop does: batches to the device, engine, EMA of the weights, metrics."""
    model = model.to(DEVICE).train()
    report = {}
    for precision in precisions:
        optimizer, world = build_optimizer(parameter_groups(model, 0.05)), World(device=DEVICE)
        engine = TorchEngine(model, objective, optimizer, world=world, settings=EngineSettings(precision, **of_engine))
        average, metrics = WeightEma(model, decay, on_host), MetricAverager(world)
        batches = [_batch(model, mix) for _ in range(engine.accumulation)]
        with Watch() as step:
            metrics.add(1, engine.step(prefetched(batches, DEVICE), 1e-3, 0.05, diagnose=diagnose))
            average.after_step(1)
        with Watch() as reading:
            metrics.read()
        noise = step.by_file["randomness.py"]
        report[precision] = {"step": step.waits, "reading": reading.waits, "noise": noise}
    return report


def evaluation(options: dict[str, Any], name: str = "vit_base_patch16_224") -> Report:
    """Compute the scores of a batch of views in each precision."""
    model = create_model(name, **options).to(DEVICE)
    report = {}
    for precision in PRECISIONS:
        with Watch() as step, evaluating(model):
            logits = forward_in_batches(model, _batch(model)["clip"], BATCH // 2, precision)
        with Watch() as reading:
            logits.cpu()
        report[precision] = {"step": step.waits, "reading": reading.waits}
    return report


def _batch(model: nn.Module, mix: bool = False) -> Batch:
    """Return a batch on the host, as the loader returns it."""
    shape = (BATCH, *model.clip_shape)
    numbers = torch.arange(BATCH)
    batch = {"clip": torch.zeros(shape, dtype=torch.uint8), "seed": numbers, "index": numbers, "label": numbers}
    batch["motion_mask"] = torch.zeros(shape[:-1], dtype=torch.bool)
    return batch | {MIX: torch.zeros(BATCH, 6)} if mix else batch


def with_item(model: nn.Module, batch: Batch, diagnose: bool) -> Losses:
    """Pre-training objective with an additional host wait."""
    losses = pretrain_objective(model, batch, diagnose)
    return losses if losses["loss"].item() > 0 else {}


def with_host_index(model: nn.Module, batch: Batch, diagnose: bool) -> Losses:
    """Pre-training objective with an index on the wrong device."""
    order = torch.arange(len(batch["clip"]))
    return pretrain_objective(model, batch | {"clip": batch["clip"][order]}, diagnose)


def with_host_tensor(model: nn.Module, batch: Batch, diagnose: bool) -> Losses:
    """Pre-training objective with a tensor on the wrong device."""
    return pretrain_objective(model, batch | {"clip": batch["clip"] + torch.zeros(3, dtype=torch.uint8)}, diagnose)


def _vit(**options: Any) -> Callable[[], Report]:
    settings = {
        name: options.pop(name) for name in ("diagnose", "recompute", "objective", "precisions") if name in options
    }
    settings |= {name: options.pop(name) for name in ("accumulation", "clip_grad") if name in options}
    return partial(pretraining, "adamae_base", VIT | options, **settings)


def _masks() -> dict[str, Callable[[], Report]]:
    return {f"mask-{name}": _vit(mask_type=name, diagnose=True) for name in SAMPLERS}


def _pyramids() -> dict[str, Callable[[], Report]]:
    sizes: dict[str, dict[str, Any]] = {"um_swin_micro": {}, "um_pvt_small": PVT}
    return {
        f"{name}-{mask}": partial(pretraining, name, PYRAMID | sizes[name] | {"mask_type": mask})
        for name in sizes
        for mask in OF_CELLS
    }


def _selections() -> dict[str, Callable[[], Report]]:
    return {
        f"selection-{name}": partial(finetuning, CLASSIFIER | {"token_selection": name})
        for name in get_args(TokenStrategy)
    }


CASES: dict[str, Callable[[], Report]] = {
    **_masks(),
    **_pyramids(),
    **{f"frames-{rule}": _vit(candidate_frames=8, frame_choice=rule, diagnose=True) for rule in get_args(FrameRule)},
    "reward-progress": _vit(sampling_reward="progress"),
    "economy": _vit(**economy_arguments(64)),
    "checkpointed-decoder": _vit(recompute="decoder"),
    "checkpointed-all": _vit(recompute="all", **economy_arguments(64)),
    "accumulated-and-clipped": _vit(accumulation=2, clip_grad=1.0, drop_path_rate=0.1),
    **_selections(),
    "mixed-and-averaged": partial(finetuning, CLASSIFIER, mix=True, decay=0.99, clip_grad=1.0),
    "averaged-on-host": partial(finetuning, CLASSIFIER, decay=0.99, on_host=True),
    "finetuned-frames": partial(finetuning, CLASSIFIER | {"candidate_frames": 8}, recompute="all", accumulation=2),
    "finetuned-swin": partial(finetuning, CLIP | {"tubelet_size": 2, "num_classes": 5}, name="swin_micro_256"),
    "deep-pretraining": _vit(encoder_depth=12, decoder_depth=4, precisions=("bf16",)),
    "deep-finetuning": partial(finetuning, CLASSIFIER | {"depth": 12}, precisions=("bf16",)),
    "evaluated": partial(evaluation, CLASSIFIER),
    "evaluated-random-tokens": partial(evaluation, CLASSIFIER | {"token_selection": "random"}),
}
SPOILT: dict[str, Callable[[], Report]] = {
    "item": _vit(objective=with_item),
    "index": _vit(objective=with_host_index),
    "tensor": _vit(objective=with_host_tensor),
}


def main(names: Iterable[str]) -> None:
    """Run the named cases, or all of them without names."""
    known = CASES | {f"spoilt-{name}": case for name, case in SPOILT.items()}
    with fake_cuda():
        for name in list(names) or known:
            try:
                result: dict[str, Any] = {"report": known[name]()}
            except Exception:
                result = {"error": traceback.format_exc()}
            print(json.dumps({"case": name, **result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
