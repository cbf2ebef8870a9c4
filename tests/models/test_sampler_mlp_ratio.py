"""The sampler's MLP is four times as wide as its block, whatever ``mlp_ratio`` encoder and decoder have.

The numbers come from a second computation in numpy and float64, which reads nothing but the state dict.
"""

from __future__ import annotations

import importlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.tensor_files import write_tensors
from adamae.errors import UserError
from adamae.models import vit_pretrainer
from tests.checkpoints.networks import PRETRAIN, clip, pretrainer
from tests.evaluation.tiny import write_pretrainer
from tests.golden import recipe

SIZES: dict[str, Any] = {
    "img_size": 64,
    "encoder_embed_dim": 96,
    "encoder_depth": 1,
    "encoder_num_heads": 3,
    "decoder_embed_dim": 48,
    "decoder_depth": 1,
    "decoder_num_heads": 3,
    "mask_ratio": 0.75,
}
Arrays = dict[str, np.ndarray]
erf = np.vectorize(math.erf)


def normalise(x: np.ndarray, state: Arrays, name: str) -> np.ndarray:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x: np.ndarray, state: Arrays, name: str) -> np.ndarray:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def log_probabilities(state: Arrays, tokens: np.ndarray) -> np.ndarray:
    """(B, N) of a published sampler, by section 4 of the method's description."""
    block = "encoder.get_token_probs.0"
    x = tokens + state["encoder.pos_embed_probs"]
    batch, count, width = x.shape
    qkv = normalise(x, state, f"{block}.norm1") @ state[f"{block}.attn.qkv.weight"].T
    q, k, v = qkv.reshape(batch, count, 3, 8, width // 8).transpose(2, 0, 3, 1, 4)
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(width // 8)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    attended = (weights / weights.sum(-1, keepdims=True)) @ v
    x = x + linear(attended.swapaxes(1, 2).reshape(batch, count, width), state, f"{block}.attn.proj")
    hidden = linear(normalise(x, state, f"{block}.norm2"), state, f"{block}.mlp.fc1")
    x = x + linear(hidden * (1 + erf(hidden / math.sqrt(2))) / 2, state, f"{block}.mlp.fc2")
    logits = linear(x, state, "encoder.get_token_probs.1")[..., 0]
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("mlp_ratio", [2, 3, 4])
def test_sampling_loss_is_that_of_the_published_network(mlp_ratio: int) -> None:
    model = vit_pretrainer(**SIZES, mlp_ratio=mlp_ratio).eval()
    # As a published file of that network has them: four times the width in the sampler, ``mlp_ratio`` elsewhere.
    state = {name: recipe.weight(name, tuple(value.shape)) for name, value in model.state_dict().items()}
    mlp = "encoder.get_token_probs.0.mlp"
    shapes = {f"{mlp}.fc1.weight": (384, 96), f"{mlp}.fc1.bias": (384,), f"{mlp}.fc2.weight": (96, 384)}
    state |= {name: recipe.weight(name, shape) for name, shape in shapes.items()}
    model.load_state_dict(state)
    model = model.double()
    assert model.encoder.blocks[0].mlp.fc1.weight.shape == (96 * mlp_ratio, 96)
    assert model.decoder.blocks[0].mlp.fc1.weight.shape == (48 * mlp_ratio, 48)
    video = recipe.video(2, 16, 64).double()
    out = model(video, visible=recipe.visible(2, model.grid.num_tokens, 32))
    arrays = {name: value.double().numpy() for name, value in state.items()}
    tokens = model.encoder.patch_embed(model.pixels(video)).detach().numpy()
    expected = log_probabilities(arrays, tokens)
    assert out.selection.log_probs is not None
    np.testing.assert_allclose(out.selection.log_probs.detach(), expected, rtol=0, atol=1e-10)
    on_targets = np.take_along_axis(expected, out.selection.target.numpy(), axis=1)
    loss = -(on_targets * out.token_error.detach().numpy()).mean()
    assert float(out.losses["sampling"]) == pytest.approx(loss, rel=1e-10)


def test_early_files_with_the_encoders_ratio_are_told_by_their_shapes(tmp_path: Path) -> None:
    early = pretrainer(mlp_ratio=2.0, sampler_mlp_ratio=2.0)
    path = tmp_path / "early.safetensors"
    # Beside the weights they say nothing of the sampler's ratio.
    write_tensors(path, early.state_dict(), {"model": describe_network(early, {**PRETRAIN, "mlp_ratio": 2.0})})
    file = open_checkpoint(path)
    assert file.architecture.options()["sampler_mlp_ratio"] == 2
    again = vit_pretrainer(**file.architecture.options()).eval()
    load_weights(again, file, complete=True)
    seeds = torch.arange(2)
    expected = early(clip(), seeds=seeds).losses["sampling"]
    torch.testing.assert_close(again(clip(), seeds=seeds).losses["sampling"], expected)
    with pytest.raises(UserError, match=r"of another shape: .*; build the model with sampler_mlp_ratio=2$"):
        load_weights(pretrainer(mlp_ratio=2.0), path)


def test_other_widths_are_no_other_ratio(tmp_path: Path) -> None:
    path = write_pretrainer(tmp_path / "other.safetensors")
    with pytest.raises(
        UserError, match=r"\d+ of another shape: .* more; adamae\.\S+\.build_pretrainer builds the network"
    ) as raised:
        load_weights(vit_pretrainer(**SIZES), path)
    assert "sampler_mlp_ratio" not in str(raised.value)
    module, _, name = re.search(r"(adamae\S+)", str(raised.value))[1].rpartition(".")
    getattr(importlib.import_module(module), name)(open_checkpoint(path))


def test_the_published_ratio_is_not_written_down(tmp_path: Path) -> None:
    file = open_checkpoint(write_pretrainer(tmp_path / "new.safetensors", mlp_ratio=2.0))
    assert "sampler_mlp_ratio" not in file.architecture.options()
