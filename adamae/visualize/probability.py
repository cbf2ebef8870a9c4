"""Output of the sampler alone for a video: probabilities over its frames and over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adamae.errors import UserError
from adamae.models import Pretrainer
from adamae.randomness import SampleNoise
from adamae.samplers import SAMPLERS
from adamae.visualize.colours import PROBABILITY_MAP, Scale
from adamae.visualize.rows import PROBABILITY, Row, painted
from adamae.visualize.video_clips import VideoClips


def check_sampler(model: Pretrainer) -> None:
    """Raise a UserError unless the model has learned to sample."""
    if not model.learns_to_sample:
        learned = " or ".join(name for name, each in SAMPLERS.items() if each.sampler_class.learns)
        raise UserError(f"the checkpoint has no learned sampler, expected one pre-trained with --mask_type {learned}")


@torch.no_grad()
def probability_of(model: Pretrainer, video: VideoClips, batch_size: int = 8) -> Tensor:
    """Probability of each token relative to uniform sampling.

    Args:
        model: With a learned sampler, in evaluation mode.
        video: The video.
        batch_size: Clips per forward pass.

    Returns:
        (C, N) float32 on the CPU; each clip's mean is 1.

    Raises:
        UserError: If the model has no learned sampler.
    """
    check_sampler(model)
    parts = []
    for begin in range(0, len(video.cut.frames), batch_size):
        pixels = model.pixels(video.clips(slice(begin, begin + batch_size)).to(model.mask_token.device))
        # In evaluation mode only the draw is random, and it is not used.
        noise = SampleNoise(torch.zeros(len(pixels), device=pixels.device))
        tokens = model.tokens_for(model.sampler, pixels)
        log_probs = model.sampler(tokens, model.grid, noise).log_probs
        preference = model.sampler.preference(tokens, log_probs, model.grid)
        assert preference is not None
        parts.append(preference.float().exp().cpu() * model.grid.num_tokens)
    return torch.cat(parts)


def heat_map(video: VideoClips, model: Pretrainer, probability: Tensor, opacity: float) -> tuple[Row, Scale]:
    """Blend the colours of the probability with the video.

    Args:
        video: The video.
        model: The model, for its token grid.
        probability: (C, N) from :func:`probability_of`.
        opacity: 0 shows only the video, 1 only the colours.
    """
    scale = Scale.over(f"{PROBABILITY}, {100 * opacity:g} % over the {video.noun}", PROBABILITY_MAP, [probability], 2.0)
    colours = painted(video, probability, model.grid, scale)

    def mixed(frame: int) -> np.ndarray:
        mix = opacity * colours(frame).astype(np.float32) + (1 - opacity) * video.frames[frame].numpy()
        return np.round(mix).astype(np.uint8)

    return Row(f"probability over the {video.noun}", mixed), scale


@dataclass(frozen=True)
class Timeline:
    """Distribution of a video's information over time.

    Attributes:
        information: (F,) mean probability of a frame's tokens relative to uniform sampling: 1 is uniform. The
            probabilities of a clip add up to one, so frames can be compared only within a window of the network.
        error: (F,) mean error of a frame's masked tokens, which can be compared over the complete video.
        peaks: (K,) frames with the highest information in descending order, each two tubelets or more from the others.
    """

    information: np.ndarray
    error: np.ndarray
    peaks: np.ndarray


def timeline_of(video: VideoClips, probability: Tensor, error: Tensor, model: Pretrainer, top: int) -> Timeline:
    """Compute the timeline of a video.

    Args:
        video: The video.
        probability: (C, N) relative to uniform sampling.
        error: (C, N) with NaN where nothing was predicted.
        model: The model, for its token grid.
        top: Maximum number of peaks.
    """
    grid = model.grid
    planes = video.cut.position // grid.tubelet_size
    means = [values.unflatten(1, (grid.t, -1)).nanmean(dim=2).numpy() for values in (probability, error)]
    information, errors = (mean[video.cut.clip, planes] for mean in means)
    return Timeline(information, errors, find_peaks(information, top, apart=2 * grid.tubelet_size * video.cut.stride))


def find_peaks(values: np.ndarray, most: int, apart: int) -> np.ndarray:
    """Return the indices of the ``most`` highest of (F,) values, descending and at least ``apart`` from each other."""
    found: list[int] = []
    for frame in np.argsort(-values, kind="stable").tolist():
        if len(found) == most:
            break
        if all(abs(frame - other) >= apart for other in found):
            found.append(frame)
    return np.array(found)
