"""Compact layout, order of the decoder, positions and block tables against the golden file (D, E, G, H)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adamae.layers.positions import sincos_2d_table
from adamae.models import create_model
from adamae.models.pyramid.expansion import CellExpansion
from adamae.models.pyramid.factories import swin_pretrainer
from adamae.models.pyramid.layout import all_units, compact_units
from adamae.models.pyramid.relative_positions import log_offsets
from adamae.models.pyramid.swin import SwinEncoder, WindowAttention
from adamae.samplers.cells import PATTERNS
from adamae.selection import TokenSelection, complement
from tests.golden import um_mae


def test_compaction() -> None:
    golden = um_mae.GOLDEN["D_compaction"]
    grid = um_mae.image_grid(golden["M"])
    units = um_mae.cell_order_units(golden["M"], 1)
    layout = compact_units(units, grid, PATTERNS["tube"], 4, 2)
    assert layout.shape == (1, 8, 8)
    assert layout.coordinates is not None
    rows, columns = layout.coordinates[0, 0].unbind(dim=-1)
    assert rows.tolist() == golden["pos_h_rows"]
    assert columns.tolist() == golden["pos_w"]
    assert (rows * 16 + columns).tolist() == golden["compact_patch_ids"]
    once = layout.merged()
    assert once.coordinates is not None
    assert once.coordinates[0, 0, :, :, 0].tolist() == golden["after_one_merge_pos_h"]
    assert once.coordinates[0, 0, :, :, 1].tolist() == golden["after_one_merge_pos_w"]
    twice = once.merged()
    assert twice.coordinates is not None
    assert twice.coordinates[0, 0, :, :, 0].tolist() == golden["after_two_merges_pos_h"]
    offsets = log_offsets(torch.tensor(golden["example_d"], dtype=torch.float64))
    torch.testing.assert_close(offsets, torch.tensor(golden["example_out"], dtype=torch.float64), atol=5e-7, rtol=0)


def test_patches_are_gathered_where_the_coordinates_say(rng: np.random.Generator) -> None:
    model = swin_pretrainer(img_size=128, encoder_embed_dim=(8, 8, 8, 8), encoder_num_heads=(1, 1, 1, 1))
    encoder = model.encoder
    assert isinstance(encoder, SwinEncoder)
    # Units whose 16 patches carry their own coordinates.
    full = torch.stack(torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij"), dim=-1).repeat(1, 1, 4)
    units = full.view(8, 4, 8, 4, 8).transpose(1, 2).reshape(1, 64, 128).float()
    chosen = um_mae.cell_order_units(8, 1)
    layout = compact_units(chosen, encoder.grid, PATTERNS["tube"], 4, 2)
    compact = encoder._patches(units[:, chosen[0]], layout)
    assert layout.coordinates is not None
    assert torch.equal(compact[..., :2], layout.coordinates)
    whole = encoder._patches(units, all_units(encoder.grid, 4, 2))
    assert torch.equal(whole[0, 0], full.float())


def test_decoder_order() -> None:
    golden = um_mae.GOLDEN["E_decoder_visible_order"]
    side = golden["M"]
    in_cells = um_mae.cell_order_units(side, 1)
    visible = in_cells.sort(dim=1).values
    assert in_cells[0].tolist() == golden["features_are_in_this_unit_order"]
    assert visible[0].tolist() == golden["reference_adds_pos_of_these_units"]
    assert (in_cells != visible).sum() == golden["mismatch_count"]
    selection = TokenSelection(visible, complement(visible, side**2))
    for released, expected in ((True, in_cells), (False, visible)):
        model = swin_pretrainer(img_size=128, decoder_embed_dim=4, decoder_num_heads=1, released_decoder_order=released)
        expansion = model.encoder_to_decoder
        assert isinstance(expansion, CellExpansion)
        # Features that tell the units of their 2x2 cells, in the order that PixelShuffle reads.
        with torch.no_grad():
            expansion.weight.zero_()
            expansion.bias.zero_()
            for channel in range(16):
                expansion.weight[channel, channel % 4] = 1
        features = torch.zeros(1, 4, 768)
        features[..., :4] = in_cells.view(2, 2, 2, 2).transpose(1, 2).reshape(1, 4, 4).float()
        tokens = expansion(features, selection)
        assert tokens[0, :, 0].tolist() == expected[0].tolist()


def test_released_order_misplaces_three_quarters() -> None:
    golden = um_mae.GOLDEN["E_decoder_visible_order"]["mean_fraction_of_visible_tokens_with_wrong_position_M16"]
    model = create_model("um_swin_tiny")
    anything = torch.zeros(2000, 256, 1)
    from adamae.randomness import SampleNoise

    visible = model.sampler(anything, model.grid, SampleNoise(torch.arange(2000))).visible
    order = PATTERNS["tube"].cell_of(model.grid)[visible]
    assert (order != torch.arange(64)).float().mean().item() == pytest.approx(golden, abs=0.01)


def test_two_dimensional_positions() -> None:
    golden = um_mae.GOLDEN["G_posembed_2d"]
    table = sincos_2d_table(16, 16, 512)[0]
    for value, key in (
        (table[1, :4], "dec_pos_16x16_dim512_row1_first4"),
        (table[16, :4], "row16_first4"),
        (table[16, 256:260], "row16_256_260"),
    ):
        torch.testing.assert_close(value, torch.tensor(golden[key]), atol=6e-7, rtol=0)


@pytest.mark.parametrize(("name", "key"), [("um_swin_tiny", "pretrain"), ("swin_tiny_256", "finetune")])
def test_blocks_of_swin_tiny(name: str, key: str) -> None:
    with torch.device("meta"):
        encoder = create_model(name).encoder
    assert isinstance(encoder, SwinEncoder)
    _, height, width = encoder.shape
    stage = 0
    for row, block in zip(um_mae.GOLDEN["H_swin_tiny_block_table"][key], encoder.blocks, strict=True):
        attention = block.attn
        assert isinstance(attention, WindowAttention)
        stage += block.downsample is not None
        assert row == {
            "block": row["block"],
            "dim": attention.proj.out_features,
            "res": [height >> stage, width >> stage],
            "window": attention.window[1],
            "shift": attention.shift[1],
            "heads": attention.num_heads,
            "merge": block.downsample is not None,
        }
        assert attention.window[1] == attention.window[2] and attention.shift[1] == attention.shift[2]
