"""Losses against plain spelled-out arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adamae.errors import UserError
from adamae.layers.pixels import PixelNormalisation
from adamae.losses.reconstruction import Metric, reconstruction_target, token_error, trivial_error
from adamae.losses.sampling import entropy, sampling_loss
from tests.selecting import seeing


def test_unknown_words_are_refused() -> None:
    values, errors = PixelNormalisation(3), torch.zeros(1, 2)
    with pytest.raises(UserError, match=r"^statistics = 'color': expected one of colour, token$"):
        reconstruction_target(torch.rand(1, 2, 12), values, True, "color")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^metric = 'huber': expected one of mse, l1$"):
        token_error(torch.rand(1, 2, 12), torch.rand(1, 2, 12), "huber")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^reduction = 'none': expected one of mean, sum$"):
        sampling_loss(seeing(torch.tensor([[0]]), 3, torch.zeros(1, 3)), errors, reduction="none")  # type: ignore[arg-type]


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


@pytest.mark.parametrize("metric", ["mse", "l1"])
@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_token_errors_have_a_gradient_for_both_arguments(metric: Metric, wanted: tuple[bool, bool]) -> None:
    drawn = [torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=needed) for needed in wanted]
    assert torch.autograd.gradcheck(lambda *both: token_error(*both, metric), drawn)


def test_gradients_of_token_errors_have_the_dtype_of_their_argument() -> None:
    prediction, target = (torch.randn(2, 3, 4).to(dtype).requires_grad_() for dtype in (torch.bfloat16, torch.float32))
    token_error(prediction, target).sum().backward()
    assert prediction.grad is not None and target.grad is not None
    assert prediction.grad.dtype == torch.bfloat16 and target.grad.dtype == torch.float32
    torch.testing.assert_close(prediction.grad, -target.grad.bfloat16())


@pytest.mark.parametrize("metric", ["mse", "l1"])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_token_errors_are_at_least_float32(metric: Metric, half: torch.dtype) -> None:
    prediction, target = torch.randn(2, 3, 4).to(half), torch.randn(2, 3, 4).to(half)
    error = token_error(prediction, target, metric)
    assert error.dtype == torch.float32
    torch.testing.assert_close(error, token_error(prediction.float(), target.float(), metric))


@pytest.mark.parametrize("metric", ["mse", "l1"])
def test_targets_of_another_shape_are_refused(metric: Metric) -> None:
    with pytest.raises(UserError, match=r"^got a target \(1, 1, 4\), expected \(2, 3, 4\) as the prediction$"):
        token_error(torch.zeros(2, 3, 4), torch.zeros(1, 1, 4), metric)


def test_rewards_of_another_number_than_the_targets_are_refused() -> None:
    selection = seeing(torch.tensor([[0], [1]]), 4, torch.zeros(2, 4).log_softmax(1))
    with pytest.raises(UserError, match=r"^got rewards \(1, 3\), expected \(2, 3\), one for each target$"):
        sampling_loss(selection, torch.ones(1, 3))


def test_a_flat_token_has_a_finite_target() -> None:
    target = reconstruction_target(torch.full((1, 1, 12), 0.3), PixelNormalisation(3), normalise=True)
    assert torch.isfinite(target).all()


@pytest.mark.parametrize("metric", ["mse", "l1"])
def test_the_trivial_prediction_of_plain_pixels_is_the_visible_colour(metric: Metric) -> None:
    values = PixelNormalisation(3)
    visible, target = torch.randn(2, 3, 12), torch.rand(2, 4, 12)
    colour = values.to_unit_range(visible).view(2, 3, 4, 3).mean(dim=(1, 2))
    difference = target.view(2, 4, 4, 3) - colour.view(2, 1, 1, 3)
    expected = (difference**2 if metric == "mse" else difference.abs()).mean()
    torch.testing.assert_close(trivial_error(target, visible, values, False, metric), expected)


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


def test_entropy_is_a_reward_by_its_weight(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(3, 7))
    selection = seeing(torch.tensor([[0, 1], [2, 5], [3, 6]]), 7, torch.from_numpy(logits).log_softmax(1))
    error = torch.from_numpy(rng.random((3, 5)))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = 0.3 * (probabilities * np.log(probabilities)).sum(axis=1).mean()
    difference = sampling_loss(selection, error, entropy_weight=0.3) - sampling_loss(selection, error)
    torch.testing.assert_close(difference, torch.as_tensor(expected))


def test_entropy_of_the_uniform_distribution() -> None:
    torch.testing.assert_close(entropy(torch.zeros(2, 8).log_softmax(1)), torch.full((2,), 8.0).log())
