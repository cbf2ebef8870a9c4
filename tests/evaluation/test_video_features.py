"""Features of videos for probes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.networks import FrozenEncoder, build_encoder
from adamae.evaluation.video_features import affordable_tokens, extract_videos
from adamae.randomness import SampleNoise
from tests.checkpoints.networks import classifier
from tests.evaluation.tiny import BAD, views


def test_features_of_videos_are_means_over_their_views(test_list: Path, pretrained: Path) -> None:
    encoder, _ = build_encoder(open_checkpoint(pretrained))
    dataset = views(test_list, num_clips=2)
    found = extract_videos(encoder, dataset, most_tokens=4, batch_size=5)
    assert found.rows.tolist() == [row for row in range(7) if row != BAD]
    assert [bad.row for bad in found.unread] == [BAD]
    clips = dataset[0]["views"]
    assert torch.allclose(found.pooled[0], encoder(clips).mean(dim=0), atol=1e-5)
    assert found.tokens is not None and found.tokens.dtype == torch.float16
    # Of 2 x 2 x 2 tokens at most 4 are kept of each of 6 views: places go first, times last.
    expected = encoder.encode(clips).unflatten(1, (2, 4)).mean(dim=2).flatten(0, 1)
    assert torch.allclose(found.tokens[0].float(), expected, atol=2e-3)


def test_the_norm_before_the_head_comes_before_the_mean_over_the_views(test_list: Path, finetuned: Path) -> None:
    encoder, _ = build_encoder(open_checkpoint(finetuned))
    dataset = views(test_list, num_clips=2)
    found = extract_videos(encoder, dataset, batch_size=5)
    model = classifier()
    assert model.fc_norm is not None
    scale, shift = model.fc_norm.weight, model.fc_norm.bias
    for row, pooled in zip((0, 6), (found.pooled[0], found.pooled[-1]), strict=True):
        with torch.no_grad():
            mean = model.encode(dataset[row]["views"], SampleNoise(torch.zeros(6))).mean(dim=1)
            centred = mean - mean.mean(dim=1, keepdim=True)
            normed = centred / (centred.square().mean(dim=1, keepdim=True) + model.fc_norm.eps).sqrt() * scale + shift
        torch.testing.assert_close(pooled, normed.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_features_that_are_not_finite_are_no_features(
    test_list: Path, pretrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN in one value, and finite tokens beyond the largest number of half precision."""
    encoder, _ = build_encoder(open_checkpoint(pretrained))
    encode, seen = FrozenEncoder.encode, 0

    def spoiled(self: FrozenEncoder, clips: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        tokens, seen = encode(self, clips), seen + 1
        if seen == 1:
            tokens[0, 0, 0] = torch.nan
        return tokens * 1e6 if seen == 3 else tokens

    monkeypatch.setattr(FrozenEncoder, "encode", spoiled)
    found = extract_videos(encoder, views(test_list, num_clips=1, num_crops=1), most_tokens=4)
    assert [(bad.row, bad.reason) for bad in found.unread if bad.row != BAD] == [
        (0, "the features are not finite"),
        (2, "the features are not finite"),
    ]
    assert len(found.unread) == 3
    assert found.tokens is not None
    assert len(found.rows) == len(found.pooled) == len(found.tokens) == 4
    assert found.pooled.isfinite().all() and found.tokens.isfinite().all()


def test_tokens_are_held_only_as_memory_allows() -> None:
    assert affordable_tokens(196, 1000, 1, 768) == 196
    few = affordable_tokens(196, 170_000, 2, 768)
    assert 0 < few < 196
    assert 170_000 * 2 * 768 * 2 * few <= 8 * 2**30
