"""The rows of our own layers: what stands in for them computes the same, and is really what runs."""

from __future__ import annotations

import json

import layers
import pytest
import torch

from adamae.models import create_model

WORDS = """--model adamae_tiny --encoder_depth 1 --decoder_depth 1 --input_size 32 --num_frames 4 --mask_ratio 0.5
    --rounds 1 --batch_size 1 --device cpu""".split()
TINY = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}


@pytest.mark.parametrize("layer", layers.LAYERS)
def test_plain_layers_give_the_same_loss_and_gradients(layer: str) -> None:
    model = create_model("adamae_tiny", **TINY).double().train()
    clips, seeds = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8), torch.arange(2)

    def step() -> list[torch.Tensor]:
        loss = model(clips, seeds=seeds).losses["loss"]
        return [loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)]

    ours = step()
    with layers.without(layer):
        plain = step()
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_a_row_for_each_layer_and_precision(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers.main([*WORDS, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["layer"], row["precision"]) for row in rows] == [
        (layer, precision) for precision in ("fp32", "bf16") for layer in layers.LAYERS
    ]
    assert all(row["seconds"] > 0 and row["plain_seconds"] > 0 for row in rows)
    # Both keep less than plain layers, and nothing else changes.
    assert all(row["kept"] < row["plain_kept"] for row in rows if row["layer"] == "layers/recomputing_linear.py")
    assert layers.main([*WORDS, "--precisions", "fp32"]) == 0
    assert capsys.readouterr().out.count("| fp32 |") == 2
