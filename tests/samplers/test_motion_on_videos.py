"""Do the kept tokens lie on what moves? The built-in videos know."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adamae.data.annotations import load_annotations
from adamae.data.dataset import pretrain_dataset
from adamae.data.synthetic import synthesize
from adamae.models import vit_pretrainer
from adamae.samplers.hit_rate import count_hits
from adamae.samplers.motion import count_kept, motion_scores
from adamae.selection import TokenSelection, rank_tokens


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video of each of twelve motions."""
    root = tmp_path_factory.mktemp("videos") / "set"
    return synthesize(root, videos_per_class=1, val_per_class=0, test_per_class=0, frames=16, size=64).root


@pytest.mark.parametrize("patch", [8, 16])
def test_a_tokenizer_that_has_learned_nothing_finds_three_times_what_chance_does(videos: Path, patch: int) -> None:
    dataset = pretrain_dataset(load_annotations(videos / "train.csv"), num_frames=16, sampling_rate=1, size=64)
    samples = [dataset[0, row] for row in range(len(dataset))]
    clips, moving = (torch.cat([sample[name] for sample in samples]) for name in ("clip", "motion_mask"))
    torch.manual_seed(0)
    sizes = {"img_size": 64, "patch_size": patch, "encoder_embed_dim": 48, "encoder_num_heads": 2, "encoder_depth": 1}
    model = vit_pretrainer(**sizes, decoder_depth=1, mask_type="motion", mask_ratio=0.9)  # type: ignore[arg-type]
    with torch.no_grad():
        scores = motion_scores(model.encoder.patch_embed(model.pixels(clips)), model.grid)
        kept = rank_tokens(scores, count_kept(model.grid.num_tokens, 0.3)).sort(dim=1).values
        drawn = model(clips, seeds=torch.arange(len(clips))).selection
    hits, expected = count_hits(TokenSelection(kept, kept), moving, model.grid)
    # Of 30 % of the tokens no choice finds more than 3.33 times what chance does.
    assert hits.sum() / expected.sum() >= 3
    # Those that are seen are drawn from the kept ones evenly.
    hits, expected = count_hits(drawn, moving, model.grid)
    assert hits.sum() / expected.sum() >= 2.7
