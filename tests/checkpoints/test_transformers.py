"""Weights of Transformers here, and ours there: the same outputs.

The library is a dependency of this test only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adamae import torchvision_import  # noqa: F401  (Transformers imports torchvision, which may need repair)
from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.networks import build_pretrainer
from adamae.checkpoints.tensor_files import write_tensors
from adamae.checkpoints.writing import convert
from adamae.errors import UserError
from tests.checkpoints.networks import CLASSIFIER, PRETRAIN, classifier, clip, pretrainer, randomise

transformers = pytest.importorskip("transformers")
TOLERANCE = 1e-5
VISIBLE = torch.tensor([[0, 3, 5, 6], [1, 2, 4, 7]])
SIZES = {
    "image_size": 16,
    "patch_size": 8,
    "num_frames": 4,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
    "num_labels": 5,
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def theirs(kind: str, seed: int = 3, **config: Any) -> Any:
    """A network of that library, every weight random."""
    built = getattr(transformers, kind)(transformers.VideoMAEConfig(**{**SIZES, **config}))
    return randomise(built, seed)


def their_prediction(model: Any, video: Tensor) -> Tensor:
    """What it predicts for the tokens that are not in VISIBLE."""
    hidden = torch.ones(len(video), 8, dtype=torch.bool).scatter_(1, VISIBLE, False)
    with torch.no_grad():
        return model(video.transpose(1, 2), bool_masked_pos=hidden).logits


def their_logits(model: Any, video: Tensor) -> Tensor:
    with torch.no_grad():
        return model(video.transpose(1, 2)).logits


def our_prediction(model: Any, video: Tensor) -> Tensor:
    with torch.no_grad():
        return model(video, visible=VISIBLE).prediction


def our_logits(model: Any, video: Tensor) -> Tensor:
    with torch.no_grad():
        return model(video)


def assert_equal(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    # A network that forgets its input would pass, too.
    assert expected.std(dim=0).max() > 0.05
    torch.testing.assert_close(got, expected, atol=TOLERANCE, rtol=TOLERANCE)


def older_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Biases beside the layers, as Transformers 4 had them in its modules and wrote them with torch.save."""
    return {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): value for name, value in state.items()
    }


def save(model: Any, path: Path, layout: str) -> Path:
    """As the library saves; or its modules' names, new and old, in a ``pytorch_model.bin``."""
    model.save_pretrained(path)
    if layout != "saved":
        (path / "model.safetensors").unlink()
        state = model.state_dict()
        torch.save(older_layout(state) if layout == "older" else state, path / "pytorch_model.bin")
    return path


@pytest.mark.parametrize("layout", ["saved", "modules", "older"])
@pytest.mark.parametrize("config", [{}, {"use_mean_pooling": False}, {"qv_bias": False}, {"layer_norm_eps": 1e-3}])
def test_their_pretrained_network_computes_the_same_here(layout: str, config: dict[str, Any], tmp_path: Path) -> None:
    original = theirs("VideoMAEForPreTraining", **config)
    path = save(original, tmp_path / "theirs", layout)
    model = pretrainer(mask_type="random", qkv_bias=config.get("qv_bias", True))
    report = load_weights(model, path, complete=True)
    assert (report.layout, report.new, report.ignored) == ("transformers", (), {})
    assert_equal(our_prediction(model, clip()), their_prediction(original, clip()))


@pytest.mark.parametrize("layout", ["saved", "modules", "older"])
@pytest.mark.parametrize("config", [{}, {"use_mean_pooling": False}, {"qv_bias": False}, {"layer_norm_eps": 1e-3}])
def test_their_classifier_computes_the_same_here(layout: str, config: dict[str, Any], tmp_path: Path) -> None:
    original = theirs("VideoMAEForVideoClassification", **config)
    path = save(original, tmp_path / "theirs", layout)
    model = classifier(qkv_bias=config.get("qv_bias", True), use_mean_pooling=config.get("use_mean_pooling", True))
    report = load_weights(model, path, complete=True)
    assert (report.layout, report.new, report.ignored) == ("transformers", (), {})
    assert_equal(our_logits(model, clip()), their_logits(original, clip()))


