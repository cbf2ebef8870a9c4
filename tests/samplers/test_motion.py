"""Motion-aware selection: the numbers of an independent run of the published code, and what has to hold beside them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from torch import Tensor

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.tokenizer import TubeletTokenizer
from adamae.randomness import SampleNoise
from adamae.samplers import build_sampler
from adamae.samplers.motion import MotionSampler, count_kept, motion_scores
from adamae.selection import TokenSelection, count_visible, rank_tokens
from tests.golden import mats


def kept(tokens: Tensor, grid: TokenGrid, ratio: float) -> Tensor:
    return rank_tokens(motion_scores(tokens, grid), count_kept(grid.num_tokens, ratio)).sort(dim=1).values


def select(tokens: Tensor, grid: TokenGrid, noise: SampleNoise | None = None) -> TokenSelection:
    noise = mats.FormulaNoise(len(tokens)) if noise is None else noise
    selection: TokenSelection = MotionSampler(0.9, 0.3)(tokens, grid, noise)
    return selection


@pytest.mark.parametrize("row", mats.GOLDEN["A_token_counts"]["rows"], ids=lambda row: str(row["N"]))
def test_counts_are_truncated_as_published(row: dict[str, Any]) -> None:
    total = row["N"]
    assert count_kept(total, 0.3) == row["pretrain_selected"]
    assert count_visible(total, 0.9) == row["visible"]
    assert count_kept(total, 0.3) - count_visible(total, 0.9) == row["reconstructed"]
    assert count_kept(total, 0.6) == row["finetune_kept"]


def test_scores_order_and_choice_on_made_up_tokens() -> None:
    tokens, grid = mats.embeddings()
    golden = mats.GOLDEN["B_embedding_case"]
    scores = motion_scores(tokens, grid)
    torch.testing.assert_close(scores, torch.tensor(golden["importance"]), atol=1e-6, rtol=0)
    assert rank_tokens(scores, 48).tolist() == golden["order_desc_stable"]
    selection = select(tokens, grid)
    assert selection.visible.tolist() == golden["visible"]
    assert selection.target.tolist() == golden["targets"]
    assert kept(tokens, grid, 0.6).tolist() == golden["finetune_kept"]


def test_torchs_own_noise_gives_the_published_choice() -> None:
    tokens, grid = mats.embeddings()
    torch.manual_seed(0)
    selection = select(tokens, grid, mats.GivenNoise(torch.rand(2, 14)))
    assert selection.visible.tolist() == mats.GOLDEN["H_torch_seed0_cpu"]["visible"]
    assert selection.target.tolist() == mats.GOLDEN["H_torch_seed0_cpu"]["targets"]


@pytest.mark.parametrize("case", ["C_video_small", "D_video_full"])
def test_scores_and_sets_of_videos(case: str) -> None:
    golden = mats.GOLDEN[case]
    tokens, grid = mats.video_tokens(golden["T"], golden["H"], golden["D"])
    assert [grid.t, grid.h, grid.w] == golden["grid"]
    scores = motion_scores(tokens, grid)
    first, second = scores[0, :4], scores[0, grid.h * grid.w :][:4]
    torch.testing.assert_close(first, torch.tensor(golden["importance_first_row"]), atol=2e-5, rtol=0)
    torch.testing.assert_close(second, torch.tensor(golden["importance_t1_first"]), atol=2e-5, rtol=0)
    assert float(scores.sum()) == pytest.approx(golden["importance_sum"], abs=1e-2)
    assert float(scores.max()) == pytest.approx(golden["importance_max"], abs=2e-5)
    assert int(scores.argmax()) == golden["argmax"]
    assert rank_tokens(scores, 20)[0].tolist() == golden["rank_order_first20"]
    chosen = kept(tokens, grid, 0.3)
    assert chosen[0].tolist() == golden["selected_sorted"]
    area = grid.h * grid.w
    assert (chosen[0] // area).bincount(minlength=grid.t).tolist() == golden["selected_count_per_time"]
    assert float(scores.gather(1, rank_tokens(scores, chosen.shape[1]))[0, -1]) == pytest.approx(
        golden["kth_value"], abs=1e-5
    )
    for_tuning = kept(tokens, grid, 0.6)[0]
    joined = ",".join(map(str, for_tuning.tolist()))
    assert hashlib.sha256(joined.encode()).hexdigest() == golden["finetune_kept_sha256_of_comma_joined"]
    assert (for_tuning // area).bincount(minlength=grid.t).tolist() == golden["finetune_kept_count_per_time"]
    selection = select(tokens, grid)
    assert selection.visible.shape[1] == golden["n_visible"]
    assert selection.target.shape[1] == golden["n_target"]
    if case == "C_video_small":
        assert selection.visible[0].tolist() == golden["visible_formula_noise"]
        assert selection.target[0].tolist() == golden["targets_formula_noise"]
    union = torch.cat((selection.visible, selection.target), dim=1).sort(dim=1).values
    assert torch.equal(union, chosen)


def test_the_first_two_times_share_their_scores() -> None:
    tokens, grid = mats.video_tokens(16, 64, 12)
    for ratio in (0.1, 0.25, 0.3, 0.6, 0.95):
        first, second = (set((row % 16).tolist()) for row in _by_time(kept(tokens, grid, ratio)[0])[:2])
        assert second <= first
        assert len(first) - len(second) <= 1


def _by_time(ids: Tensor) -> list[Tensor]:
    return [ids[ids // 16 == time] for time in range(8)]


def test_a_static_clip_is_chosen_by_index() -> None:
    golden = mats.GOLDEN["E_static_video"]
    tokens = torch.full((3, 72, 4), 1.7)
    grid = TokenGrid(8, 3, 3, 2, 16)
    assert kept(tokens, grid, 0.3).tolist() == [golden["selected"]] * 3
    again = [select(tokens, grid, SampleNoise(torch.arange(3))) for _ in range(2)]
    assert torch.equal(again[0].visible, again[1].visible)
    assert torch.equal(again[0].target, again[1].target)


@pytest.mark.parametrize(("time", "case"), [(3, "F_single_blink"), (0, "F2_first_frame_blink")])
def test_a_blink_scores_at_its_beginning_and_its_end(time: int, case: str) -> None:
    tokens = torch.zeros(1, 8, 9, 4)
    tokens[0, time, 4] = 1
    scores = motion_scores(tokens.flatten(1, 2), TokenGrid(8, 3, 3, 2, 16))[0]
    found = {str(place): float(scores[place]) for place in scores.nonzero().flatten().tolist()}
    assert found == mats.GOLDEN[case]["nonzero_importance"]


def test_the_lower_index_wins_a_tie_at_the_cut() -> None:
    golden = mats.GOLDEN["G_tie_at_cut"]
    steps = torch.zeros(8, 5)
    steps[1, 2] = 5
    for number in range(golden["n_selected"] - 1):
        steps[2 + number // 5, number % 5] = 10 + number
    tokens = steps.cumsum(dim=0).view(1, 40, 1)
    assert kept(tokens, TokenGrid(8, 1, 5, 2, 16), 0.3)[0].tolist() == golden["selected"]


def test_neither_a_constant_nor_a_scale_nor_the_batch_changes_the_choice() -> None:
    tokens, grid = mats.embeddings()
    plain = select(tokens, grid, SampleNoise(torch.tensor([3, 4])))
    for other in (tokens + 5 * torch.randn(5), 8 * tokens):
        assert torch.equal(kept(other, grid, 0.3), kept(tokens, grid, 0.3))
    swapped = select(tokens.flip(0), grid, SampleNoise(torch.tensor([4, 3])))
    assert torch.equal(swapped.visible.flip(0), plain.visible)
    assert torch.equal(swapped.target.flip(0), plain.target)


def test_half_precision_around_it_does_not_change_the_choice() -> None:
    golden = mats.GOLDEN["D_video_full"]
    grid = TokenGrid.of(16, 224, 224, 2, 16)
    pixels = grid.patchify(mats.video(16, 224))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        tokens = mats.tokenizer(golden["D"]).exact(pixels)
        assert tokens.dtype == torch.float32
        assert kept(tokens, grid, 0.3)[0].tolist() == golden["selected_sorted"]
        rough = mats.tokenizer(golden["D"])(pixels)
        assert kept(rough, grid, 0.3)[0].tolist() != golden["selected_sorted"]


def test_a_prescribed_choice_leaves_the_most_moving_others_to_predict() -> None:
    tokens, grid = mats.embeddings()
    best = rank_tokens(motion_scores(tokens, grid), 14)
    visible = best[:, :4]
    selection = MotionSampler(0.9, 0.3)(tokens, grid, SampleNoise(torch.arange(2)), visible)
    assert torch.equal(selection.visible, visible.sort(dim=1).values)
    assert torch.equal(selection.target, best[:, 4:].sort(dim=1).values)


def test_every_kept_token_is_visible_equally_often() -> None:
    draws = 4000
    tokens, grid = mats.embeddings()
    selection = select(tokens[:1].expand(draws, -1, -1), grid, SampleNoise(torch.arange(draws)))
    share = selection.visible.flatten().bincount(minlength=48) / draws
    expected = 4 / 14
    assert (share > 0).sum() == 14
    assert ((share[share > 0] - expected).abs() < 5 * (expected * (1 - expected) / draws) ** 0.5).all()


@pytest.mark.parametrize(
    ("frames", "size", "tubelet", "channels"), [(24, 64, 2, 3), (32, 48, 4, 1), (6, 112, 1, 3), (8, 320, 4, 3)]
)
def test_any_frames_tubelets_sizes_and_channels(frames: int, size: int, tubelet: int, channels: int) -> None:
    grid = TokenGrid.of(frames, size, size, tubelet, 16)
    clip = torch.zeros(1, frames, size, size, channels)
    # A square that moves down the left column of tokens, one token each tubelet.
    for frame in range(frames):
        clip[0, frame, 16 * (frame // tubelet % grid.h) :][:, :16, :16] = 1
    tokens = TubeletTokenizer(tubelet, 16, channels, 24)(grid.patchify(clip))
    scores = motion_scores(tokens, grid)
    assert not scores.requires_grad
    moving = scores[0].nonzero().flatten()
    assert (moving % grid.w == 0).all()
    sampler = build_sampler("motion", 0.9, grid, 24)
    selection = sampler(tokens, grid, SampleNoise(torch.arange(1)))
    assert selection.visible.shape == (1, sampler.num_visible(grid))


@pytest.mark.parametrize(
    ("mask_ratio", "keep_ratio", "grid", "message"),
    [
        (0.9, 0.0, TokenGrid(8, 4, 4, 2, 16), "keep_ratio = 0.0: expected a number above 0 and at most 1"),
        (0.9, 1.5, TokenGrid(8, 4, 4, 2, 16), "keep_ratio = 1.5: expected"),
        (0.9, 0.05, TokenGrid(8, 4, 4, 2, 16), "mask_ratio = 0.9 with keep_ratio = 0.05 leaves 12 of 6 kept tokens"),
        (
            0.9,
            0.3,
            TokenGrid(1, 8, 8, 2, 16),
            "motion cannot be measured within 2 frames in tubelets of 2: expected at",
        ),
    ],
)
def test_what_cannot_be_selected_is_refused(
    mask_ratio: float, keep_ratio: float, grid: TokenGrid, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        build_sampler("motion", mask_ratio, grid, 16, keep_ratio=keep_ratio)
    assert str(caught.value).startswith(message)


def test_the_number_of_targets_does_not_depend_on_given_visible_tokens() -> None:
    grid = TokenGrid.of(4, 32, 32, 2, 8)
    sampler, inputs = MotionSampler(0.75, 0.5), (torch.randn(2, 32, 4), grid)
    for given in (None, torch.tensor([[3, 7], [0, 9]])):
        selection = sampler(*inputs, SampleNoise(torch.arange(2)), visible=given)
        assert selection.target.shape == (2, 16 - 8)
