"""What the files of a video are called."""

from __future__ import annotations

import pytest

from adamae.files import LONGEST_NAME
from adamae.visualize.visualizer import output_names


def test_videos_of_one_name_are_numbered() -> None:
    assert output_names(["a/v.mp4", "b/v.mkv", "c/v-2.mp4", "d/v.mp4"]) == ["v", "v-2", "v-2-2", "v-3"]


@pytest.mark.parametrize("letter", ["n", "é"])
def test_names_that_are_too_long_for_what_follows_are_cut(letter: str) -> None:
    stem = letter * ((LONGEST_NAME - 5) // len(letter.encode()))
    names = output_names([f"{stem}{last}.mp4" for last in "xyz"])
    assert names == [names[0], f"{names[0]}-2", f"{names[0]}-3"]
    assert stem.startswith(names[0])
    assert all(len(f"{name}-saliency.gif".encode()) <= LONGEST_NAME for name in names)
