"""Losses against plain spelled-out arithmetic."""

from __future__ import annotations

import pytest
import torch

from adamae.layers.pixels import PixelNormalisation
from adamae.losses.reconstruction import reconstruction_target, token_error, trivial_error
from adamae.losses.sampling import entropy, sampling_loss
from tests.selecting import seeing


@pytest.mark.parametrize("channels", [1, 3])
def test_targets_are_those_of_pixels_between_zero_and_one(channels: int) -> None:
    raw = torch.rand(2, 5, 8 * channels, dtype=torch.float64)
    values = PixelNormalisation(channels).double()
    standardised = ((raw.view(2, 5, 8, channels) - values.mean) / values.std).flatten(2)
    torch.testing.assert_close(reconstruction_target(standardised, values, normalise=False), raw)
    expected = raw.clone().view(2, 5, 8, channels)
    for token in expected.view(-1, 8, channels):
        for colour in range(channels):
            column = token[:, colour].clone()
            token[:, colour] = (column - column.mean()) / (column.var() ** 0.5 + 1e-6)
    torch.testing.assert_close(reconstruction_target(standardised, values, normalise=True), expected.flatten(2))


def test_bytes_and_standardised_pixels_agree() -> None:
    values = PixelNormalisation(3)
    clip = torch.randint(0, 256, (1, 2, 4, 4, 3), dtype=torch.uint8)
    torch.testing.assert_close(values(clip), (clip / 255 - values.mean) / values.std)
    torch.testing.assert_close(values.to_unit_range(values(clip)), clip / 255)


def test_token_errors() -> None:
    prediction, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    torch.testing.assert_close(token_error(prediction, target, "mse"), ((prediction - target) ** 2).mean(2))
    torch.testing.assert_close(token_error(prediction, target, "l1"), (prediction - target).abs().mean(2))


def test_a_flat_token_has_a_finite_target() -> None:
    target = reconstruction_target(torch.full((1, 1, 12), 0.3), PixelNormalisation(3), normalise=True)
    assert torch.isfinite(target).all()


def test_the_trivial_prediction_of_plain_pixels_is_the_visible_colour() -> None:
    values = PixelNormalisation(3)
    visible, target = torch.randn(2, 3, 12), torch.rand(2, 4, 12)
    colour = values.to_unit_range(visible).view(2, 3, 4, 3).mean(dim=(1, 2))
    expected = ((target.view(2, 4, 4, 3) - colour.view(2, 1, 1, 3)) ** 2).mean()
    torch.testing.assert_close(trivial_error(target, visible, values, False, "mse"), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_sampling_loss_is_equation_5(reduction: str) -> None:
    logits = torch.randn(3, 10, requires_grad=True)
    selection = seeing(torch.rand(3, 10).topk(4).indices, 10, logits.log_softmax(1))
    error = torch.rand(3, 6, requires_grad=True)
    expected = 0.0
    for clip in range(3):
        probabilities = logits[clip].softmax(0)
        terms = [-probabilities[i].log() * error[clip, k] for k, i in enumerate(selection.target[clip])]
        expected += sum(terms) / (6 if reduction == "mean" else 1) / 3
    loss = sampling_loss(selection, error, reduction=reduction)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, torch.as_tensor(expected))
    loss.backward()
    assert error.grad is None and logits.grad is not None


def test_clamped_probabilities_get_no_gradient() -> None:
    logits = torch.tensor([[0.0, 1.0, -40.0, 2.0]], requires_grad=True)
    log_probs = logits.log_softmax(1)
    log_probs.retain_grad()
    sampling_loss(seeing(torch.tensor([[0]]), 4, log_probs), torch.ones(1, 3)).backward()
    assert log_probs.grad is not None
    assert log_probs.grad[0, 2] == 0 and log_probs.grad[0, 1] != 0


def test_an_advantage_has_no_pull_when_all_errors_are_alike() -> None:
    logits = torch.randn(2, 6, requires_grad=True)
    selection = seeing(torch.tensor([[0, 1], [2, 5]]), 6, logits.log_softmax(1))
    sampling_loss(selection, torch.full((2, 4), 0.7), advantage=True).backward()
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


def test_entropy_of_the_uniform_distribution() -> None:
    torch.testing.assert_close(entropy(torch.zeros(2, 8).log_softmax(1)), torch.full((2,), 8.0).log())
