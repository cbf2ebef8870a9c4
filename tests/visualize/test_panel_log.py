"""Panels of fixed clips in TensorBoard."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import RendererAgg
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from adamae.visualize.panel_log import PanelLog, as_video_clips, clip_sheets, fixed_clips
from adamae.visualize.picture_grid import GAP, HEAD, TITLE
from adamae.visualize.reconstruction import Variant, reconstruct
from tests.visualize.scenes import tiny_model


def written(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0})
    events.Reload()
    return events


@pytest.mark.slow
@pytest.mark.parametrize("mask_type", ["learnable", "random"])
def test_every_so_often_the_same_clips_are_shown(mask_type: str, tmp_path: Path) -> None:
    model = tiny_model(mask_type=mask_type).train()
    clips = torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8)
    moving = torch.zeros(2, 4, 16, 16, dtype=torch.bool)
    moving[..., :8] = True
    with SummaryWriter(str(tmp_path)) as writer:
        panels = PanelLog(model, clips, moving, every=3, writer=lambda: writer)
        noise = torch.get_rng_state()
        for step in range(1, 7):
            panels.after_step(step)
    assert model.training
    assert torch.equal(torch.get_rng_state(), noise)
    events = written(tmp_path)
    assert events.Tags()["images"] == ["panels/clip_0", "panels/clip_1"]
    assert [entry.step for entry in events.Images("panels/clip_0")] == [1, 3, 6]
    pictures = {entry.encoded_image_string for entry in events.Images("panels/clip_0")}
    assert len(pictures) == 1, "nothing was learned between them"
    assert [entry.step for entry in events.Scalars("panels/hit_rate")] == [1, 3, 6]
    assert ("panels/probability" in events.Tags()["histograms"]) == (mask_type == "learnable")
    assert "panels/error" in events.Tags()["histograms"]
    assert panels.state() == panels.after_epoch(0) == {}


def test_each_sheet_shows_its_own_clip() -> None:
    model = tiny_model()
    film = as_video_clips(torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8), None)
    result = reconstruct(model, film, Variant("learnable", 0.5))
    for number, sheet in enumerate(clip_sheets(film, result)):
        # The first column behind the names of the rows, images of 112 pixels: the video, then the visible tokens.
        x = sheet.shape[1] - GAP - 4 * (112 + GAP)
        for y, image in ((HEAD, film.frames[4 * number]), (HEAD + 112 + GAP + TITLE, result.panels.seen[number, 0])):
            assert np.array_equal(sheet[y : y + 112 : 7, x : x + 112 : 7], image.numpy())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_do_not_end_the_run(value: float, tmp_path: Path) -> None:
    model = tiny_model().train()
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)
    clips = torch.randint(0, 256, (1, 4, 16, 16, 3), dtype=torch.uint8)
    with SummaryWriter(str(tmp_path)) as writer:
        PanelLog(model, clips, None, every=1, writer=lambda: writer).after_step(1)
    tags = written(tmp_path).Tags()
    assert tags["images"] == ["panels/clip_0"]
    assert tags["histograms"] == []


def test_pages_that_were_drawn_leave_no_pixels_behind(tmp_path: Path) -> None:
    def renderers() -> int:
        # Not isinstance, which wakes whatever objects pretend to be of a class.
        return sum(type(each) is RendererAgg for each in gc.get_objects())

    clips = torch.zeros(2, 4, 16, 16, 3, dtype=torch.uint8)
    with SummaryWriter(str(tmp_path)) as writer:
        panels = PanelLog(tiny_model(), clips, None, every=1, writer=lambda: writer)
        gc.collect()
        gc.disable()
        try:
            before = renderers()
            panels.after_step(1)
            assert renderers() <= before
        finally:
            gc.enable()


def test_nothing_is_drawn_where_nothing_is_asked_for() -> None:
    def no_writer() -> None:
        raise AssertionError

    clips = torch.zeros(1, 4, 16, 16, 3, dtype=torch.uint8)
    for shown, every in ((clips, 0), (None, 1)):
        panels = PanelLog(tiny_model(), shown, None, every=every, writer=no_writer)
        panels.after_step(1)
    PanelLog(tiny_model(), clips, None, every=1, writer=lambda: None).after_step(1)


def test_what_moves_counts_where_all_clips_know_it() -> None:
    known = {"clip": torch.zeros(2, 4, 8, 8, 3), "motion_mask": torch.zeros(2, 4, 8, 8)}
    clips, moving = fixed_clips([known, known])
    assert clips.shape == (2, 4, 8, 8, 3)
    assert moving is not None
    assert fixed_clips([known, {"clip": known["clip"]}])[1] is None
