"""A complete run of a tiny real model on clips computed from their index, as a function and as a program."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adamae import distributed
from adamae.checkpoints.store import CheckpointStore
from adamae.data.batch import Batch
from adamae.models import Pretrainer, vit_pretrainer
from adamae.models.pyramid.factories import swin_pretrainer
from adamae.randomness import epoch_permutation, sample_generator, sample_seed
from adamae.training.adam_state import build_optimizer
from adamae.training.deepspeed import DeepSpeedEngine
from adamae.training.engine import Engine, EngineSettings
from adamae.training.loop import Outcome, train
from adamae.training.objectives import pretrain_objective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.plan import Plan
from adamae.training.run import Run
from adamae.training.run_logger import RunLogger
from adamae.training.schedules import CosineSchedule, Schedule
from adamae.training.torch_engine import TorchEngine

SEED = 3
VIDEOS = 26
EPOCHS = 3


def tiny_model() -> Pretrainer:
    torch.manual_seed(SEED)
    return vit_pretrainer(
        img_size=16,
        patch_size=8,
        num_frames=8,
        encoder_embed_dim=16,
        encoder_depth=1,
        encoder_num_heads=2,
        decoder_embed_dim=16,
        decoder_depth=1,
        decoder_num_heads=2,
        drop_path_rate=0.2,
        mask_ratio=0.75,
        sampling_weight=0.1,
    )


def tiny_pyramid() -> Pretrainer:
    torch.manual_seed(SEED)
    return swin_pretrainer(
        img_size=64,
        num_frames=8,
        tubelet_size=2,
        encoder_embed_dim=(8, 8, 16, 16),
        encoder_depth=(2, 1, 1, 1),
        encoder_num_heads=(1, 1, 2, 2),
        position_dim=4,
        decoder_embed_dim=16,
        decoder_depth=1,
        decoder_num_heads=2,
        drop_path_rate=0.2,
        mask_type="adaptive_uniform",
        sampling_weight=0.1,
    )


NETWORKS = {"vit": tiny_model, "swin": tiny_pyramid}


@dataclass
class NumberedClips(Dataset[Batch]):
    """Clips computed from (seed, epoch, index); video 5 is damaged and replaced by video 6."""

    shape: tuple[int, int, int] = (8, 16, 16)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        bad = [{"path": "five.mp4", "reason": "is empty", "index": 5}] if index == 5 else []
        noise = sample_generator(SEED, epoch, 6 if bad else index)
        clip = noise.integers(0, 256, (*self.shape, 3), dtype="uint8")
        moving = noise.random(self.shape) < 0.1
        return {
            "clip": torch.from_numpy(clip),
            "motion_mask": torch.from_numpy(moving),
            "index": index,
            "seed": sample_seed(SEED, epoch, index),
            "bad": bad,
        }


def collate(samples: list[Batch]) -> Batch:
    batch: Batch = {key: torch.stack([sample[key] for sample in samples]) for key in ("clip", "motion_mask")}
    batch |= {key: torch.tensor([sample[key] for sample in samples]) for key in ("index", "seed")}
    return batch | {"bad": [record for sample in samples for record in sample["bad"]]}


class EndlessBatches:
    """Keys of this rank's micro-batches, starting at an epoch and micro-batch."""

    def __init__(self, epoch: int, first: int, per_epoch: int, batch_size: int, world: distributed.World) -> None:
        self.start = (epoch, first, per_epoch, batch_size, world.rank, world.size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first, per_epoch, batch_size, rank, size = self.start
        while True:
            order = epoch_permutation(SEED, epoch, VIDEOS).tolist()
            for micro_batch in range(first, per_epoch):
                begin = (micro_batch * size + rank) * batch_size
                yield [(epoch, index) for index in order[begin : begin + batch_size]]
            epoch, first = epoch + 1, 0


@dataclass
class TinyBatches:
    """The numbered clips as a run's batches; ``stream``, if given, replaces them."""

    world: distributed.World
    batch_size: int
    accumulation: int
    workers: int
    pause: float
    stream: Any
    clips: NumberedClips
    num_videos: int = VIDEOS

    def rows_of(self, paths: Iterable[str]) -> dict[str, list[int]]:
        return {path: [5] for path in paths if path == "five.mp4"}

    def quarantine(self, rows: Iterable[int]) -> None:
        pass

    def __call__(self, epoch: int, first: int) -> Any:
        if self.stream is not None:
            return self.stream(epoch, first)
        per_epoch = VIDEOS // (self.batch_size * self.accumulation * self.world.size) * self.accumulation
        keys = EndlessBatches(epoch, first, per_epoch, self.batch_size, self.world)
        loader = DataLoader(self.clips, batch_sampler=keys, num_workers=self.workers, collate_fn=collate)  # type: ignore[arg-type]
        return slowly(loader, self.pause)


def run(
    output: Path,
    *,
    engine: str = "plain",
    network: str = "vit",
    batch_size: int = 4,
    accumulation: int = 1,
    workers: int = 0,
    max_steps: int = 0,
    log_every: int = 5,
    save_every_steps: int = 4,
    resume: str = "auto",
    precision: str = "fp32",
    tensorboard: bool = False,
    pause: float = 0.0,
    world: distributed.World | None = None,
    stream: Any = None,
    callbacks: Any = None,
    **options: Any,
) -> Outcome:
    world = world or distributed.World()
    model = NETWORKS[network]()
    clips = NumberedClips(model.grid.clip_shape)
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    settings = EngineSettings(precision, clip_grad=1.0, accumulation=accumulation)
    body: Engine
    if engine == "plain":
        body = TorchEngine(model, pretrain_objective, optimizer, world=world, settings=settings)
    else:
        config = {"zero_optimization": {"stage": int(engine[-1])}}
        body = DeepSpeedEngine(
            model,
            pretrain_objective,
            optimizer,
            world=world,
            config=config,
            batch_size=batch_size,
            settings=settings,
        )
    steps_per_epoch = VIDEOS // (batch_size * accumulation * world.size)

    plan = Plan(EPOCHS, steps_per_epoch, max_steps, log_every=log_every, save_every_steps=save_every_steps, seed=SEED)
    lr = CosineSchedule(1e-2, 1e-5, plan.scheduled_steps, warmup_steps=3)
    store = CheckpointStore(output / "checkpoints")
    logger = RunLogger(output, tensorboard=output / "tensorboard" if tensorboard else None)
    outcome = train(
        body,
        TinyBatches(world, batch_size, accumulation, workers, pause, stream, clips),
        Run(
            Schedule(plan, lr, CosineSchedule(0.05, 0.1, plan.scheduled_steps)),
            store,
            logger,
            world,
            resume=world.on_main(lambda: store.begin(store.find(resume))),
            description={"model": "tiny"},
            quiet=True,
            **options,
        ),
        callbacks,
    )
    logger.close()
    body.close()
    return outcome


def slowly(stream: Any, seconds: float) -> Any:
    for batch in stream:
        time.sleep(seconds)
        yield batch


def weights(output: Path) -> dict[str, Tensor]:
    newest = CheckpointStore(output / "checkpoints").newest()
    assert newest is not None
    return newest.weights()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--network", default="vit")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.0)
    flags = parser.parse_args()
    ended = run(flags.output, network=flags.network, workers=flags.workers, pause=flags.pause)
    print("ended", ended.step, ended.signal, flush=True)
