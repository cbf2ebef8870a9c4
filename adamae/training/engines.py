"""Choice and construction of the engine from the options of a run."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from adamae import distributed
from adamae.distributed import World
from adamae.launch import Launch
from adamae.options.groups import RunOptions
from adamae.options.training import TrainingOptions
from adamae.precision import choose_precision
from adamae.training.adam_state import build_optimizer
from adamae.training.engine import Engine, EngineSettings, Objective
from adamae.training.parameter_groups import Group
from adamae.training.torch_engine import TorchEngine


def choose_engine(asked: str, world_size: int) -> str:
    """Return the name of the engine; "auto" is plain torch for one process and DeepSpeed for several."""
    if asked != "auto":
        return asked
    return "deepspeed" if world_size > 1 else "plain"


def start_training_world(run: RunOptions) -> World:
    """Start the processes of a run in the way that its engine requires.

    Raises:
        UserError: If the device does not exist, or a process does not answer in time.
    """
    engine = choose_engine(run.engine, Launch.detect().size)
    return distributed.start(
        run.device,
        timeout_seconds=run.rendezvous_timeout,
        heartbeat_timeout=run.heartbeat_timeout,
        group_of_one=engine == "deepspeed",
    )


def build_engine(
    options: TrainingOptions, model: nn.Module, objective: Objective, groups: Sequence[Group], world: World
) -> Engine:
    """Build the engine that trains ``model``.

    Args:
        options: Options of the run.
        model: The model to train, on the world's device.
        objective: Computes the losses of a batch.
        groups: From :func:`~adamae.training.parameter_groups.parameter_groups`.
        world: The processes of the run.

    Raises:
        UserError: If DeepSpeed is requested and is missing or rejects its settings.
    """
    optimizer = build_optimizer(groups, betas=options.optimizer.opt_betas, eps=options.optimizer.opt_eps)
    settings = EngineSettings(
        precision=choose_precision(options.run.precision, world.device),
        clip_grad=options.optimizer.clip_grad or 0.0,
        accumulation=options.accumulation,
        compile_model=options.run.compile,
    )
    if choose_engine(options.run.engine, world.size) == "plain":
        return TorchEngine(model, objective, optimizer, world=world, settings=settings)
    from adamae.training.deepspeed import DeepSpeedEngine, read_config

    config = read_config(options.run.deepspeed_file)
    return DeepSpeedEngine(
        model,
        objective,
        optimizer,
        world=world,
        config=config,
        batch_size=options.clips_per_micro_batch,
        settings=settings,
    )


def describe_machine(options: TrainingOptions, world: World) -> str:
    """Describe device, precision and engine of a run in one line."""
    precision = choose_precision(options.run.precision, world.device)
    return f"machine: {world.device}, {precision}, {choose_engine(options.run.engine, world.size)} engine"
