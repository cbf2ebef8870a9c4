from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adamae.data.annotations import Annotations
from adamae.data.decoding import get_decoder
from adamae.data.finetune_augmentation import FinetuneAugmentation
from adamae.data.finetune_dataset import finetune_dataset, sided_classes
from adamae.data.loader import build_loader
from adamae.errors import UserError
from adamae.randomness import sample_seed


class Whole:
    """Frames as they are, or mirrored, and how often it was asked for what."""

    def __init__(self, flip: bool = True) -> None:
        self.flip = flip

    def __call__(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rng.random()
        return np.ascontiguousarray(clip[:, :, ::-1]) if self.flip else clip

    def without_flip(self) -> Whole:
        return Whole(flip=False)


def dataset(annotations: Annotations, augmentation: Any = None, **options: Any) -> Any:
    settings = {"num_frames": 4, "sampling_rate": 2, "augmentation": augmentation or FinetuneAugmentation(16)}
    return finetune_dataset(annotations, **{**settings, **options})


@pytest.fixture
def two(make_video: Callable[..., Path]) -> Annotations:
    paths = [str(make_video(f"{number}.mp4", frames=20)) for number in range(2)]
    return Annotations.of(paths, np.array([1, 0]), classes=("moving left", "standing"))


def test_a_sample(two: Annotations) -> None:
    sample = dataset(two, num_sample=3, seed=5)[2, 1]
    assert sample["clip"].shape == (3, 4, 16, 16, 3)
    assert sample["label"].tolist() == [0, 0, 0]
    assert sample["seed"].tolist() == [sample_seed(5, 2, 1, repeat) for repeat in range(3)]
    assert "motion_mask" not in sample
    assert not torch.equal(sample["clip"][0], sample["clip"][1])


def test_repeats_show_the_same_frames(two: Annotations) -> None:
    sample = dataset(two, Whole(), num_sample=2)[0, 0]
    assert torch.equal(sample["clip"][0], sample["clip"][1])


def test_a_clip_shows_both_ends_of_its_window(two: Annotations) -> None:
    """Four frames over a window of eight: 0, 8/3 and 16/3 rounded down, and the last; pre-training has 0, 2, 4, 6."""
    with get_decoder("pyav")(two.path(0)) as video:
        whole = video.read(range(20))
    starts = set()
    for epoch in range(12):
        clip = dataset(two, Whole(flip=False))[epoch, 0]["clip"][0]
        first, *others = ((whole == frame).all(axis=(1, 2, 3)).nonzero()[0].item() for frame in clip.numpy())
        assert [number - first for number in others] == [2, 5, 7]
        starts.add(first)
    assert len(starts) > 3
    assert starts <= set(range(12))


def test_classes_with_a_side_are_never_mirrored(two: Annotations) -> None:
    assert two.classes is not None
    never = sided_classes(two.classes)
    assert never == {0}
    rows = [dataset(two, Whole(), never_flipped=never)[0, row]["clip"][0] for row in (0, 1)]
    plain = [dataset(two, Whole(flip=False))[0, row]["clip"][0] for row in (0, 1)]
    assert torch.equal(rows[0], plain[0].flip(2))  # class 1
    assert torch.equal(rows[1], plain[1])  # class 0: to the left


@pytest.mark.parametrize(
    ("name", "sided"),
    [
        *((name, True) for name in ("Pushing something from left to right", "up-left", "TurnRight", "LEFT_HAND")),
        *((name, True) for name in ("clockwise", "counter-clockwise", "rotating leftwards", "hand2right", "left3")),
        *((name, False) for name in ("brightening", "leftovers", "Upright", "TableTennisShot", "", "alright")),
    ],
)
def test_sides_are_found_as_words(name: str, sided: bool) -> None:
    assert (0 in sided_classes([name])) == sided


def test_the_built_in_motions_that_a_mirror_would_exchange() -> None:
    from adamae.data.synthetic.motion import MOTIONS

    names = list(MOTIONS)
    mirrored = {number for number, name in enumerate(names) if MOTIONS[name][0] or MOTIONS[name][2]}
    assert sided_classes(names) == mirrored


def test_the_same_clips_whatever_the_workers(two: Annotations) -> None:
    def first(workers: int) -> list[dict[str, Any]]:
        loader = build_loader(dataset(two, num_sample=2), batch_size=2, num_workers=workers)
        stream = iter(loader)
        return [next(stream) for _ in range(2)]

    for alone, worked in zip(first(0), first(2), strict=True):
        assert all(torch.equal(alone[name], worked[name]) for name in ("clip", "label", "seed", "index"))
    assert not torch.equal(first(0)[0]["clip"], first(0)[1]["clip"])


def test_an_unknown_sampling(two: Annotations) -> None:
    with pytest.raises(UserError, match="frame_sampling = 'even': expected one of dense, segment"):
        dataset(two, frame_sampling="even")


@pytest.mark.parametrize("options", [{"num_frames": 0}, {"sampling_rate": 0}, {"num_sample": 0}])
def test_numbers_below_one(two: Annotations, options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(UserError, match=f"^{name} = 0: expected an integer at least 1$"):
        dataset(two, **options)


def test_a_crop_that_does_not_exist() -> None:
    with pytest.raises(UserError, match=r"^size = 0: expected an integer at least 1$"):
        FinetuneAugmentation(0)
    with pytest.raises(UserError, match=r"^mode = 'lanczos': expected one of bilinear, bicubic$"):
        FinetuneAugmentation(16, mode="lanczos")  # type: ignore[arg-type]
