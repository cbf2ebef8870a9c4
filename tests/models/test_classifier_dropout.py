"""Dropout before the head: its pattern belongs to the clip, not to the process or the place in the batch."""

from __future__ import annotations

import torch

from adamae.models import vit_classifier
from tests.models.test_checkpoint_activations import CLASSIFIER
from tests.models.test_pretrainer import clips


def test_a_clip_has_the_same_pattern_in_another_process_and_another_batch() -> None:
    model = vit_classifier(**CLASSIFIER, fc_drop_rate=0.5, init_scale=1.0).train()
    video, seeds = clips(4), torch.tensor([5, 6, 7, 8])
    torch.manual_seed(0)
    together = model(video, seeds=seeds)
    torch.manual_seed(1)
    apart = torch.cat([model(video[:1], seeds=seeds[:1]), model(video[1:], seeds=seeds[1:])])
    torch.testing.assert_close(apart, together)
    assert not torch.allclose(model(video, seeds=seeds + 4), together)


def test_it_drops_the_given_share_and_scales_the_rest() -> None:
    model = vit_classifier(**{**CLASSIFIER, "num_classes": 0}, fc_drop_rate=0.25).train()
    video, seeds = clips(16), torch.arange(16)
    dropped, whole = model(video, seeds=seeds), model.eval()(video, seeds=seeds)
    kept = dropped != 0
    # 512 values; four standard deviations.
    assert abs(kept.float().mean() - 0.75) < 0.08
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)
