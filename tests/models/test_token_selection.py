"""Classifiers that look at a part of the tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.inference import infer_architecture
from adamae.checkpoints.loading import load_weights
from adamae.errors import UserError
from adamae.models import Classifier, vit_classifier
from adamae.training.parameter_groups import parameter_groups
from tests.checkpoints.networks import CLASSIFIER, classifier, clip, pretrainer
from tests.evaluation.tiny import write_classifier, write_pretrainer
from tests.golden import mats

LOGITS = mats.GOLDEN["K_tiny_finetune"]
STRATEGIES = ["motion", "adaptive", "random"]


def golden_network(**options: Any) -> Classifier:
    sizes = {"img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5}
    model = vit_classifier(**{**sizes, **options}).eval()
    mats.fill(model)
    return model


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"token_selection": "motion", "keep_ratio": 0.6}, "logits_keep60"),
        ({"token_selection": "motion", "keep_ratio": 1.0}, "logits_all_tokens"),
        ({}, "logits_all_tokens"),
    ],
)
def test_logits_are_those_of_the_published_code(options: dict[str, Any], expected: str) -> None:
    model = golden_network(**options)
    assert sorted(model.state_dict()) == LOGITS["param_names_sorted"]
    video = mats.standardised(mats.video(16, 64))
    for _ in range(2):
        torch.testing.assert_close(model(video)[0], torch.tensor(LOGITS[expected]), atol=2e-5, rtol=0)


def test_as_many_tokens_are_encoded_as_are_kept() -> None:
    model = golden_network(token_selection="motion", keep_ratio=0.6)
    video = mats.standardised(mats.video(16, 64))
    assert model.encode(video, model.noise(video)).shape[1] == LOGITS["kept_tokens"]
    assert model.train()(video, seeds=torch.tensor([1])).shape == (1, 5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_result_depends_on_the_clip_alone(strategy: str) -> None:
    model = classifier(token_selection=strategy)
    video = torch.randint(0, 256, (3, 4, 16, 16, 3), dtype=torch.uint8)
    together = model(video)
    torch.testing.assert_close(model(video[1:2]), together[1:2])
    torch.testing.assert_close(model(video.flip(0)).flip(0), together)


def test_precision_does_not_change_what_moves() -> None:
    model = classifier(token_selection="motion", img_size=64)
    chosen: list[torch.Tensor] = []
    model.token_choice.register_forward_hook(lambda _, __, out: chosen.append(out))
    video = torch.randint(0, 256, (3, 4, 64, 64, 3), dtype=torch.uint8)
    model(video)
    with torch.autocast("cpu", torch.bfloat16):
        model(video)
    assert torch.equal(*chosen)


@pytest.mark.parametrize("sampler", [{}, {"sampler_network": "mlp"}, {"sampler_dim": 16, "sampler_depth": 2}])
def test_the_sampler_of_a_checkpoint_chooses(tmp_path: Path, sampler: dict[str, Any]) -> None:
    source = write_pretrainer(tmp_path / "pretrained.safetensors", **sampler)
    model = classifier(seed=3, token_selection="adaptive", **sampler)
    report = load_weights(model, source)
    assert set(report.new) == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}
    wanted = pretrainer(**sampler).state_dict()
    for name, value in model.state_dict().items():
        if "token_probs" in name or "embed_probs" in name:
            assert torch.equal(value, wanted[f"encoder.{name}"])
    video = clip()
    tokens = model.encoder.patch_embed(model.grid.patchify(video.permute(0, 2, 3, 4, 1)))
    teacher = pretrainer(**sampler)
    probabilities = teacher.sampler.log_probs(tokens, model.noise(video))
    assert probabilities is not None
    kept = model.token_choice(tokens, model.noise(video))
    assert torch.equal(kept, probabilities.topk(kept.shape[1], dim=1).indices.sort(dim=1).values)


def test_what_was_fine_tuned_is_read_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"token_selection": "adaptive", "keep_ratio": 0.5, "sampler_dim": 16}
    path = write_classifier(tmp_path / "tuned.safetensors", **options)
    file = open_checkpoint(path)
    assert file.method == "classifier of 5 classes"
    again = vit_classifier(**file.architecture.options()).eval()
    assert load_weights(again, file, complete=True).ignored == {}
    torch.testing.assert_close(again(clip()), classifier(**options)(clip()))
    # Without what we wrote beside the weights, they still tell that a sampler chooses.
    found = infer_architecture(file.state).options()
    assert (found["token_selection"], found["sampler_dim"]) == ("adaptive", 16)
    assert again.state_dict().keys() == vit_classifier(**found).state_dict().keys() == file.state.keys()
    other = classifier(seed=1)
    report = load_weights(other, file, complete=True)
    assert set(report.ignored.values()) == {"a classifier has no sampler"}


@pytest.mark.parametrize("kind", ["pretrained", "tuned"])
def test_a_checkpoint_without_a_sampler_says_so_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.safetensors"
    if kind == "tuned":
        write_classifier(path)
    else:
        write_pretrainer(path, mask_type="tube")
    with pytest.raises(UserError) as caught:
        load_weights(classifier(token_selection="adaptive"), path)
    assert str(caught.value).startswith(f"{path}: is a ")
    assert "no learned sampler can choose the tokens; expected a checkpoint that was pre-trained with" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frames", "tubelet", "size", "channels"), [(24, 2, 32, 3), (32, 4, 32, 1), (4, 1, 112, 3), (4, 2, 320, 3)]
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_any_clip_is_looked_at(frames: int, tubelet: int, size: int, channels: int, strategy: str) -> None:
    sizes = {"num_frames": frames, "tubelet_size": tubelet, "img_size": size, "in_chans": channels, "patch_size": 16}
    model = vit_classifier(**{**CLASSIFIER, **sizes, "depth": 1, "token_selection": strategy}).eval()
    video = torch.randint(0, 256, (1, frames, size, size, channels), dtype=torch.uint8)
    with torch.no_grad():
        encoded = model.encode(video, model.noise(video))
    assert encoded.shape[1] == int(model.grid.num_tokens * (1 - (1 - 0.6)))


def test_a_sampler_is_not_trained_any_further() -> None:
    model = vit_classifier(**CLASSIFIER, token_selection="adaptive").train()
    names = [name for group in parameter_groups(model, 0.05, layer_decay=0.75, depth=2) for name in group["names"]]
    assert not any("probs" in name for name in names)
    model(clip(), seeds=torch.arange(2)).sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "token_choice" not in name)
