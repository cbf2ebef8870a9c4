"""Heat maps and timelines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from adamae.errors import UserError
from adamae.visualize.curves import timeline_csv, timeline_png
from adamae.visualize.probability import find_peaks, heat_map, probability_of, timeline_of
from adamae.visualize.reconstruction import Variant, reconstruct
from adamae.visualize.video_clips import split_into_clips
from tests.visualize.scenes import tiny_model, video_clips


@pytest.mark.parametrize(
    ("mask_type", "options"),
    [
        ("learnable", {}),
        ("adaptive_uniform", {"mask_ratio": None, "secondary_mask_ratio": 0.0, "uniform_sampling": "tube"}),
        ("adaptive_uniform", {"mask_ratio": None, "secondary_mask_ratio": 0.0, "uniform_sampling": "step"}),
    ],
)
def test_the_sampler_alone_says_what_the_whole_model_says(mask_type: str, options: dict[str, Any]) -> None:
    model, film = tiny_model(mask_type=mask_type, patch_size=4, **options), video_clips()
    alone = probability_of(model, film, batch_size=2)
    variant = Variant(mask_type, model.sampler.mask_ratio)
    assert torch.allclose(alone, reconstruct(model, film, variant).panels.probability)
    assert alone.mean(dim=1).tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(UserError, match="no learned sampler"):
        probability_of(tiny_model(mask_type="random"), film)


def test_a_heat_map_mixes_colours_and_video() -> None:
    model, film = tiny_model(), video_clips()
    probability = torch.ones(3, 8)
    still = heat_map(film, model, probability, 0)[0]
    assert all(np.array_equal(still.image(frame), film.frames[frame].numpy()) for frame in range(10))
    row, scale = heat_map(film, model, probability, 1)
    assert scale.high == 2
    # One is the middle of the scale.
    assert all((row.image(frame) == scale.paint(np.array(1.0))).all() for frame in range(10))


def test_information_lies_at_its_time() -> None:
    model, film = tiny_model(), video_clips()
    probability = torch.ones(3, 8)
    # The second clip's second time: frames 6 and 7.
    probability[1, 4:] = torch.tensor([1.0, 2, 3, 6])
    error = torch.full((3, 8), torch.nan)
    error[:, [0, 5]] = torch.tensor([1.0, 3.0])
    timeline = timeline_of(film, probability, error, model, top=2)
    assert timeline.information.tolist() == [1, 1, 1, 1, 1, 1, 3, 3, 1, 1]
    assert timeline.error.tolist() == [1, 1, 3, 3, 1, 1, 3, 3, 3, 3]
    assert timeline.peaks.tolist() == [6, 0]
    lines = timeline_csv(film, timeline).decode().splitlines()
    assert lines[0] == "frame,seconds,information,error,peak"
    assert lines[7] == "6,0.6000,3,3,1"
    assert timeline_png(film, timeline, ["cost_$5_and_$6.mp4"]).startswith(b"\x89PNG")


def test_peaks_keep_apart() -> None:
    values = np.array([5.0, 4, 1, 3, 0])
    assert find_peaks(values, 2, apart=1).tolist() == [0, 1]
    assert find_peaks(values, 9, apart=3).tolist() == [0, 3]


def test_peaks_are_two_tubelets_apart_at_any_stride() -> None:
    """With a stride of three the frames of a tubelet are three apart, and those between belong to other clips."""
    model = tiny_model()
    cut = split_into_clips(np.arange(0, 24, 12), 24, 4, 3)
    film = replace(video_clips(24), cut=cut)
    probability = torch.rand(len(cut.frames), model.grid.num_tokens)
    timeline = timeline_of(film, probability, torch.zeros_like(probability), model, top=9)
    peaks = np.sort(timeline.peaks)
    assert cut.stride == 3 and len(peaks) > 1
    assert np.diff(peaks).min() >= 2 * 2 * 3
    tokens = {(int(cut.clip[frame]), int(cut.position[frame]) // 2) for frame in peaks}
    assert len(tokens) == len(peaks)
