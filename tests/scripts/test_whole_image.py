"""The comparison with the whole image: all units count there, and less is kept where one of each cell is seen."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import whole_image

from adamae.models import create_model


def test_every_masked_unit_counts_and_visible_pixels_reach_the_loss() -> None:
    classifier = create_model("swin_micro_256", img_size=128, num_classes=0, use_mean_pooling=False)
    model = whole_image.WholeImage(classifier).double()
    images = torch.randn(2, 3, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    loss = model(images, torch.arange(2))
    loss.backward()
    assert images.grad is not None
    # Masked units through the target, visible ones through the encoder.
    assert (model.grid.patchify(images.grad.permute(0, 2, 3, 4, 1)).abs().sum(dim=2) > 0).all()
    assert all(each.grad is not None for each in model.parameters())


@pytest.mark.slow
def test_a_row_of_numbers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["whole_image.py", "--model", "um_swin_micro", "--batch_size", "2", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", words)
    whole_image.main()
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["kept_ratio"] < 0.55
    assert row["time_ratio"] > 0 and row["peak_ratio"] > 0