def test_the_network_can_be_built_from_their_directory_alone(tmp_path: Path) -> None:
    theirs("VideoMAEForPreTraining").save_pretrained(tmp_path)
    architecture = open_checkpoint(tmp_path).architecture
    assert architecture.guessed == ()
    assert {**PRETRAIN, "mask_type": "random"}.items() >= {
        name: value for name, value in architecture.options().items() if name in PRETRAIN
    }.items()


def test_what_their_config_leaves_out_has_their_default(tmp_path: Path) -> None:
    """A width of 24 would here be one head, and one in the decoder."""
    built = theirs(
        "VideoMAEForPreTraining",
        hidden_size=24,
        decoder_hidden_size=12,
        image_size=224,
        num_frames=16,
        patch_size=112,
        num_attention_heads=12,
        decoder_num_attention_heads=6,
    )
    built.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    for name in ("num_attention_heads", "decoder_num_attention_heads", "image_size", "num_frames"):
        del config[name]
    path.write_text(json.dumps(config))
    architecture = open_checkpoint(tmp_path).architecture
    assert architecture.guessed == ()
    options = architecture.options()
    assert (options["encoder_num_heads"], options["decoder_num_heads"]) == (12, 6)
    default = transformers.VideoMAEConfig(**config)
    assert (default.num_attention_heads, default.decoder_num_attention_heads) == (12, 6)
    assert (default.num_frames, default.image_size) == (options["num_frames"], options["img_size"])


def test_their_encoder_alone_loads_into_a_classifier(tmp_path: Path) -> None:
    whole = theirs("VideoMAEForVideoClassification")
    whole.videomae.save_pretrained(tmp_path)
    model = classifier()
    assert load_weights(model, tmp_path).new == ("fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias")


def test_several_files_with_an_index(tmp_path: Path) -> None:
    original = theirs("VideoMAEForVideoClassification")
    original.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    model = classifier()
    load_weights(model, tmp_path, complete=True)
    assert_equal(our_logits(model, clip()), their_logits(original, clip()))


def write_ours(model: Any, options: dict[str, Any], out: Path) -> Any:
    source = out.with_suffix(".safetensors")
    write_tensors(source, model.state_dict(), {"model": describe_network(model, options)})
    return convert(open_checkpoint(source), out, "transformers")


def test_our_pretrained_network_computes_the_same_there(tmp_path: Path) -> None:
    model = pretrainer()
    report = write_ours(model, PRETRAIN, tmp_path / "out")
    assert all(name.startswith(("encoder.get_token_probs.", "encoder.pos_embed_probs")) for name in report.left_out)
    assert len(report.left_out) == 14
    there = transformers.VideoMAEForPreTraining.from_pretrained(tmp_path / "out").eval()
    assert_equal(their_prediction(there, clip()), our_prediction(model, clip()))


@pytest.mark.parametrize("normalises", [True, False])
@pytest.mark.parametrize("source", ["theirs", "ours", "official"])
def test_whether_targets_are_normalised_goes_from_layout_to_layout(
    source: str, normalises: bool, tmp_path: Path
) -> None:
    model, options = pretrainer(mask_type="random"), {**PRETRAIN, "mask_type": "random"}
    path = tmp_path / "source"
    if source == "theirs":
        theirs("VideoMAEForPreTraining", norm_pix_loss=normalises).save_pretrained(path)
    elif source == "ours":
        config = describe_network(model, {**options, "normalize_target": normalises})
        write_tensors(path, model.state_dict(), {"model": config})
    else:
        args = argparse.Namespace(num_frames=4, input_size=16, normlize_target=normalises)
        torch.save({"model": model.state_dict(), "args": args}, path)
    for number, target in enumerate(("transformers", "safetensors", "transformers", "reference", "transformers")):
        assert build_pretrainer(open_checkpoint(path))[0].normalize_target == normalises, (number, target)
        convert(open_checkpoint(path), tmp_path / f"{number}", target)
        path = tmp_path / f"{number}"
    there = transformers.VideoMAEForPreTraining.from_pretrained(path)
    assert there.config.norm_pix_loss == normalises


