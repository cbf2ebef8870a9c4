"""Clips from made videos: contents, determinism, replacement of damaged files, ground truth."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.augmentation import MultiScaleCrop, RandomResizedCrop, crop
from adamae.data.dataset import PretrainDataset, Sample, pretrain_dataset
from adamae.data.decoding import DECODERS, get_decoder
from adamae.data.motion_masks import motion_mask_bytes, motion_mask_path, read_motion_masks
from adamae.errors import UserError
from adamae.randomness import sample_generator, sample_seed
from tests.data.conftest import MakeVideo


def build(source: Path | Annotations, **options: object) -> PretrainDataset:
    annotations = source if isinstance(source, Annotations) else load_annotations(source)
    settings = {"num_frames": 8, "sampling_rate": 2, "size": 32, "seed": 3} | options
    return pretrain_dataset(annotations, **settings)  # type: ignore[arg-type]


def equal(one: Sample, other: Sample) -> bool:
    same = (torch.equal(one[name], other[name]) for name in one if name != "bad")
    return one.keys() == other.keys() and one["bad"] == other["bad"] and all(same)


def test_a_sample_holds_what_was_promised(videos: Path) -> None:
    dataset = build(videos)
    sample = dataset[2, 0]
    assert sample["clip"].shape == (1, 8, 32, 32, 3)
    assert sample["clip"].dtype == torch.uint8
    assert sample["index"].tolist() == [0]
    assert sample["label"].tolist() == [0]
    assert sample["seed"].tolist() == [sample_seed(3, 2, 0)]
    assert sample["seed"].dtype == sample["index"].dtype == sample["label"].dtype == torch.int64
    assert sample["bad"] == []
    assert "motion_mask" not in sample


def test_a_sample_depends_on_seed_epoch_and_row_alone(videos: Path) -> None:
    dataset = build(videos)
    first = dataset[0, 1]
    dataset[5, 2]
    assert equal(dataset[0, 1], first)
    assert equal(build(videos)[0, 1], first)
    for other in (dataset[1, 1], build(videos, seed=4)[0, 1]):
        assert not torch.equal(other["clip"], first["clip"])


def test_every_video_length_works(videos: Path) -> None:
    """Among them one of 3 frames for clips of 16."""
    for sampling in ("dense", "segment"):
        dataset = build(videos, frame_sampling=sampling, num_frames=16, sampling_rate=4)
        for row in range(len(dataset)):
            assert dataset[0, row]["clip"].shape == (1, 16, 32, 32, 3)


def test_several_clips_of_one_decode(videos: Path) -> None:
    sample = build(videos, num_sample=3)[0, 0]
    assert sample["clip"].shape == (3, 8, 32, 32, 3)
    assert sample["index"].tolist() == [0, 0, 0]
    assert sample["seed"].tolist() == [sample_seed(3, 0, 0, repeat) for repeat in range(3)]
    assert not torch.equal(sample["clip"][0], sample["clip"][1])


def test_a_damaged_video_is_replaced_the_same_way_every_time(videos: Path) -> None:
    dataset = build(videos)
    damaged = [row for row in range(len(dataset)) if "damaged" in dataset.annotations.path(row)]
    replacements = set()
    for epoch in range(6):
        for row in damaged:
            sample = dataset[epoch, row]
            assert equal(sample, build(videos)[epoch, row])
            taken = sample["index"].item()
            assert taken not in damaged
            assert sample["label"].item() == dataset.annotations.labels[taken]
            assert sample["seed"].item() == sample_seed(3, epoch, row)
            assert sample["bad"][0]["path"] == dataset.annotations.path(row)
            assert sample["bad"][0]["index"] == row
            assert "not a readable video" in sample["bad"][0]["reason"]
            replacements.add(taken)
    assert len(replacements) > 1


def test_a_list_without_a_readable_video_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"16 videos in a row cannot be read, the last is .*a\.mp4: not a readable"):
        build(tmp_path)[0, 0]


def write_masks(video: Path, masks: np.ndarray) -> None:
    motion_mask_path(video).write_bytes(motion_mask_bytes(masks))


def test_ground_truth_travels_with_the_clip(make_video: MakeVideo) -> None:
    """The mask marks bright pixels of every frame; after crop and resize it still does."""
    path = make_video("a.mp4", 20, size=(48, 68), crf="1")
    with get_decoder("pyav")(str(path)) as video:
        bright = video.read(range(20)).mean(axis=-1) > 128
    write_masks(path, bright)
    dataset = build(Annotations.of([str(path)]), num_sample=2, size=48, flip=True)
    sample = dataset[0, 0]
    assert sample["motion_mask"].shape == (2, 8, 48, 48)
    assert sample["motion_mask"].dtype == torch.bool
    assert ((sample["clip"].float().mean(-1) > 128) == sample["motion_mask"]).float().mean() > 0.93


def test_ground_truth_that_does_not_fit(make_video: MakeVideo) -> None:
    path = make_video("a.mp4", 20)
    annotations = Annotations.of([str(path)])
    assert "motion_mask" not in build(annotations)[0, 0]
    with pytest.raises(UserError, match=r"a\.moving\.npz: no such file"):
        build(annotations, motion_masks=True)[0, 0]
    write_masks(path, np.zeros((20, 48, 72), bool))
    with pytest.raises(UserError, match=r"a\.moving\.npz: shape \(8, 48, 72\), expected \(8, 48, 64\)"):
        build(annotations)[0, 0]
    motion_mask_path(path).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"a\.moving\.npz: not the motion masks"):
        build(annotations)[0, 0]


@pytest.mark.parametrize("decoder", DECODERS)
def test_what_is_cropped_while_reading_is_what_is_cropped_afterwards(make_video: MakeVideo, decoder: str) -> None:
    """By the same random numbers."""
    path = make_video("a.mp4", 20, size=(48, 68))
    with get_decoder("pyav")(str(path)) as video:
        write_masks(path, video.read(range(20)).mean(axis=-1) > 128)
    try:
        cropped = build(Annotations.of([str(path)]), num_sample=3, size=40, flip=True, decoder=decoder)
    except UserError as error:
        pytest.skip(str(error))
    for epoch in range(4):
        rng = sample_generator(cropped.seed, epoch, 0, 0)
        with cropped.open(0) as reader:
            chosen = [cropped.choose_frames(reader.num_frames, rng=rng) for _ in range(3)]
            whole = [reader.read(frames) for frames in chosen]
        plans = [MultiScaleCrop(40, 40, flip=True).plan(48, 68, rng) for _ in chosen]
        clips = [plan.finish(crop(frames, plan.box)) for plan, frames in zip(plans, whole, strict=True)]
        masks = [
            plan.cut_mask(read_motion_masks(str(path), frames)) for plan, frames in zip(plans, chosen, strict=True)
        ]
        sample = cropped[epoch, 0]
        assert np.array_equal(sample["clip"], clips)
        assert np.array_equal(sample["motion_mask"], masks)


def test_the_crop_is_as_asked(videos: Path) -> None:
    options = {"size": 48, "flip": True, "crop_interpolation": "bicubic", "crop_scale": (0.3, 0.8)}
    assert build(videos, **options).transform == MultiScaleCrop(48, 48, flip=True, mode="bicubic")
    resized = RandomResizedCrop(48, (0.3, 0.8), flip=True, mode="bicubic")
    assert build(videos, **options, crop="random_resized").transform == resized
    assert build(videos).transform == MultiScaleCrop(32, 32, flip=False, mode="bilinear")
    assert build(videos, crop="random_resized").transform == RandomResizedCrop(32, (0.2, 1.0), mode="bilinear")


def test_options_that_do_not_exist(videos: Path) -> None:
    with pytest.raises(UserError, match="frame_sampling = 'sparse': expected one of dense, segment"):
        build(videos, frame_sampling="sparse")


@pytest.mark.parametrize("name", ["num_frames", "sampling_rate", "size", "num_sample"])
@pytest.mark.parametrize("value", [0, -1, 2.0])
def test_numbers_below_one(videos: Path, name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"^{name} = {value}: expected an integer at least 1$"):
        build(videos, **{name: value})


def test_segments_have_no_sampling_rate(videos: Path) -> None:
    assert build(videos, frame_sampling="segment", sampling_rate=0)[0, 0]["clip"].shape == (1, 8, 32, 32, 3)


def test_an_unknown_interpolation(videos: Path) -> None:
    with pytest.raises(UserError, match=r"^crop_interpolation = 'lanczos': expected one of bilinear, bicubic$"):
        build(videos, crop_interpolation="lanczos")


def test_a_row_without_an_epoch(videos: Path) -> None:
    with pytest.raises(UserError, match=r"^dataset\[3\]: expected a key \(epoch, row\), as build_loader gives them$"):
        build(videos)[3]  # type: ignore[index]
