"""Both pyramid encoders: what they read and what they do not, on images and on video."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adamae.errors import UserError
from adamae.models import MODELS, Classifier, Pretrainer, create_model
from adamae.models.pyramid import swin
from adamae.models.pyramid.layout import Layout
from adamae.models.pyramid.relative_positions import PositionMlp, WindowPositions, bias_of
from adamae.models.pyramid.swin import SwinEncoder
from adamae.randomness import SampleNoise
from adamae.samplers import build_sampler
from adamae.samplers.cells import PATTERNS
from adamae.selection import TokenSelection, gather_tokens

SMALL: dict[str, dict[str, Any]] = {
    "um_swin_tiny": {
        "encoder_embed_dim": (8, 8, 16, 16),
        "encoder_depth": (2, 1, 2, 1),
        "encoder_num_heads": (1, 1, 2, 2),
        "position_dim": 4,
    },
    "um_pvt_small": {
        "encoder_embed_dim": (8, 8, 16, 16),
        "encoder_depth": (1, 1, 1, 1),
        "encoder_num_heads": (1, 1, 2, 2),
    },
}
VIDEO = {"num_frames": 8, "tubelet_size": 2}
LAYOUTS = [{}, *({**VIDEO, "uniform_sampling": pattern} for pattern in PATTERNS)]
SEEDS = torch.arange(2)


def small(name: str, **options: Any) -> Pretrainer:
    decoder = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
    model = create_model(name, **{"img_size": 128, **SMALL[name], **decoder, **options})
    assert isinstance(model, Pretrainer)
    return model


def small_classifier(name: str, **options: Any) -> Classifier:
    sizes = {key.removeprefix("encoder_"): value for key, value in SMALL[name].items()}
    kind = {"um_swin_tiny": "swin_tiny_256", "um_pvt_small": "pvt_small_256"}[name]
    model = create_model(kind, **{"img_size": 128, "num_classes": 3, **sizes, **options})
    assert isinstance(model, Classifier)
    return model


def clips_for(model: Pretrainer | Classifier, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.normal(size=(2, 3, *model.grid.clip_shape))).float()


def encode(model: Pretrainer, clips: Tensor, selection: TokenSelection) -> Tensor:
    seen = model.encoder.patch_embed(gather_tokens(model.pixels(clips), selection.visible))
    encoded: Tensor = model.encoder(seen, SampleNoise(SEEDS), selection)
    return encoded


def spoilt(clips: Tensor, model: Pretrainer, tokens: Tensor, value: float) -> Tensor:
    """``clips`` with ``value`` in ``tokens`` (B, K) of each."""
    pixels = model.grid.patchify(clips.permute(0, 2, 3, 4, 1))
    pixels = pixels.scatter(1, tokens.unsqueeze(2).expand(-1, -1, pixels.shape[2]), value)
    return model.grid.unpatchify(pixels).permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", PATTERNS)
def test_other_tokens_than_one_of_each_cell_are_refused(name: str, kind: str, rng: np.random.Generator) -> None:
    model = small(name, **VIDEO, uniform_sampling=kind).eval()
    clips = clips_for(model, rng)
    right = model(clips, seeds=SEEDS).selection.visible
    assert model(clips, visible=right, seeds=SEEDS).prediction.shape[0] == 2
    count, cell = right.shape[1], "x".join(map(str, PATTERNS[kind].cell))
    with pytest.raises(
        UserError, match=f"visible: got {count - 1} tokens, expected {count}, one of each cell of {cell}"
    ):
        model.encoder(torch.zeros(2, count - 1, 128), SampleNoise(SEEDS), TokenSelection(right[:, 1:], right[:, :0]))
    together = torch.arange(count).expand(2, -1)
    with pytest.raises(
        UserError, match=f"got several tokens of one cell, expected {count}, one of each cell of {cell}"
    ):
        model(clips, visible=together)
    if kind == "tube":
        first = PATTERNS[kind].tokens(model.grid)
        moved = torch.cat((first[:1, 1], first[1:, 0])).expand(2, -1)
        with pytest.raises(UserError, match=r"got different places at different times, expected .*, the same at all"):
            model(clips, visible=moved)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: each.get("uniform_sampling", "image"))
@pytest.mark.parametrize("name", SMALL)
def test_nothing_is_read_of_removed_and_secondary_units(
    name: str, layout: dict[str, Any], rng: np.random.Generator
) -> None:
    model = small(name, **layout).eval()
    clips = clips_for(model, rng)
    selection = model(clips, seeds=SEEDS).selection
    assert selection.secondary is not None
    before = encode(model, clips, selection)
    assert before.isfinite().all()
    for value in (7.0, float("nan")):
        for tokens in (selection.target, selection.secondary):
            assert torch.equal(encode(model, spoilt(clips, model, tokens, value), selection), before)
    true = [
        [each for each in visible if each not in secondary]
        for visible, secondary in zip(selection.visible.tolist(), selection.secondary.tolist(), strict=True)
    ]
    for number in rng.integers(len(true[0]), size=3):
        one = torch.tensor([[units[number]] for units in true])
        changed = encode(model, spoilt(clips, model, one, 7.0), selection)
        assert (changed != before).any(dim=2).any(dim=1).all()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: each.get("uniform_sampling", "image"))
@pytest.mark.parametrize("mask_type", ["uniform", "adaptive_uniform"])
@pytest.mark.parametrize("name", SMALL)
def test_a_step_reaches_every_parameter_and_no_removed_pixel(
    name: str, mask_type: str, layout: dict[str, Any], rng: np.random.Generator
) -> None:
    model = small(name, mask_type=mask_type, sampler_dim=8, **layout)
    clips = clips_for(model, rng)
    out = model(clips, seeds=SEEDS)
    out.losses["loss"].backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    encoder = model.encoder
    encoder.zero_grad()
    encode(model, spoilt(clips, model, out.selection.target, float("nan")), out.selection).square().sum().backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", SMALL)
def test_secondary_ratio_0_is_the_network_without_the_token(name: str, rng: np.random.Generator) -> None:
    with_token, without = small(name), small(name, secondary_mask_ratio=0.0)
    state = with_token.state_dict()
    del state["vis_mask_token"]
    assert "vis_mask_token" not in without.state_dict()
    without.load_state_dict(state)
    clips = clips_for(without, rng)
    out = without(clips, seeds=SEEDS)
    assert out.selection.secondary is None
    nothing = TokenSelection(out.selection.visible, out.selection.target)
    assert torch.equal(encode(with_token, clips, nothing), encode(without, clips, nothing))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("layout", [{}, VIDEO], ids=["image", "video"])
def test_recomputation_changes_nothing(name: str, layout: dict[str, Any], rng: np.random.Generator) -> None:
    gradients = []
    model = small(name, drop_path_rate=0.5, **layout)
    clips = clips_for(model, rng)
    for parts in ("none", "all"):
        model.checkpoint_activations(parts)
        model.zero_grad()
        model(clips, seeds=SEEDS).losses["loss"].backward()
        gradients.append({key: each.grad for key, each in model.named_parameters()})
    for key, gradient in gradients[0].items():
        assert gradient is not None and torch.equal(gradient, gradients[1][key]), key


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("layout", [{}, VIDEO], ids=["image", "video"])
def test_classifiers(name: str, layout: dict[str, Any], rng: np.random.Generator) -> None:
    model = small_classifier(name, drop_path_rate=0.1, **layout)
    clips = clips_for(model, rng)
    logits = model(clips, seeds=SEEDS)
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in model.parameters())
    assert model.encode(clips, SampleNoise(SEEDS)).shape == (2, model.grid.t * 16, 16)


def test_regular_positions_are_those_of_the_coordinates(rng: np.random.Generator) -> None:
    """With all tokens the offsets of a window are made without coordinates; both ways must agree."""
    for shape, window, shift in (
        ((1, 16, 16), (1, 8, 8), (0, 0, 0)),
        ((1, 16, 24), (1, 8, 8), (0, 4, 4)),
        ((4, 8, 8), (2, 4, 4), (1, 2, 2)),
    ):
        axes = 2 if shape[0] == 1 else 3
        regular = Layout(shape, None, axes, shape)
        full = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij"), dim=-1).float().unsqueeze(0)
        shared = replace(regular, coordinates=full[:, :1, :, :, 1:])
        network = PositionMlp(axes, 6, 2)
        layouts = [regular, shared] if axes == 2 else [regular, shared, replace(regular, coordinates=full)]
        x = torch.empty(0)
        positions = [WindowPositions(layout, window, x) for layout in layouts]
        results = [bias_of(each.table(network), *each.pairs(shift)) for each in positions]
        count = results[-1].shape[1]
        first = results[0].expand(-1, count, -1, -1, -1)
        # Patches that only the shift has brought together are kept apart, and nothing else of them counts.
        together = first > -50
        for other in results[1:]:
            assert torch.equal(other > -50, together)
            torch.testing.assert_close(other[together], first[together])


def test_only_uniform_masks_fit() -> None:
    for mask_type in ("random", "learnable"):
        with pytest.raises(UserError, match=f"mask_type = '{mask_type}': expected uniform or adaptive_uniform, which "):
            small("um_swin_tiny", mask_type=mask_type)
    encoder = small("um_swin_tiny").encoder
    tube, step = (build_sampler("uniform", None, encoder.grid, 8, uniform_sampling=kind) for kind in ("tube", "step"))
    encoder.check_sampler(tube)
    with pytest.raises(UserError, match="uniform_sampling = 'step' of mask_type uniform: expected that of the encoder"):
        encoder.check_sampler(step)
    with pytest.raises(UserError, match="SwinEncoder cannot encode visible tokens, expected all tokens"):
        small("um_swin_tiny").encoder.check_takes("visible")


def test_sizes_that_do_not_divide_are_named_with_those_that_do() -> None:
    with pytest.raises(UserError, match=r"height = 224 .* expected one of 64, 128, 256, 512, 1024$"):
        create_model("um_swin_tiny", img_size=224)
    with pytest.raises(UserError, match=r"height = 224 .* expected one of 64, 128, 192, 256"):
        create_model("um_pvt_small", img_size=224)
    with pytest.raises(UserError, match=r"width = 320"):
        create_model("um_swin_tiny", img_size=(256, 320))
    with pytest.raises(UserError, match="patch_size = 8: expected 16"):
        create_model("um_swin_tiny", patch_size=8)
    with pytest.raises(UserError, match=r"height = 256 .* with windows of 7x7 patches: expected one of 448, 896$"):
        create_model("um_swin_tiny", window_size=7)
    for window in (0, -8):
        with pytest.raises(UserError, match=f"window_size = {window}: expected at least 1 patch"):
            create_model("swin_tiny_256", window_size=window)
    with pytest.raises(UserError, match=r"pools = \(4, 2, 1\): expected 4 numbers, one for each stage"):
        create_model("um_pvt_small", pools=(4, 2, 1))
    with pytest.raises(UserError, match=r"mlp_ratios = 4\.0: expected 4 numbers, one for each stage"):
        create_model("pvt_small_256", mlp_ratio=4.0)
    with pytest.raises(UserError, match="depth = 4: expected 4 numbers"):
        create_model("um_swin_tiny", encoder_depth=4)
    with pytest.raises(UserError, match=r"init_values = 0\.1: expected 0"):
        create_model("um_swin_tiny", init_values=0.1)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("um_swin_tiny", "mae_swin_tiny_256_sm025"),
        ("um_swin_large", "mae_swin_large_256_sm025"),
        ("um_pvt_small", "mae_pvt_small_256_sm025"),
        ("um_vit_base", "mae_vit_base_patch16_dec512d2b_sm025"),
        ("mae_vit_base_patch16_224", "vit_base_patch16_finetune"),
        ("swin_tiny_256", "swin_tiny_256_finetune"),
        ("swin_large_256", "swin_large_256_finetune"),
        ("pvt_small_256", "pvt_small_256_finetune"),
    ],
)
def test_published_state_dicts(name: str, key: str) -> None:
    from tests.golden import um_mae

    assert name in MODELS
    with torch.device("meta"):
        model = create_model(name)
    golden = um_mae.STATE_DICTS[key]
    assert {each: list(value.shape) for each, value in model.state_dict().items()} == golden["state_dict"]
    assert sum(each.numel() for each in model.parameters()) == golden["n_params_trainable"]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: each.get("uniform_sampling", "image"))
def test_nothing_of_all_pairs_is_kept_and_each_offset_passes_once(layout: dict[str, Any]) -> None:
    model = small("um_swin_tiny", **layout).train()
    encoder = model.encoder
    assert isinstance(encoder, SwinEncoder)
    passed: list[int] = []
    for module in encoder.modules():
        if isinstance(module, PositionMlp):
            module.register_forward_pre_hook(lambda _, inputs: passed.append(inputs[0].shape[:-1].numel()))
    kept: list[tuple[int, ...]] = []

    def note(x: Tensor) -> Tensor:
        kept.append(tuple(x.shape))
        return x

    counts = []
    for batch in (1, 3):
        passed.clear()
        clips = torch.zeros(batch, *model.grid.clip_shape, 3, dtype=torch.uint8)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            model(clips, seeds=torch.arange(batch))
        counts.append(passed.copy())
    # As many as there are offsets of two patches, however many clips and windows.
    assert counts[0] == counts[1]
    size, _ = encoder.windows(0, shifted=False)
    pairs = (size[0] * size[1] * size[2],) * 2
    # What keeps patches apart after a shift is there once for all clips.
    assert not any(pairs in pairwise(shape) for shape in kept if shape[0] > 1)


def test_attention_in_parts_of_the_batch_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("um_swin_tiny", **VIDEO, uniform_sampling="step").double().train()
    clips = torch.rand(3, 3, *model.grid.clip_shape, dtype=torch.float64)

    def loss_and_gradients() -> list[Tensor]:
        loss = model(clips, seeds=torch.arange(3)).losses["loss"]
        return [loss, *torch.autograd.grad(loss, [*model.parameters()], allow_unused=True, materialize_grads=True)]

    whole = loss_and_gradients()
    calls: list[int] = []
    before = swin.WindowAttention._attend

    def attend(self: swin.WindowAttention, qkv: Tensor, *others: Any) -> Tensor:
        calls.append(len(qkv))
        return before(self, qkv, *others)

    monkeypatch.setattr(swin.WindowAttention, "_attend", attend)
    monkeypatch.setattr(swin, "_MAX_PAIRS", 1)
    for one, other in zip(loss_and_gradients(), whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
    assert set(calls) == {1}


def test_pools_that_do_not_divide_a_stage_are_one_line() -> None:
    message = r"height = 256 does not divide into the 4 stages of the encoder with pools of 3, 2, 1, 1 patches: .* 384"
    with pytest.raises(UserError, match=message):
        create_model("um_pvt_small", img_size=256, pools=(3, 2, 1, 1))


@pytest.mark.parametrize("width", [18, 30])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("um_swin_tiny", "decoder_embed_dim"),
        ("um_pvt_small", "decoder_embed_dim"),
        ("um_pvt_small", "encoder_embed_dim"),
        ("um_vit_base", "decoder_embed_dim"),
        ("um_vit_base", "encoder_embed_dim"),
    ],
)
def test_widths_that_two_dimensional_positions_do_not_have(name: str, part: str, width: int) -> None:
    options: dict[str, Any] = {"img_size": 128, "encoder_num_heads": 2, "decoder_num_heads": 2}
    if name in SMALL:
        options |= SMALL[name]
    stages = (width, *SMALL["um_pvt_small"]["encoder_embed_dim"][1:])
    options[part] = stages if name in SMALL and part.startswith("encoder") else width
    with pytest.raises(UserError, match=f"width {width}: expected a multiple of 4"):
        create_model(name, **options)


@pytest.mark.parametrize(
    ("name", "option", "value", "reason"),
    [
        ("um_swin_tiny", "encoder_depth", (1, 0, 1, 1), "depth of stage 2 = 0: expected an integer at least 1"),
        ("um_pvt_small", "pools", (0, 1, 1, 1), "pool of stage 1 = 0: expected an integer at least 1"),
        ("um_pvt_small", "in_chans", 0, "in_chans = 0: expected an integer at least 1"),
    ],
)
def test_counts_of_the_stages(name: str, option: str, value: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        small(name, **{option: value})