@pytest.mark.parametrize("pooling", [True, False])
def test_our_classifier_computes_the_same_there(pooling: bool, tmp_path: Path) -> None:
    model = classifier(use_mean_pooling=pooling)
    report = write_ours(model, CLASSIFIER, tmp_path / "out")
    assert report.left_out == {}
    there, problems = transformers.VideoMAEForVideoClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(problems.values())
    assert_equal(their_logits(there.eval(), clip()), our_logits(model, clip()))


@pytest.mark.parametrize("imagenet", [True, False])
def test_their_processor_standardises_pixels_as_here(imagenet: bool, tmp_path: Path) -> None:
    options = {**CLASSIFIER, "imagenet_default_mean_and_std": imagenet}
    model = classifier(**options)
    config = {"model": describe_network(model, options)}
    write_tensors(tmp_path / "source.safetensors", model.state_dict(), config)
    convert(open_checkpoint(tmp_path / "source.safetensors"), tmp_path / "theirs", "transformers")
    frames = torch.randint(256, (4, 16, 16, 3), dtype=torch.uint8)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "theirs")
    pixels = processor(list(frames.numpy()), return_tensors="pt")["pixel_values"]
    network = transformers.VideoMAEForVideoClassification.from_pretrained(tmp_path / "theirs").eval()
    with torch.no_grad():
        torch.testing.assert_close(network(pixels).logits, model(frames[None]), atol=TOLERANCE, rtol=TOLERANCE)
    again = classifier(seed=1)
    load_weights(again, tmp_path / "theirs", complete=True)
    torch.testing.assert_close(again(frames[None]), model(frames[None]), atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize(
    "name", ["video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json"]
)
def test_pixel_statistics_of_their_video_processor_are_read(name: str, tmp_path: Path) -> None:
    """The first two are what 5 and 4 write for a processor of clips; the last is that of a processor with several."""
    original = theirs("VideoMAEForVideoClassification")
    original.save_pretrained(tmp_path)
    processor = transformers.VideoMAEVideoProcessor(
        image_mean=[0.1, 0.5, 0.4],
        image_std=[0.3, 0.5, 0.6],
        size={"shortest_edge": 16},
        crop_size={"height": 16, "width": 16},
    )
    (written,) = map(Path, processor.save_pretrained(tmp_path))
    if name == "processor_config.json":
        text = json.dumps({"video_processor": json.loads(written.read_text(encoding="utf-8"))})
        written.write_text(text, encoding="utf-8")
    written.rename(tmp_path / name)
    again = transformers.VideoMAEVideoProcessor.from_pretrained(tmp_path)
    assert list(again.image_mean) == [0.1, 0.5, 0.4]
    frames = torch.randint(256, (4, 16, 16, 3), dtype=torch.uint8)
    pixels = again(frames.permute(0, 3, 1, 2), return_tensors="pt")["pixel_values"]
    model = classifier()
    load_weights(model, tmp_path, complete=True)
    with torch.no_grad():
        expected = original(pixels).logits
        torch.testing.assert_close(model(frames[None]), expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_the_processor_of_clips_is_read_first(tmp_path: Path) -> None:
    theirs("VideoMAEForPreTraining").save_pretrained(tmp_path)
    transformers.VideoMAEImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(tmp_path)
    assert open_checkpoint(tmp_path).constants.pixel_mean == (0.5,) * 3
    transformers.VideoMAEVideoProcessor(image_mean=[0.2] * 3, image_std=[0.4] * 3).save_pretrained(tmp_path)
    assert transformers.VideoMAEVideoProcessor.from_pretrained(tmp_path).image_mean[0] == 0.2
    assert open_checkpoint(tmp_path).constants.pixel_mean == (0.2,) * 3


@pytest.mark.parametrize("std", [[0.5, 0.5], [0.5, 0.5, 0.0], "0.5"])
def test_pixel_statistics_that_are_none_are_one_line(std: Any, tmp_path: Path) -> None:
    theirs("VideoMAEForPreTraining").save_pretrained(tmp_path)
    written = {"image_mean": [0.5, 0.5, 0.5], "image_std": std}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(UserError, match=r"preprocessor_config.json has image_mean = .* expected a number for each"):
        open_checkpoint(tmp_path)
