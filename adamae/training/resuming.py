"""Resuming: find the checkpoint, check that it belongs to the run, and align the schedule with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from adamae.checkpoints.run_checkpoint import Checkpoint, DamagedError
from adamae.checkpoints.store import CheckpointStore
from adamae.distributed import World
from adamae.errors import UserError
from adamae.launch import requeued_slurm_job
from adamae.models import Pretrainer
from adamae.models.families import family_named
from adamae.options.record import differences
from adamae.samplers import DEFAULT, SAMPLERS
from adamae.training.plan import CheckpointPosition, Plan
from adamae.training.schedules import Schedule

# Keys in a checkpoint's meta: the path of another run from which its run began, and the Slurm job that wrote it.
ORIGIN, JOB = "began_from", "slurm_job"
_HINT = "choose another --output_dir, or --resume none to start a new run"


def find_checkpoint(
    store: CheckpointStore,
    resume: str,
    model: nn.Module,
    config: Mapping[str, Any],
    schedule: Schedule,
    world: World,
) -> tuple[Checkpoint | None, Schedule]:
    """Find the checkpoint that ``--resume`` refers to, without writing anything.

    ``--resume PATH`` and ``--resume none`` take effect only once: if the run's own checkpoints began from the given
    path, or were written by the Slurm job that is now requeued, the newest of them is used.

    Args:
        store: The run's checkpoints.
        resume: "auto", "none", a checkpoint or another run's output.
        model: The model to train.
        config: The model's config in checkpoints, see :func:`~adamae.checkpoints.network_config.describe_network`.
        schedule: Schedule of the run.
        world: The processes of the run; the main one reads.

    Returns:
        The checkpoint to resume from, None for a new run; and the schedule that continues from the checkpoint's step.

    Raises:
        UserError: If checkpoints are damaged or missing, if the checkpoint is of another kind of run or another
            network, if its position cannot be expressed in this run's steps, or if not every rank can access it.
    """

    def find() -> tuple[Checkpoint | None, Plan]:
        checkpoint = _begun(store, resume) or store.find(resume)
        if checkpoint is None:
            return None, schedule.plan
        check_same_run(checkpoint, model, config)
        return checkpoint, _plan_from(checkpoint, model, schedule.plan)

    checkpoint, plan = world.on_main(find)
    if checkpoint is not None:
        _check_shared(checkpoint, world)
    return checkpoint, replace(schedule, plan=plan)


def _begun(store: CheckpointStore, resume: str) -> Checkpoint | None:
    """Return the newest checkpoint of the run if it has already begun from ``resume``; None if not or unknown."""
    origin, job = origin_named(resume), requeued_slurm_job()
    if resume == "auto" or (origin is None and job is None):
        return None
    try:
        own = store.newest()
    except DamagedError:
        return None
    if own is None:
        return None
    of_origin = origin is not None and own.meta.get(ORIGIN) == origin
    return own if of_origin or (job is not None and own.meta.get(JOB) == job) else None


def origin_named(resume: str) -> str | None:
    """Return the resolved path of ``--resume PATH``; None for "auto" and "none"."""
    return None if resume in ("auto", "none") else str(Path(resume).resolve())


def origin_of(store: CheckpointStore, checkpoint: Checkpoint | None, resume: str) -> str | None:
    """Return the ``--resume PATH`` of another run from which this run began; None if it began from scratch."""
    if checkpoint is None:
        return None
    return checkpoint.meta.get(ORIGIN) if store.holds(checkpoint) else origin_named(resume)


def _check_shared(checkpoint: Checkpoint, world: World) -> None:
    """Check that all ranks can access the checkpoint that the main rank found.

    Raises:
        UserError: If a rank cannot.
    """
    seen = world.gather(checkpoint.directory.is_dir())
    without = [str(rank) for rank, sees in enumerate(seen) if not sees]
    if without:
        raise UserError(
            f"{checkpoint.directory}: rank 0 found this checkpoint, and {'ranks' if without[1:] else 'rank'} "
            f"{', '.join(without)} cannot see it: expected one --output_dir (and --resume PATH) for all machines"
        )


def check_same_run(checkpoint: Checkpoint, model: nn.Module, config: Mapping[str, Any]) -> None:
    """Check that a checkpoint has the same kind of training and the same network as the run.

    Raises:
        UserError: If the checkpoint has no training state, or is of another kind, with other classes or sizes.
    """
    where, found = checkpoint.directory, _as_mapping(checkpoint.meta.get("model"))
    if "validation" in checkpoint.meta:
        raise UserError(f"{where}: is the best checkpoint of validation, which contains only weights; {_HINT}")
    names, own_names = found.get("class_names"), config.get("class_names")
    if own_names is None and names is not None:
        raise UserError(f"{where}: is a fine-tuning checkpoint, expected a pre-training checkpoint; {_HINT}")
    if own_names is not None and names is None:
        raise UserError(f"{where}: is not a fine-tuning checkpoint; start from it with --finetune; {_HINT}")
    if names is not None and names != own_names:
        raise UserError(f"{where}: was trained on other classes ({', '.join(names[:4])}, ...); {_HINT}")
    kinds = [str(each.get("family", "vit")) for each in (found, config)]
    if kinds[0] != kinds[1]:
        raise UserError(f"{where}: is of a different model (encoder {kinds[0]} -> {kinds[1]}); {_HINT}")
    given = [_as_mapping(each.get("options")) for each in (found, config)]
    family, pretrain = family_named(kinds[1]), isinstance(model, Pretrainer)
    before, now = (family.weight_arguments(each, pretrain=pretrain) for each in given)
    if isinstance(model, Pretrainer):
        before, now = ({**one, **other} for one, other in zip((before, now), _samplers(*given), strict=True))
    changed = differences(before, now) if found.get("options") else []
    changed = changed or _other_shapes(checkpoint, model)
    if changed:
        raise UserError(f"{where}: is of a different model ({', '.join(changed)}); {_HINT}")


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _samplers(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of both networks' samplers that affect weights; nothing for samplers that are not learned."""
    kinds = [given.get("mask_type", DEFAULT) for given in (before, now)]
    known = [SAMPLERS[kind] for kind in kinds if kind in SAMPLERS]
    if kinds[0] == kinds[1]:
        usual, names = known[0].sampler_class.keywords(), known[0].weight_options
        old, new = ({name: given.get(name, usual[name]) for name in names} for given in (before, now))
        return old, new
    if len(known) == len(kinds) and not any(each.sampler_class.learns for each in known):
        return {}, {}
    return {"mask_type": kinds[0]}, {"mask_type": kinds[1]}


