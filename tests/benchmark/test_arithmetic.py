"""Counted multiply-adds are those of the cost model that reproduces the published figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adamae.benchmark.arithmetic import ALL_TOKENS, MOTION, THIS, TUBE, compare_multiply_adds, count_multiply_adds
from adamae.models import Pretrainer, create_model, vit_classifier, vit_pretrainer
from adamae.samplers.tube import TubeSampler
from tests.golden import mats

NAMES = {"ViT-S": "adamae_small", "ViT-B": "adamae_base", "ViT-L": "adamae_large"}


@pytest.mark.slow
@pytest.mark.parametrize("row", mats.GOLDEN["M_cost_model_GMAC"]["rows"], ids=lambda row: row["model"])
def test_counts_are_the_tables(row: dict[str, Any]) -> None:
    motion = {"mask_type": "motion", "mask_ratio": 0.9, "keep_ratio": 0.3}
    with torch.device("meta"):
        networks = [create_model(NAMES[row["model"]], **masks) for masks in ({**motion, "mask_type": "tube"}, motion)]
    tube, ours = (mats.published_multiply_adds(network) for network in networks if isinstance(network, Pretrainer))
    assert tube / 1e9 == pytest.approx(row["videomae_pt"], abs=0.006)
    assert ours / 1e9 == pytest.approx(row["ours_pt"], abs=0.006)
    assert 100 * (1 - ours / tube) == pytest.approx(row["pt_saving"], abs=0.06)
    counts = compare_multiply_adds(NAMES[row["model"]], **motion)
    for name, column in {ALL_TOKENS: "videomae_ft", MOTION: "ours_ft"}.items():
        assert counts[name] / 1e9 == pytest.approx(row[column], rel=0.01)
    assert 100 * (1 - counts[MOTION] / counts[ALL_TOKENS]) == pytest.approx(row["ft_saving"], abs=0.5)
    # This network does less: it embeds no patch that nothing reads, and its last block gives the targets alone.
    assert counts[TUBE] < 0.97 * tube


@pytest.mark.parametrize(("model", "saved"), [("adamae_small", 0.08), ("adamae_base", 0.05)])
def test_masks_that_read_no_tokens_save_the_embedding_of_all_patches(
    model: str, saved: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> int:
        with torch.device("meta"):
            network = create_model(model, mask_type="tube", mask_ratio=0.9)
        return count_multiply_adds(network)  # type: ignore[arg-type]

    visible_alone = counted()
    monkeypatch.setattr(TubeSampler, "reads_tokens", True)
    everything = counted()
    width = 384 if model == "adamae_small" else 768
    assert everything - visible_alone == 1568 * width * 2 * 16 * 16 * 3
    assert 1 - visible_alone / everything == pytest.approx(saved, abs=0.005)


def test_candidate_frames_cost_their_tokenizer() -> None:
    sizes: dict[str, Any] = {"img_size": 32, "num_frames": 8, "depth": 1, "embed_dim": 32, "num_heads": 2}
    with torch.device("meta"):
        networks = [vit_classifier(**sizes, candidate_frames=frames) for frames in (None, 12)]
    plain, more = map(count_multiply_adds, networks)
    tokens = 6 * 2 * 2
    assert more - plain == tokens * 32 * 2 * 16 * 16 * 3


def test_a_clip_too_small_for_a_comparison_is_counted_nevertheless() -> None:
    sizes: dict[str, Any] = {"img_size": 16, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1}
    counts = compare_multiply_adds("adamae_tiny", mask_type="random", mask_ratio=0.5, **sizes)
    assert counts.keys() == {THIS, ALL_TOKENS, MOTION}


@pytest.mark.parametrize(
    ("name", "classifier", "sizes"),
    [
        ("um_swin_micro", "swin_micro_256", {"img_size": 128}),
        ("um_swin_micro", "swin_micro_256", {"img_size": 128, "num_frames": 4, "tubelet_size": 2}),
        ("um_pvt_small", "pvt_small_256", {"img_size": 128, "mask_type": "adaptive_uniform"}),
    ],
    ids=str,
)
def test_fine_tuning_of_a_pyramid_has_its_own_windows_and_pools(
    name: str, classifier: str, sizes: dict[str, Any]
) -> None:
    counts = compare_multiply_adds(name, **sizes)
    assert counts.keys() == {THIS, ALL_TOKENS}
    sizes = {key: value for key, value in sizes.items() if key != "mask_type"}
    with torch.device("meta"):
        network = create_model(classifier, num_classes=0, **sizes)
    assert counts[ALL_TOKENS] == count_multiply_adds(network)  # type: ignore[arg-type]


def test_the_model_is_not_changed() -> None:
    with torch.device("meta"):
        model = vit_pretrainer(img_size=32, num_frames=4, encoder_depth=1, decoder_depth=1, mask_ratio=0.5)
    assert count_multiply_adds(model) == count_multiply_adds(model.eval()) > 0
