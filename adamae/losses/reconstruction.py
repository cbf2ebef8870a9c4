"""The reconstruction loss L_R, and the loss of trivial predictions to compare it with."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamae.checks import check_choice
from adamae.errors import UserError
from adamae.layers.devices import on_cpu
from adamae.layers.pixels import PixelNormalisation
from adamae.precision import at_least_float32

Metric = Literal["mse", "l1"]
Statistics = Literal["colour", "token"]
METRICS: tuple[str, ...] = get_args(Metric)
STATISTICS: tuple[str, ...] = get_args(Statistics)


def reconstruction_target(
    pixels: Tensor, pixel_norm: PixelNormalisation, normalise: bool, statistics: Statistics = "colour"
) -> Tensor:
    """Compute the reconstruction target of the target tokens.

    Args:
        pixels: (B, M, P) standardised pixels of the target tokens, colour fastest.
        pixel_norm: The normalisation of the pixels.
        normalise: Subtract each token's mean and divide by its standard deviation, per colour (the paper's
            best row); else plain pixels between 0 and 1.
        statistics: Compute mean and std per "colour", as VideoMAE and AdaMAE do, or over all standardised values of the
            "token", as MAE does.

    Returns:
        (B, M, P), at least float32.

    Raises:
        UserError: If ``statistics`` is unknown.
    """
    check_choice("statistics", statistics, STATISTICS)
    pixels = pixels.to(at_least_float32(pixels.dtype))
    if not normalise:
        return pixel_norm.to_unit_range(pixels)
    if statistics == "token":
        variance, mean = torch.var_mean(pixels, dim=-1, keepdim=True)
        return (pixels - mean) / (variance + 1e-6).sqrt()
    values = pixels.view(*pixels.shape[:-1], -1, pixel_norm.std.numel())
    centred, variance = _centred_and_variance(values)
    # The official code computes the target from values between 0 and 1 and adds 1e-6 to their std. The std of
    # standardised values is larger by a factor of 1 / (std of the channel), so 1e-6 is scaled by the same factor.
    std = variance.sqrt() + 1e-6 / pixel_norm.std.to(values)
    return (centred / std).view(pixels.shape)


def _centred_and_variance(values: Tensor) -> tuple[Tensor, Tensor]:
    """(..., K, C) values minus their mean over K, and their variance (..., 1, C)."""
    if not on_cpu(values):
        variance, mean = torch.var_mean(values, dim=-2, keepdim=True)
        return values - mean, variance
    # On a CPU, torch.var_mean is slow: it does not vectorise over an inner axis of three colours.
    centred = values - _sum(values) / values.shape[-2]
    return centred, _sum(centred.square()) / (values.shape[-2] - 1)


def _sum(values: Tensor) -> Tensor:
    """(..., K, C) to (..., 1, C), first over rows of several pixels, then over the pixels of a row."""
    *rest, count, channels = values.shape
    pixels = math.gcd(count, 8)
    rows = values.view(*rest, count // pixels, pixels * channels).sum(dim=-2)
    return rows.view(*rest, pixels, channels).sum(dim=-2, keepdim=True)


def token_error(prediction: Tensor, target: Tensor, metric: Metric = "mse") -> Tensor:
    """Mean error of each token: (B, M, P) and (B, M, P) to (B, M), at least float32.

    With "mse" this is the squared error whose mean over tokens is equation 4 of the paper; "l1" is the other row of
    its table.

    Raises:
        UserError: If the metric is unknown, or the shapes differ.
    """
    check_choice("metric", metric, METRICS)
    if prediction.shape != target.shape:
        raise UserError(f"got a target {tuple(target.shape)}, expected {tuple(prediction.shape)} as the prediction")
    target = target.to(at_least_float32(target.dtype))
    if metric == "l1":
        return (prediction - target).abs().mean(dim=-1)
    error: Tensor = _MeanSquare.apply(prediction, target)
    return error


class _MeanSquare(torch.autograd.Function):
    """(..., P) and (..., P) to (...), with little memory traffic.

    Only the difference is stored for the backward pass, not both of its terms. Squares are summed in the same kernel
    that computes them. Each gradient is written in its term's dtype by one product, without expanding the gradient of
    the mean to P values.
    """

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, target: Tensor) -> Tensor:
        difference = prediction - target
        ctx.save_for_backward(difference)
        ctx.types = prediction.dtype, target.dtype
        return torch.linalg.vector_norm(difference, dim=-1).square() / difference.shape[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (difference,) = ctx.saved_tensors
        slope = (grad * (2 / difference.shape[-1])).unsqueeze(-1)
        first, second = ctx.needs_input_grad
        return (
            _product(difference, slope, ctx.types[0]) if first else None,
            _product(difference, -slope, ctx.types[1]) if second else None,
        )


def _product(x: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.mul(x, y, out=torch.empty_like(x, dtype=dtype))


def trivial_error(
    target: Tensor, visible_pixels: Tensor, pixel_norm: PixelNormalisation, normalise: bool, metric: Metric
) -> Tensor:
    """Error of a trivial prediction without a network, as a baseline for the loss.

    For normalised targets the prediction is zero, which is each token's own mean; for plain pixels it is the mean
    colour of the clip's visible tokens.

    Args:
        target: (B, M, P) from :func:`reconstruction_target`.
        visible_pixels: (B, V, P) standardised pixels of the visible tokens.
        pixel_norm: The normalisation of the pixels.
        normalise: As in :func:`reconstruction_target`.
        metric: As in :func:`token_error`.

    Returns:
        0-dim mean over all tokens.
    """
    if normalise:
        return token_error(torch.zeros_like(target), target, metric).mean()
    batch, channels = target.shape[0], pixel_norm.mean.numel()
    colour = pixel_norm.to_unit_range(visible_pixels.to(target.dtype)).view(batch, -1, channels).mean(dim=1)
    flat = target.view(batch, -1, channels)
    return token_error(colour.unsqueeze(1).expand_as(flat), flat, metric).mean()
