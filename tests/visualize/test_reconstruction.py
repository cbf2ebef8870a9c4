"""A reconstruction equals the forward pass of the model itself."""

from __future__ import annotations

import pytest
import torch

from adamae.errors import UserError
from adamae.randomness import sample_seed
from adamae.samplers.hit_rate import count_hits
from adamae.samplers.motion import motion_scores
from adamae.visualize.reconstruction import Variant, reconstruct
from adamae.visualize.rows import notes_of
from adamae.visualize.samplers import own_mask_type, sampler_of
from tests.visualize.scenes import tiny_model, video_clips


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_look_is_the_models_own_forward_pass(batch_size: int) -> None:
    model, film = tiny_model(), video_clips()
    result = reconstruct(model, film, Variant("learnable", 0.5, seed=3), batch_size=batch_size)
    seeds = torch.tensor([sample_seed(3, 0, stretch) for stretch in range(3)])
    with torch.no_grad():
        out = model(film.clips(slice(None)), seeds=seeds, diagnose=True)
    visible = torch.zeros(3, 8, dtype=torch.bool).scatter(1, out.selection.visible, True)
    assert torch.equal(result.panels.visible, visible)
    assert result.panels.error[~visible].tolist() == pytest.approx(out.token_error.flatten().tolist(), rel=1e-5)
    assert torch.allclose(result.panels.probability, out.selection.log_probs.exp() * 8)
    found = result.statistics
    assert found["target_error"] == pytest.approx(out.losses["reconstruction"].item(), rel=1e-5)
    assert found["trivial_error"] == pytest.approx(out.losses["trivial"].item(), rel=1e-5)
    assert found["entropy"] == pytest.approx(out.losses["entropy"].item(), rel=1e-5)
    hits, expected = count_hits(out.selection, film.motion_mask_clips(slice(None)), model.grid)
    assert found["hit_rate"] == pytest.approx((hits.sum() / expected.sum()).item())
    assert found["on_moving"] == pytest.approx(hits.sum().item() / 12)
    assert (found["visible"], found["tokens"]) == (4, 8)


def test_visible_tokens_have_an_error_where_a_second_draw_hides_them() -> None:
    result = reconstruct(tiny_model(), video_clips(), Variant("random", 0.75))
    known = result.error_if_hidden.isfinite()
    assert known.any()
    assert not (known & ~result.panels.visible).any()
    assert result.statistics["visible_error"] == pytest.approx(result.error_if_hidden[known].mean().item())


def test_other_masks_over_the_same_weights() -> None:
    model, film = tiny_model(), video_clips(moving=False)
    for mask_type in ("random", "tube"):
        result = reconstruct(model, film, Variant(mask_type, 0.5))
        assert (result.panels.visible.sum(dim=1) == 4).all()
        assert (result.panels.probability == 1).all()
        assert not {"entropy", "hit_rate"} & result.statistics.keys()
    tube = result.panels.visible.unflatten(1, (2, 4))
    assert torch.equal(tube[:, 0], tube[:, 1])


def test_a_look_by_motion_shows_its_scores() -> None:
    model, film = tiny_model(mask_type="motion", keep_ratio=0.75, mask_ratio=0.6), video_clips()
    result = reconstruct(model, film, Variant("motion", 0.6))
    with torch.no_grad():
        scores = motion_scores(model.encoder.patch_embed(model.pixels(film.clips(slice(None)))), model.grid)
    torch.testing.assert_close(result.panels.probability, scores / scores.mean(dim=1, keepdim=True))
    # 3 of 8 tokens are seen and 3 are predicted; those that move least are neither.
    assert result.panels.visible.sum(dim=1).tolist() == [3, 3, 3]
    predicted = result.panels.error.isfinite()
    assert predicted.sum(dim=1).tolist() == [3, 3, 3]
    dropped = ~(predicted | result.panels.visible)
    assert (scores.masked_fill(~dropped, 0).amax(dim=1) <= scores.masked_fill(dropped, torch.inf).amin(dim=1)).all()
    assert "entropy" not in result.statistics
    assert "Motion scores are relative to the mean of the clip" in notes_of([result])[1]
    # Another network's weights can be looked at so too.
    other = reconstruct(tiny_model(), film, Variant("motion", 0.8))
    assert (other.panels.probability != 1).any()


