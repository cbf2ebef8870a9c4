"""mae_st's checkpoints against a small implementation of its encoder, written for this test from its description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.resizing import resize_positions
from adamae.checkpoints.tensor_files import write_tensors
from adamae.errors import UserError
from tests.checkpoints.networks import CLASSIFIER, bits, classifier, clip

WIDTH, DEPTH, HEADS, CLASSES = 32, 2, 4, 5
TIMES, PLACES = 2, 4


def weights(kind: str, separable: bool = True, seed: int = 11) -> dict[str, Tensor]:
    """Random weights under mae_st's names: "joined" biases or "separate" ones, "finetune" or "pretrain"."""
    generator = torch.Generator().manual_seed(seed)
    joined = "joined" in kind
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, WIDTH)}
    if separable:
        tables = {"spatial": PLACES, "temporal": TIMES, "class": 1}
        shapes |= {f"pos_embed_{name}": (1, count, WIDTH) for name, count in tables.items()}
    else:
        shapes["pos_embed"] = (1, TIMES * PLACES + 1, WIDTH)
    shapes |= {"patch_embed.proj.weight": (WIDTH, 3, 2, 8, 8), "patch_embed.proj.bias": (WIDTH,)}
    for block in (f"blocks.{number}" for number in range(DEPTH)):
        parts = (
            {"attn.qkv": (3 * WIDTH, WIDTH)}
            if joined
            else dict.fromkeys(("attn.q", "attn.k", "attn.v"), (WIDTH, WIDTH))
        )
        parts |= {"attn.proj": (WIDTH, WIDTH), "mlp.fc1": (2 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 2 * WIDTH)}
        parts |= {"norm1": (WIDTH,), "norm2": (WIDTH,)}
        for name, shape in parts.items():
            shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
    shapes |= {"norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    if "finetune" in kind:
        shapes |= {"head.weight": (CLASSES, WIDTH), "head.bias": (CLASSES,)}
    else:
        shapes |= {"decoder_cls_token": (1, 1, 16), "mask_token": (1, 1, 16), "decoder_embed.weight": (16, WIDTH)}
        shapes |= {"decoder_pos_embed_spatial": (1, PLACES, 16), "decoder_blocks.0.norm1.weight": (16,)}
        shapes |= {"decoder_norm.weight": (16,), "decoder_pred.weight": (24, 16)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: value * 0.2 if value.dim() > 1 else value for name, value in state.items()}


def logits(state: dict[str, Tensor], video: Tensor) -> Tensor:
    """What mae_st's classifier answers to (B, 3, T, H, W) standardised clips."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    x = F.conv3d(video, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=(2, 8, 8))
    x = x.flatten(2).transpose(1, 2)
    if "pos_embed" in state:
        positions = state["pos_embed"]
    else:
        space = state["pos_embed_spatial"].repeat(1, TIMES, 1)
        time = state["pos_embed_temporal"].repeat_interleave(PLACES, dim=1)
        positions = torch.cat((state["pos_embed_class"], space + time), dim=1)
    x = torch.cat((state["cls_token"].expand(len(x), -1, -1), x), dim=1) + positions
    for block in (f"blocks.{number}" for number in range(DEPTH)):
        y = norm(x, f"{block}.norm1")
        if f"{block}.attn.qkv.weight" in state:
            qkv = linear(y, f"{block}.attn.qkv").chunk(3, dim=-1)
        else:
            qkv = tuple(linear(y, f"{block}.attn.{part}") for part in "qkv")
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in qkv)
        weight = (q @ k.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5).softmax(dim=-1)
        x = x + linear((weight @ v).transpose(1, 2).flatten(2), f"{block}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")), f"{block}.mlp.fc2")
    return linear(norm(x[:, 1:].mean(dim=1), "norm"), "head")


def saved(state: dict[str, Tensor], path: Path) -> Path:
    torch.save({"model": state, "epoch": 4, "optimizer": {}}, path)
    return path


@pytest.mark.parametrize("attention", ["separate", "joined"])
@pytest.mark.parametrize("separable", [True, False])
def test_a_fine_tuned_file_computes_the_same_here(attention: str, separable: bool, tmp_path: Path) -> None:
    """The keys' bias is not zero, and still nothing is lost: softmax is invariant to it."""
    state = weights(f"finetune {attention}", separable)
    path = saved(state, tmp_path / "checkpoint.pth")
    file = open_checkpoint(path)
    assert file.layout == "mae_st"
    assert "softmax is invariant to it" in file.notes[0]
    options = {**CLASSIFIER, **file.architecture.options(), "num_heads": HEADS, "num_frames": 4, "img_size": 16}
    model = classifier(**options)
    report = load_weights(model, file, complete=True)
    assert any("normalised with mean and std 0.45 and 0.225" in note for note in report.notes)
    got = model(clip())
    assert got.std(dim=0).max() > 0.05
    torch.testing.assert_close(got, logits(state, clip()), atol=1e-5, rtol=1e-5)


def test_its_pixels_are_standardised_as_its_loader_did(tmp_path: Path) -> None:
    state = weights("finetune separate")
    model = classifier(cls_token=True, position_embedding="separable")
    load_weights(model, saved(state, tmp_path / "checkpoint.pth"), complete=True)
    raw = torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8)
    standardised = ((raw / 255 - 0.45) / 0.225).permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(model(raw), logits(state, standardised), atol=1e-5, rtol=1e-5)
    # Its own checkpoints remember.
    options = {**CLASSIFIER, "cls_token": True, "position_embedding": "separable"}
    write_tensors(tmp_path / "again.safetensors", model.state_dict(), {"model": describe_network(model, options)})
    again = classifier(seed=1, **options)
    load_weights(again, tmp_path / "again.safetensors", complete=True)
    assert torch.equal(again(raw), model(raw))


def test_a_pretrained_file_gives_its_encoder(tmp_path: Path) -> None:
    path = saved(weights("pretrain separate"), tmp_path / "checkpoint.pth")
    model = classifier(cls_token=True, position_embedding="separable")
    report = load_weights(model, path)
    assert report.new == ("head.weight", "head.bias")
    assert set(report.ignored.values()) == {"mae_st's decoder has a class token, learned positions and another target"}
    assert len(report.ignored) == 7
    with pytest.raises(UserError, match=r"2 not in the file: head\.weight, head\.bias"):
        load_weights(model, path, complete=True)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({}, "cls_token=True; build the classifier with position_embedding=.separable"),
        ({"cls_token": True}, "separable"),
    ],
)
def test_another_kind_of_classifier_is_told_what_to_be(options: dict[str, Any], hint: str, tmp_path: Path) -> None:
    model = classifier(**options)
    before = bits(model.state_dict())
    with pytest.raises(UserError, match=hint):
        load_weights(model, saved(weights("finetune separate"), tmp_path / "checkpoint.pth"))
    assert bits(model.state_dict()) == before


def test_positions_of_another_clip(tmp_path: Path) -> None:
    state = weights("finetune separate")
    model = classifier(cls_token=True, position_embedding="separable", num_frames=8, img_size=24)
    report = load_weights(model, saved(state, tmp_path / "checkpoint.pth"), complete=True)
    assert set(report.resized) == {"pos_embed_spatial", "pos_embed_temporal"}
    space = resize_positions(state["pos_embed_spatial"], (1, 2, 2), (1, 3, 3))
    torch.testing.assert_close(model.encoder.pos_embed_spatial.detach(), space)
    assert model(torch.randn(1, 3, 8, 24, 24)).shape == (1, CLASSES)
