"""Other implementations of the step take their turns, and the reference style is the same network."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch
from reference_step import ReferenceStyle
from step import main

from adamae.errors import UserError
from adamae.models import create_model

TINY = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}
WORDS = """--model adamae_tiny --encoder_depth 1 --decoder_depth 1 --input_size 32 --num_frames 4 --mask_ratio 0.5
    --rounds 1 --batch_size 1 --device cpu""".split()


@pytest.mark.slow
def test_it_takes_turns_with_ours(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["reference", "tube", *(["transformers"] if find_spec("transformers") else [])]
    assert main([*WORDS, "--compare", *names, "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)["compared"]
    assert list(compared) == names
    assert all(other["over_ours"] > 0 for other in compared.values())
    assert [compared[name]["kept_per_clip"] is None for name in names] == [name != "tube" for name in names]
    assert main([*WORDS, "--compare", "reference"]) == 0
    assert "  reference " in capsys.readouterr().out


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match="compare = 'pear': expected some of transformers, reference, compile"):
        main([*WORDS, "--compare", "pear"])


def test_the_reference_style_is_the_same_network() -> None:
    # Same weights, same visible tokens, nothing dropped: the same loss, by other code.
    model = create_model("adamae_tiny", **TINY).double().eval()
    style = ReferenceStyle(model).double().eval()
    matching = {
        "tokenizer": model.encoder.patch_embed.proj,
        "score": model.sampler.network[1],
        "to_decoder": model.encoder_to_decoder,
        "encoder.1": model.encoder.norm,
        "head.0": model.decoder.norm,
        "head.1": model.decoder.head,
    }
    for name, part in matching.items():
        style.get_submodule(name).load_state_dict(part.state_dict())
    pairs = {
        "sampler": model.sampler.network[0],
        "encoder.0": model.encoder.blocks[0],
        "decoder.0": model.decoder.blocks[0],
    }
    for name, block in pairs.items():
        other = style.get_submodule(name)
        torch.nn.init.zeros_(other.qkv.bias)
        for theirs, ours in (("qkv", "attn.qkv"), ("proj", "attn.proj"), ("fc1", "mlp.fc1"), ("fc2", "mlp.fc2")):
            other.get_submodule(theirs).load_state_dict(block.get_submodule(ours).state_dict(), strict=False)
    style.mask_token.data.copy_(model.mask_token)
    clips = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    drawn: list[torch.Tensor] = []
    original = torch.multinomial
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "multinomial", lambda *a: drawn.append(original(*a)) or drawn[-1])
        loss = style(model.pixel_norm(clips).permute(0, 4, 1, 2, 3))
    torch.testing.assert_close(loss, model(clips, visible=torch.stack(drawn)).losses["loss"])
