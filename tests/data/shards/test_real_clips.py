"""Real videos give the same frames from a shard as from their files, whatever decodes them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.decoding import DECODERS, DecodeError, OpenVideo, VideoSource, get_decoder
from adamae.data.shards.packing import pack
from adamae.errors import UserError


@pytest.fixture(scope="module")
def both(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Annotations, Annotations]:
    """The clips as files and in shards, in the same order."""
    files = load_annotations(clips)
    small = [row for row in range(len(files)) if os.path.getsize(files.path(row)) < 200_000]  # noqa: PTH202
    out = tmp_path_factory.mktemp("clips") / "shards"
    pack(files.select(small), out, shuffle=False)
    return files.select(small), load_annotations(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(DECODERS))
def test_frames_of_real_clips(name: str, both: tuple[Annotations, Annotations]) -> None:
    try:
        open_video = get_decoder(name)
    except UserError as error:
        pytest.skip(str(error))
    files, shards = both
    compared = 0
    for row in range(len(files)):
        one, other = (_frames(open_video, videos.video(row)) for videos in (files, shards))
        if one is None or other is None:
            assert one is other, f"{files.path(row)} can be read in one way only"
        else:
            assert np.array_equal(one, other), files.path(row)
            compared += 1
    assert compared > len(files) / 2


def _frames(open_video: OpenVideo, video: VideoSource) -> np.ndarray | None:
    """Three frames; None where the video is refused."""
    try:
        with open_video(video) as reader:
            return reader.read([0, reader.num_frames // 2, reader.num_frames - 1])
    except DecodeError:
        return None
