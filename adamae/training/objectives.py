"""Training objectives: functions from a model and a batch to named losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from adamae.data.batch import Batch
from adamae.models.pretrainer import Pretrainer
from adamae.samplers.hit_rate import count_hits
from adamae.selection import gather_tokens
from adamae.training.engine import Losses
from adamae.training.mixing import MIX, leading_labels, mix_clips, mixed_cross_entropy

# The parts that an objective adds only if asked to diagnose.
DIAGNOSES = ("trivial", "entropy", "top_tenth", "hit_rate")


def pretrain_objective(model: nn.Module, batch: Batch, diagnose: bool) -> Losses:
    """Masked autoencoding of a batch of clips.

    Args:
        model: A :class:`~adamae.models.pretrainer.Pretrainer`.
        batch: "clip" (B, T, H, W, C) uint8, "seed" (B,) on the host, and, if motion masks are available,
            "motion_mask" (B, T, H, W) bool.
        diagnose: Add values for monitoring: see :meth:`~adamae.models.pretrainer.Pretrainer.diagnosis`, and "hit_rate"
            if the batch has "motion_mask".

    Returns:
        0-dim tensors: "loss" with its gradient, and its detached parts.
    """
    pretrainer = cast(Pretrainer, model)
    output = pretrainer(batch["clip"], seeds=batch["seed"], diagnose=diagnose)
    losses = dict(output.losses)
    if diagnose and "motion_mask" in batch:
        hits, expected = count_hits(output.selection, _masks_of(batch["motion_mask"], output.frames), pretrainer.grid)
        losses["hit_rate"] = hits.sum() / expected.sum()
    return losses


def _masks_of(masks: Tensor, frames: Tensor | None) -> Tensor:
    """Return the motion masks (B, T', H, W) of the frames (B, T') that were selected; None selects all."""
    return masks if frames is None else gather_tokens(masks, frames)


@dataclass(frozen=True)
class FinetuneObjective:
    """Classification of a batch of clips: an :data:`~adamae.training.engine.Objective`.

    Attributes:
        smoothing: Fraction of the target distribution that is spread over all classes.
    """

    smoothing: float = 0.1

    def __call__(self, model: nn.Module, batch: Batch, diagnose: bool) -> Losses:
        """Cross entropy with smoothed and, if the batch contains a mix, mixed labels.

        Args:
            model: A :class:`~adamae.models.classifier.Classifier`.
            batch: "clip" (B, T, H, W, C) uint8, "label" and "seed" (B,), and, if clips are mixed, "mix" (B, 6) from
                :class:`~adamae.training.mixing.Mixing`.
            diagnose: Not used.

        Returns:
            "loss" with its gradient, and "accuracy" with respect to the label with the larger weight of each clip.
        """
        clips, labels, mix = batch["clip"], batch["label"], batch.get(MIX)
        if mix is not None:
            clips = mix_clips(clips, mix)
        logits = model(clips, seeds=batch["seed"])
        right = logits.detach().argmax(dim=1) == leading_labels(labels, mix)
        return {
            "loss": mixed_cross_entropy(logits, labels, mix, self.smoothing),
            "accuracy": right.float().mean(),
        }