def _other_shapes(checkpoint: Checkpoint, model: nn.Module) -> list[str]:
    """Describe weights that only one of both has or that differ in shape: they cannot be loaded with any config."""
    before = {name: "x".join(map(str, shape)) for name, shape in checkpoint.shapes().items()}
    now = {name: "x".join(map(str, value.shape)) for name, value in model.state_dict().items()}
    changed = differences(before, now)
    return changed if len(changed) < 4 else [*changed[:2], f"and {len(changed) - 2} more weights"]


def _plan_from(checkpoint: Checkpoint, model: nn.Module, plan: Plan) -> Plan:
    """Return the plan, aligned with the checkpoint's position."""
    meta, args = checkpoint.meta, _as_mapping(checkpoint.meta.get("args"))
    epochs = float(meta.get("epoch") or checkpoint.step / plan.steps_per_epoch)
    clips = int(args.get("total_batch_size") or 0)
    repeats = int(args.get("num_sample", 1)) if isinstance(model, Pretrainer) else 1
    position = CheckpointPosition(
        step=checkpoint.step,
        epochs=epochs,
        # Old checkpoints have no "steps_per_epoch"; in them step and epoch were always proportional.
        steps_per_epoch=int(meta.get("steps_per_epoch") or round(checkpoint.step / epochs)),
        videos_per_step=clips // repeats or plan.videos_per_step,
    )
    resumed = position.resumed_plan(plan)
    if resumed is None:
        ends = position.step + position.steps_to_epochs_end
        raise UserError(
            f"{checkpoint.directory}: stopped after {position.videos_of_epoch} videos or images of epoch "
            f"{position.whole_epochs}, which is not a multiple of the {plan.videos_per_step} of a step: first train to "
            f"the end of the epoch with --total_batch_size {clips} --max_steps {ends}, or --resume none to start a new "
            "run"
        )
    return resumed
