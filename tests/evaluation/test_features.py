"""Clips of checkpoints, windows in time, and files of features."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.networks import FrozenEncoder, build_encoder
from adamae.data.annotations import load_annotations
from adamae.data.views import plan_test
from adamae.errors import UserError
from adamae.evaluation.clip_facts import clip_facts
from adamae.evaluation.feature_files import check_feature_file, write_features
from adamae.evaluation.features import WindowFeatures, affordable_tokens, extract_videos, extract_windows
from adamae.evaluation.windows import Windows
from adamae.randomness import SampleNoise
from tests.checkpoints.networks import classifier, pretrainer
from tests.evaluation.tiny import BAD, PATHS, views, write_pretrainer

CLIPS = torch.randint(0, 256, (3, 4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_what_a_checkpoint_tells_of_its_clips(tmp_path: Path, finetuned: Path) -> None:
    facts = clip_facts(open_checkpoint(finetuned))
    assert (facts.num_frames, facts.size, facts.sampling_rate, facts.frame_sampling) == (4, 16, 4, "dense")
    assert facts.guessed == ("frame_sampling", "sampling_rate")
    torch.save({"model": classifier().state_dict(), "args": {"data_set": "SSV2", "num_frames": 4}}, tmp_path / "s.pth")
    facts = clip_facts(open_checkpoint(tmp_path / "s.pth"))
    assert (facts.frame_sampling, facts.guessed) == ("segment", ("size",))


@pytest.mark.parametrize(
    ("frames", "step", "starts"),
    [(20, None, [0, 8, 12]), (16, None, [0, 8]), (20, 4, [0, 4, 8, 12]), (5, None, [0]), (9, 20, [0, 1])],
)
def test_windows_cover_the_video(frames: int, step: int | None, starts: list[int]) -> None:
    assert Windows(4, 2, step).starts(frames).tolist() == starts


def test_the_last_frame_stands_in_for_those_beyond_the_end() -> None:
    assert Windows(4, 2).frames(0, 5).tolist() == [0, 2, 4, 4]


def extract(test_list: Path, pretrained: Path, level: str = "window") -> WindowFeatures:
    encoder, _ = build_encoder(open_checkpoint(pretrained))
    plan = plan_test(num_frames=4, sampling_rate=2, size=16, num_crops=1)
    return extract_windows(
        encoder, load_annotations(test_list), windows=Windows(4, 2, 4), plan=plan, level=level, batch_size=2
    )


def test_windows_of_a_list(test_list: Path, pretrained: Path) -> None:
    found = extract(test_list, pretrained)
    assert [(bad.row, Path(bad.path).name) for bad in found.unread] == [(BAD, "bad.mp4")]
    # Video k has 6 + 3 k frames, windows of 8 from every fourth one.
    expected = [
        (row, start)
        for row in range(len(PATHS))
        if row != BAD
        for start in sorted({*range(0, max(3 * row - 2, 0) + 1, 4), max(3 * row - 2, 0)})
    ]
    assert list(zip(found.row.tolist(), found.start_frame.tolist(), strict=True)) == expected
    assert found.features.shape == (len(expected), 32)
    assert np.allclose(found.start, found.start_frame / 10)
    assert found.end_frame[0] == 6 and found.end[0] == pytest.approx(0.6)
    assert (found.end_frame - found.start_frame)[1:].tolist() == [8] * (len(expected) - 1)
    assert [path.endswith(PATHS[row]) for path, row in zip(found.path, found.row, strict=True)] == [True] * len(
        expected
    )
    assert found.label.tolist() == load_annotations(test_list).labels[found.row].tolist()


def test_levels_agree(test_list: Path, pretrained: Path) -> None:
    window, time, tubelet = (extract(test_list, pretrained, level).features for level in ("window", "time", "tubelet"))
    assert time.shape[1:] == (2, 32) and tubelet.shape[1:] == (2, 2, 2, 32)
    assert np.allclose(tubelet.mean(axis=(2, 3)), time, atol=1e-5)
    assert np.allclose(time.mean(axis=1), window, atol=1e-5)


def test_an_archive_holds_everything(tmp_path: Path, test_list: Path, pretrained: Path) -> None:
    found = extract(test_list, pretrained, "time")
    write_features(tmp_path / "f.npz", found, {"level": "time"})
    with np.load(tmp_path / "f.npz") as file:
        assert np.array_equal(file["features"], found.features)
        for name in ("row", "label", "start_frame", "end_frame", "start", "end"):
            assert np.array_equal(file[name], getattr(found, name))
        assert file["path"].tolist() == found.path
        assert "not a readable video" in str(file["unread_reason"][0])
        assert json.loads(str(file["about"])) == {"level": "time"}


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_pyarrow_is_one_line() -> None:
    with pytest.raises(UserError, match=r"f.parquet: Parquet needs the package pyarrow \(pip install pyarrow\)"):
        check_feature_file("f.parquet")


def test_a_table_holds_everything(tmp_path: Path, test_list: Path, pretrained: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    found = extract(test_list, pretrained, "time")
    write_features(tmp_path / "f.parquet", found, {"level": "time"})
    table = parquet.read_table(tmp_path / "f.parquet")
    shape = json.loads(table.schema.metadata[b"shape"])
    features = np.array(table["feature"].to_pylist(), np.float32).reshape(-1, *shape)
    assert np.array_equal(features, found.features)
    assert table["path"].to_pylist() == found.path
    assert table["start"].to_pylist() == found.start.tolist()
    assert json.loads(table.schema.metadata[b"unread"])[0]["row"] == BAD


def test_an_unknown_ending() -> None:
    with pytest.raises(UserError, match=r"f.h5: unknown ending '.h5', expected one of .npz, .parquet"):
        check_feature_file("f.h5")


def test_features_of_videos_are_means_over_their_views(test_list: Path, pretrained: Path) -> None:
    encoder, _ = build_encoder(open_checkpoint(pretrained))
    dataset = views(test_list, num_clips=2)
    found = extract_videos(encoder, dataset, most_tokens=4, batch_size=5)
    assert found.rows.tolist() == [row for row in range(7) if row != BAD]
    assert [bad.row for bad in found.unread] == [BAD]
    clips = dataset[0]["views"]
    assert torch.allclose(found.pooled[0], encoder(clips).mean(dim=0), atol=1e-5)
    assert found.tokens is not None and found.tokens.dtype == torch.float16
    # Of 2 x 2 x 2 tokens at most 4 are kept of each of 6 views: places go first, times last.
    expected = encoder.encode(clips).unflatten(1, (2, 4)).mean(dim=2).flatten(0, 1)
    assert torch.allclose(found.tokens[0].float(), expected, atol=2e-3)


def test_the_norm_before_the_head_comes_before_the_mean_over_the_views(test_list: Path, finetuned: Path) -> None:
    encoder, _ = build_encoder(open_checkpoint(finetuned))
    dataset = views(test_list, num_clips=2)
    found = extract_videos(encoder, dataset, batch_size=5)
    model = classifier()
    assert model.fc_norm is not None
    scale, shift = model.fc_norm.weight, model.fc_norm.bias
    for row, pooled in zip((0, 6), (found.pooled[0], found.pooled[-1]), strict=True):
        with torch.no_grad():
            mean = model.encode(dataset[row]["views"], SampleNoise(torch.zeros(6))).mean(dim=1)
            centred = mean - mean.mean(dim=1, keepdim=True)
            normed = centred / (centred.square().mean(dim=1, keepdim=True) + model.fc_norm.eps).sqrt() * scale + shift
        torch.testing.assert_close(pooled, normed.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_features_that_are_not_finite_are_no_features(
    test_list: Path, pretrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN in one value, and finite tokens beyond the largest number of half precision."""
    encoder, _ = build_encoder(open_checkpoint(pretrained))
    encode, seen = FrozenEncoder.encode, 0

    def spoiled(self: FrozenEncoder, clips: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        tokens, seen = encode(self, clips), seen + 1
        if seen == 1:
            tokens[0, 0, 0] = torch.nan
        return tokens * 1e6 if seen == 3 else tokens

    monkeypatch.setattr(FrozenEncoder, "encode", spoiled)
    found = extract_videos(encoder, views(test_list, num_clips=1, num_crops=1), most_tokens=4)
    assert [(bad.row, bad.reason) for bad in found.unread if bad.row != BAD] == [
        (0, "the features are not finite"),
        (2, "the features are not finite"),
    ]
    assert len(found.unread) == 3
    assert found.tokens is not None
    assert len(found.rows) == len(found.pooled) == len(found.tokens) == 4
    assert found.pooled.isfinite().all() and found.tokens.isfinite().all()


def test_windows_that_are_not_finite_are_no_features(
    test_list: Path, pretrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = extract(test_list, pretrained)
    pool, spoiled = FrozenEncoder.pool, 2

    def spoil(self: FrozenEncoder, encoded: torch.Tensor) -> torch.Tensor:
        nonlocal spoiled
        spoiled -= 1
        return pool(self, encoded) * (torch.inf if spoiled == 0 else 1)

    monkeypatch.setattr(FrozenEncoder, "pool", spoil)
    found = extract(test_list, pretrained)
    assert [(bad.row, bad.reason) for bad in found.unread if bad.row != BAD] == [(1, "the features are not finite")]
    assert np.array_equal(found.features, whole.features[whole.row != 1])


def test_tokens_are_held_only_as_memory_allows() -> None:
    assert affordable_tokens(196, 1000, 1, 768) == 196
    few = affordable_tokens(196, 170_000, 2, 768)
    assert 0 < few < 196
    assert 170_000 * 2 * 768 * 2 * few <= 8 * 2**30


def test_a_transformers_style_file_without_any_norm(tmp_path: Path) -> None:
    model = pretrainer()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("encoder.norm.")}
    torch.save({"model": state, "args": {"num_frames": 4, "input_size": 16}}, tmp_path / "p.pth")
    encoder, _ = build_encoder(open_checkpoint(tmp_path / "p.pth"))
    features = encoder(CLIPS)
    assert torch.allclose(features.mean(dim=1), torch.zeros(3), atol=1e-5)


def test_a_pretrainer_of_ours_with_all_its_options(tmp_path: Path) -> None:
    path = write_pretrainer(tmp_path / "p.safetensors", mask_type="tube", sampling_weight=0.5)
    assert build_encoder(open_checkpoint(path))[0].width == 32
