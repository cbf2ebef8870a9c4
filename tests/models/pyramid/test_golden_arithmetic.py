"""What the networks compute against the MACs that were counted on the official code (section J)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from adamae.benchmark.arithmetic import count_multiply_adds
from adamae.models import Pretrainer, create_model
from adamae.models.encoder import Encoder
from adamae.models.pyramid.swin import SwinEncoder, WindowAttention
from tests.golden import um_mae

GOLDEN = um_mae.GOLDEN["J_forward_GMAC_measured_here"]["rows"]


def counted(function: Any) -> float:
    """Multiply-adds in 10^9."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        function()
    return counter.get_total_flops() / 2e9


def offsets_of_all_pairs(encoder: Encoder) -> float:
    """10^9 that the published code needs to pass all pairs of patches of all windows through the position networks.

    Here each offset passes once.
    """
    pairs = stage = 0
    if not isinstance(encoder, SwinEncoder):
        return 0.0
    _, height, width = encoder.shape
    for block in encoder.blocks:
        attention = block.attn
        assert isinstance(attention, WindowAttention)
        stage += block.downsample is not None
        patches = (height >> stage) * (width >> stage)
        window = attention.window[1] * attention.window[2]
        pairs += patches * window * (2 * 32 + 32 * attention.num_heads)
    return pairs / 1e9


@pytest.mark.parametrize(("name", "row"), [("um_swin_tiny", "UM-MAE Swin-T"), ("um_pvt_small", "UM-MAE PVT-S")])
def test_pre_training(name: str, row: str) -> None:
    golden = GOLDEN[row]
    with torch.device("meta"):
        model = create_model(name)
        images = torch.empty(1, 3, 1, 256, 256)
        visible = torch.arange(256).view(1, 8, 2, 8, 2)[:, :, 0, :, 0].flatten(1)
    assert isinstance(model, Pretrainer)
    chosen = um_mae.TokenSelection(visible, torch.empty(1, 192, dtype=torch.long, device="meta"))
    pixels = torch.empty(1, 192, 768, device="meta")

    def as_published() -> None:
        # All patches are embedded, and the decoder's last block and head see the visible tokens too.
        model.encoder.patch_embed(pixels)
        um_mae.whole_forward(model, images, chosen)

    def encoder() -> None:
        model.encoder.patch_embed(pixels)
        um_mae.encoded(model, images, chosen)

    assert counted(as_published) == pytest.approx(golden["total_GMAC"], rel=0.01)
    published = golden["encoder_GMAC"] - offsets_of_all_pairs(model.encoder)
    assert counted(encoder) == pytest.approx(published, rel=0.01)
    assert 0.9 * golden["total_GMAC"] < count_multiply_adds(model) / 1e9 < golden["total_GMAC"]


def test_the_whole_image() -> None:
    """The encoders of SimMIM's way, which see all units, masked or not."""
    with torch.device("meta"):
        swin, pvt = (create_model(name, num_classes=0) for name in ("swin_tiny_256", "pvt_small_256"))
    assert count_multiply_adds(pvt) / 1e9 == pytest.approx(GOLDEN["SimMIM PVT-S"]["encoder_GMAC"], rel=0.01)
    pairs = offsets_of_all_pairs(swin.encoder)
    published = GOLDEN["SimMIM Swin-T (window 16)"]["encoder_GMAC"]
    assert count_multiply_adds(swin) / 1e9 + pairs == pytest.approx(published, rel=0.01)
    assert count_multiply_adds(swin) / 1e9 < published
