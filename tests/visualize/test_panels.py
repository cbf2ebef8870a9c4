"""Panels, pixel for pixel, on clips small enough to compute by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.layers.pixels import PixelNormalisation
from adamae.losses.reconstruction import reconstruction_target
from adamae.selection import TokenSelection, gather_tokens
from adamae.visualize.panels import MASKED_GREY, SECONDARY, Panels, Statistics, draw_panels, neighbour_average
from tests.visualize.scenes import on_pixels

# Two tubelets of one frame, each cut into a row of two tokens of 2 x 2 pixels: tokens 0 and 1 are the first frame's
# left and right half, 2 and 3 the second's.
GRID = TokenGrid(t=2, h=1, w=2, tubelet_size=1, patch_size=2)


def counting_clip() -> Tensor:
    """(1, 2, 2, 4, 3): red tells the frame (100 and 200), green the column (0, 10, 20, 30), blue the row (5, 7)."""
    clip = torch.zeros(1, 2, 2, 4, 3, dtype=torch.uint8)
    clip[..., 0] = torch.tensor([100, 200], dtype=torch.uint8).view(1, 2, 1, 1)
    clip[..., 1] = torch.tensor([0, 10, 20, 30], dtype=torch.uint8)
    clip[..., 2] = torch.tensor([5, 7], dtype=torch.uint8).view(1, 1, 2, 1)
    return clip


def panels(prediction: Tensor, visible: list[int], target: list[int], **options: bool) -> Panels:
    probability = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    selection = TokenSelection(torch.tensor([visible]), torch.tensor([target]), probability.log())
    errors = torch.tensor([[0.5 + number for number in target]])
    return draw_panels(counting_clip(), prediction, selection, errors, GRID, **{"normalised": False, **options})


def test_visible_tokens_are_pixels_and_the_rest_is_grey() -> None:
    got = panels(torch.zeros(1, 2, 12), visible=[1, 2], target=[0, 3])
    clip = counting_clip()
    first, second = got.seen[0]
    assert (first[:, :2] == MASKED_GREY).all()
    assert torch.equal(first[:, 2:], clip[0, 0, :, 2:])
    assert torch.equal(second[:, :2], clip[0, 1, :, :2])
    assert (second[:, 2:] == MASKED_GREY).all()
    assert got.visible.tolist() == [[False, True, True, False]]


def test_secondary_masked_tokens_have_a_colour_of_their_own() -> None:
    selection = TokenSelection(torch.tensor([[1, 2]]), torch.tensor([[0, 3]]), secondary=torch.tensor([[2]]))
    got = draw_panels(counting_clip(), torch.zeros(1, 2, 12), selection, torch.zeros(1, 2), GRID, normalised=False)
    first, second = got.seen[0]
    assert (first[:, :2] == MASKED_GREY).all()
    assert torch.equal(first[:, 2:], counting_clip()[0, 0, :, 2:])
    assert (second[:, :2] == torch.tensor(SECONDARY)).all()
    assert (second[:, 2:] == MASKED_GREY).all()
    assert selection.read_tokens(4).tolist() == [[1]]
    assert got.secondary.tolist() == [[False, False, True, False]]


def test_targets_that_are_normalised_over_the_token_are_shown_as_the_pixels_that_they_are(
    rng: np.random.Generator,
) -> None:
    video = torch.from_numpy(rng.integers(256, size=(1, 2, 2, 4, 3))).to(torch.uint8)
    values = PixelNormalisation()
    selection = TokenSelection(torch.tensor([[1, 2]]), torch.tensor([[0, 3]]))
    pixels = gather_tokens(values(GRID.patchify(video)), selection.target)
    target = reconstruction_target(pixels, values, True, "token")
    got = draw_panels(video, target, selection, torch.zeros(1, 2), GRID, normalised=True, pixel_norm=values)
    assert (got.prediction.int() - video.int()).abs().max() <= 1


def test_raw_predictions_stand_where_their_tokens_do() -> None:
    # Token 0 is predicted as a ramp over its pixels, token 3 as white and beyond.
    ramp = torch.arange(12.0) / 255
    got = panels(torch.stack([ramp, torch.full((12,), 1.5)])[None], visible=[1, 2], target=[0, 3])
    assert got.statistics is Statistics.PREDICTED
    first, second = got.prediction[0]
    assert first[:, :2].tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert torch.equal(first[:, 2:], counting_clip()[0, 0, :, 2:])
    assert (second[:, 2:] == 255).all()


def test_normalised_predictions_borrow_the_targets_mean_and_deviation() -> None:
    # Zero is the token's own mean; 1 in green is a deviation above it.
    prediction = torch.zeros(1, 2, 12)
    prediction[0, 1, 1::3] = 1
    got = panels(prediction, visible=[1, 2], target=[0, 3], normalised=True)
    assert got.statistics is Statistics.TARGET
    # Token 0: green 0, 10, 0, 10 and blue 5, 5, 7, 7.
    assert got.prediction[0, 0, 0, 0].tolist() == [100, 5, 6]
    # Token 3: green 20, 30, 20, 30 has the mean 25 and the unbiased deviation sqrt(4 * 25 / 3) = 5.77.
    assert got.prediction[0, 1, 1, 3].tolist() == [200, round(25 + math.sqrt(100 / 3)), 6]


def test_own_statistics_know_nothing_of_the_target() -> None:
    got = panels(torch.zeros(1, 2, 12), visible=[1, 2], target=[0, 3], normalised=True, own_statistics=True)
    assert got.statistics is Statistics.NEIGHBOURS
    # Tokens 1 and 2 are both one step from token 0, so it is their mean: red 100 and 200, green 25 and 5, blue 6.
    assert got.prediction[0, 0, 0, 0].tolist() == [150, 15, 6]


def test_near_neighbours_count_by_the_inverse_square_of_their_distance() -> None:
    row = TokenGrid(t=1, h=1, w=4, tubelet_size=1, patch_size=1)
    values = torch.tensor([[[10.0], [99.0], [99.0], [40.0]]])
    # Token 1 is 1 from token 0 and 2 from token 3: weights 1 and 1/4.
    got = neighbour_average(values, torch.tensor([[0, 3]]), torch.tensor([[1, 2]]), row)
    assert got[0, 0, 0].item() == pytest.approx((10 + 40 / 4) / 1.25)
    assert got[0, 1, 0].item() == pytest.approx((10 / 4 + 40) / 1.25)


def test_errors_and_probabilities_lie_at_their_tokens() -> None:
    got = panels(torch.zeros(1, 2, 12), visible=[1, 2], target=[0, 3])
    error = on_pixels(got.error, GRID)[0]
    assert error.shape == (2, 2, 4)
    assert (error[0, :, :2] == 0.5).all()
    assert (error[1, :, 2:] == 3.5).all()
    assert error[0, :, 2:].isnan().all()
    assert error[1, :, :2].isnan().all()
    # 0.4 where an even draw has 0.25, in the second frame's right half.
    assert on_pixels(got.probability, GRID)[0, 1, 0].tolist() == pytest.approx([1.2, 1.2, 1.6, 1.6])


def test_what_is_neither_visible_nor_a_target_stays_grey() -> None:
    got = panels(torch.ones(1, 1, 12), visible=[1], target=[3])
    assert (got.prediction[0, 0, :, :2] == MASKED_GREY).all()
    assert (got.prediction[0, 1, :, :2] == MASKED_GREY).all()
    assert got.error.isnan().tolist() == [[True, True, True, False]]


def test_without_probabilities_a_draw_is_even() -> None:
    selection = TokenSelection(torch.tensor([[0]]), torch.tensor([[1, 2, 3]]))
    got = draw_panels(counting_clip(), torch.zeros(1, 3, 12), selection, torch.zeros(1, 3), GRID, normalised=False)
    assert got.probability.tolist() == [[1, 1, 1, 1]]


def test_tokens_longer_than_a_frame_hide_all_their_frames() -> None:
    grid = TokenGrid(t=1, h=1, w=2, tubelet_size=2, patch_size=2)
    selection = TokenSelection(torch.tensor([[1]]), torch.tensor([[0]]))
    got = draw_panels(counting_clip(), torch.zeros(1, 1, 24), selection, torch.zeros(1, 1), grid, normalised=False)
    assert (got.seen[0, :, :, :2] == MASKED_GREY).all()
    assert got.seen[0, :, 0, 2, 0].tolist() == [100, 200]