def test_a_ratio_is_changed_for_the_look_alone() -> None:
    model = tiny_model()
    assert reconstruct(model, video_clips(), Variant("learnable", 0.75)).panels.visible.sum(dim=1).tolist() == [2, 2, 2]
    assert model.sampler.mask_ratio == 0.5


def test_uniform_masks_are_those_that_the_network_was_trained_with() -> None:
    model = tiny_model(
        mask_type="adaptive_uniform", mask_ratio=None, uniform_sampling="step", secondary_mask_ratio=0.5, patch_size=4
    )
    sampler = sampler_of(model, "uniform", 0.75)
    assert (sampler.uniform_sampling, sampler.secondary_mask_ratio) == ("step", 0.5)
    # A network without a token for secondary masks sees all visible tokens.
    model = tiny_model(patch_size=4)
    assert not reconstruct(model, video_clips(), Variant("uniform", 0.75)).panels.secondary.any()


@pytest.mark.parametrize("ratio", [0.6, 0.8, 0.9])
def test_motion_masks_at_another_ratio_are_those_of_a_network_trained_so(ratio: float) -> None:
    """The targets, too: the tokens with the most motion that are not visible."""
    sizes = {"mask_type": "motion", "keep_ratio": 0.5, "patch_size": 4}
    model, other = tiny_model(mask_ratio=0.7, **sizes), tiny_model(mask_ratio=ratio, **sizes)
    found, expected = (reconstruct(each, video_clips(), Variant("motion", ratio)) for each in (model, other))
    assert torch.equal(found.panels.visible, expected.panels.visible)
    torch.testing.assert_close(found.panels.error, expected.panels.error, equal_nan=True)
    assert found.statistics == pytest.approx(expected.statistics)
    assert model.sampler.mask_ratio == 0.7


def test_other_masks_predict_all_that_they_hide() -> None:
    model = tiny_model(mask_type="motion", keep_ratio=0.5, mask_ratio=0.75, patch_size=4)
    panels = reconstruct(model, video_clips(), Variant("random", 0.75)).panels
    assert torch.equal(panels.error.isfinite(), ~panels.visible)


@pytest.mark.parametrize("sampling", ["tube", "step"])
@pytest.mark.parametrize(("mask_type", "ratio"), [("random", 0.75), ("random", 0.9), ("tube", 0.75), ("frame", 0.5)])
def test_secondary_masks_belong_to_the_masks_that_draw_them(sampling: str, mask_type: str, ratio: float) -> None:
    model = tiny_model(
        mask_type="uniform", mask_ratio=None, uniform_sampling=sampling, secondary_mask_ratio=0.25, patch_size=4
    )
    assert reconstruct(model, video_clips(), Variant("uniform", 0.75)).panels.secondary.any()
    panels = reconstruct(model, video_clips(), Variant(mask_type, ratio)).panels
    assert panels.visible.any()
    assert not panels.secondary.any()


def test_what_cannot_be_drawn_is_one_line() -> None:
    with pytest.raises(UserError, match="the checkpoint has no learned sampler, expected one of random"):
        sampler_of(tiny_model(mask_type="random"), "learnable", 0.5)
    with pytest.raises(
        UserError, match="adaptive_uniform: the checkpoint's sampler is learnable, expected one of learn"
    ):
        sampler_of(tiny_model(), "adaptive_uniform", 0.5)
    with pytest.raises(UserError, match="expected one of learnable, random"):
        sampler_of(tiny_model(), "tubes", 0.5)
    with pytest.raises(UserError, match=r"mask_ratio = 0\.99 leaves 0 of 8"):
        sampler_of(tiny_model(), "learnable", 0.99)
    assert own_mask_type(tiny_model(mask_type="tube")) == "tube"
