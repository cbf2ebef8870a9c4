"""Mixup and cutmix against timm's arithmetic on (B, T * C, H, W) views, and what timm does wrong on five axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adamae import torchvision_import  # noqa: F401
from adamae.errors import UserError
from adamae.training.mixing import MIX, Mixing, leading_labels, mix_clips, mixed_cross_entropy

from timm.data import mixup as timm_mixup  # isort: skip

SHAPE = (6, 4, 16, 24, 3)
SEEDS = torch.tensor([5, 3, 99, 7, 1, 12])


def clips(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def as_pictures(video: Tensor) -> Tensor:
    """(B, T, H, W, C) to (B, T * C, H, W), whose last axes are the picture's."""
    return video.permute(0, 1, 4, 2, 3).flatten(1, 2)


def timm_result(video: Tensor, labels: Tensor, mix: Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    """What timm makes of pixels and targets with the first draw of ``mix``."""
    own, pixels, *box = mix[0].tolist()
    box = [int(edge) for edge in box]
    mixer = timm_mixup.Mixup(0.8, 1.0, num_classes=5, label_smoothing=0.1)
    monkeypatch.setattr(mixer, "_params_per_batch", lambda: (own, pixels == 1.0))
    monkeypatch.setattr(timm_mixup, "cutmix_bbox_and_lam", lambda *_, **__: (box, own))
    return mixer(as_pictures(video).float(), labels)


@pytest.mark.parametrize("options", [{"cutmix": 0.0}, {"mixup": 0.0}], ids=["mixup", "cutmix"])
@pytest.mark.parametrize("start", range(4))
def test_pixels_and_loss_are_timm_s(options: dict[str, float], start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    video, labels = clips(), torch.tensor([0, 4, 2, 2, 3, 1])
    mix = Mixing(**options).draw(SEEDS + start, *SHAPE[2:4])
    expected, target = timm_result(video, labels, mix, monkeypatch)
    mixed = as_pictures(mix_clips(video, mix)).float()
    # Blends are rounded to bytes; what is cut is exact.
    assert (mixed - expected).abs().max() <= (0.5001 if "cutmix" in options else 0)
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(start), requires_grad=True)
    loss = mixed_cross_entropy(logits, labels, mix, smoothing=0.1)
    from timm.loss import SoftTargetCrossEntropy

    reference = SoftTargetCrossEntropy()(logits, target)
    assert loss.item() == pytest.approx(reference.item(), rel=1e-6)
    (ours,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (theirs,) = torch.autograd.grad(reference, logits)
    torch.testing.assert_close(ours, theirs)


def test_without_mixing_the_loss_is_timm_s_label_smoothing() -> None:
    from timm.loss import LabelSmoothingCrossEntropy

    logits, labels = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 5
    reference = LabelSmoothingCrossEntropy(0.1)(logits, labels)
    assert mixed_cross_entropy(logits, labels, None, 0.1).item() == pytest.approx(reference.item(), rel=1e-6)
    half = mixed_cross_entropy(logits.bfloat16(), labels, None, 0.1)
    assert half.dtype == torch.float32


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize("minmax", [(0.0, 0.0), (0.2, 0.8)])
def test_the_box_lies_in_space_and_the_label_s_share_is_its_area(mode: Any, minmax: tuple[float, float]) -> None:
    mixing = Mixing(mixup=0.0, mode=mode, cutmix_minmax=minmax)
    video = torch.zeros(2, 5, 32, 48, 3, dtype=torch.uint8)
    video[1] = 255
    kinds = set()
    for start in range(40):
        mix = mixing.draw(torch.tensor([start, 1000 + start]), 32, 48)
        mixed = mix_clips(video, mix)
        for clip, other, (own, *_) in zip(mixed, (255, 0), mix.tolist(), strict=True):
            foreign = clip == other
            # The same pixels in every frame and colour, a rectangle of them.
            assert (foreign == foreign[:1, :, :, :1]).all()
            inside = foreign[0, :, :, 0]
            rows, columns = inside.any(dim=1), inside.any(dim=0)
            assert torch.equal(inside, rows[:, None] & columns[None])
            assert 1 - inside.float().mean().item() == pytest.approx(own, abs=1e-6)
            kinds.add((int(rows.sum()), int(columns.sum())))
            if minmax[1]:
                assert 6 <= rows.sum() <= 26
                assert 10 <= columns.sum() <= 38
    assert len(kinds) > 10


def test_timm_by_itself_would_cut_time() -> None:
    """Why the clips are not simply handed to timm: its box lies on the axes -2 and -1 but cuts the first it meets."""
    video = torch.zeros(2, 3, 4, 8, 8)
    video[1] = 1
    mixer = timm_mixup.Mixup(0.0, 1.0, num_classes=2)
    box, lam = (2, 6, 2, 6), 0.75
    timm_mixup_box, timm_mixup.cutmix_bbox_and_lam = timm_mixup.cutmix_bbox_and_lam, lambda *_, **__: (box, lam)
    try:
        mixed, _ = mixer(video.clone(), torch.tensor([0, 1]))
    finally:
        timm_mixup.cutmix_bbox_and_lam = timm_mixup_box
    assert not (mixed[0] == mixed[0][:, :1]).all()


def test_a_draw_depends_on_the_clips_in_the_batch_alone() -> None:
    mixing = Mixing()
    state = np.random.get_state()[1].tolist()  # type: ignore[index]
    first = mixing.draw(SEEDS, 16, 16)
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]
    assert torch.equal(first, mixing.draw(SEEDS.clone(), 16, 16))
    assert not torch.equal(first, mixing.draw(SEEDS + 1, 16, 16))


def test_modes_share_what_they_should() -> None:
    assert (Mixing(mode="batch").draw(SEEDS, 16, 16) == Mixing(mode="batch").draw(SEEDS, 16, 16)[0]).all()
    for seeds in (SEEDS, SEEDS[:5]):
        pair = Mixing(mode="pair").draw(seeds, 16, 16)
        assert pair.shape == (len(seeds), 6)
        assert torch.equal(pair, pair.flip(0))
        assert len(pair.unique(dim=0)) == (len(seeds) + 1) // 2
    assert len(Mixing(mode="elem").draw(SEEDS, 16, 16).unique(dim=0)) == len(SEEDS)


def test_what_is_not_mixed_is_untouched() -> None:
    video = clips()
    mix = Mixing(probability=0.0).draw(SEEDS, 16, 24)
    assert torch.equal(mix_clips(video, mix), video)
    assert leading_labels(SEEDS, mix).tolist() == SEEDS.tolist()
    assert not Mixing(probability=0.0).active
    assert not Mixing(mixup=0.0, cutmix=0.0).active


def test_shares_are_drawn_as_timm_draws_them() -> None:
    mixing = Mixing(mode="elem")
    ours = mixing.draw(torch.arange(3000), 64, 64)
    cut = ours[:, 1] == 1
    assert cut.float().mean().item() == pytest.approx(0.5, abs=0.03)
    np.random.seed(0)
    lams = np.random.beta(1.0, 1.0, 3000)
    theirs = [timm_mixup.cutmix_bbox_and_lam((3, 64, 64), lam)[1] for lam in lams]
    mine = ours[cut, 0].numpy()
    for quantile in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert np.quantile(mine, quantile) == pytest.approx(np.quantile(theirs, quantile), abs=0.05)
    assert ours[~cut, 0].mean().item() == pytest.approx(0.5, abs=0.03)
    assert ours[~cut, 0].var().item() == pytest.approx(1 / (4 * 2.6), abs=0.01)  # of beta(0.8, 0.8)


def test_the_stream_carries_the_draw() -> None:
    batch = {"clip": clips(), "seed": SEEDS, "label": SEEDS}
    (mixed,) = Mixing().over([batch])
    assert torch.equal(mixed[MIX], Mixing().draw(SEEDS, 16, 24))
    assert mixed["clip"] is batch["clip"]


@pytest.mark.parametrize("minmax", [(0.5, 0.2), (0.0, 0.5), (0.5, 1.5), (0.3, 0.3)])
def test_a_range_that_is_none(minmax: tuple[float, float]) -> None:
    with pytest.raises(
        UserError,
        match=r"--cutmix_minmax .*: expected two fractions in ascending order, above 0 "
        "and at most 1",
    ):
        Mixing(cutmix_minmax=minmax)
