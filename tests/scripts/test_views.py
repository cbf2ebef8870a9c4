"""One decode gives the views that a decode for each of them gives, and the command compares their times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from views import DecodePerView, main

from adamae.data.annotations import Annotations
from adamae.data.views import VideoViews, plan_test


@pytest.mark.parametrize("sampling", ["dense", "segment"])
def test_one_decode_gives_the_views_of_a_decode_per_view(videos: Path, clips: Path, sampling: str) -> None:
    odd = [clips / name for name in ("rotate_90.mov", "rotate_180.mov", "unordered.mov")]
    videos_of_all_kinds = Annotations.of([str(path) for path in [*sorted(videos.rglob("[0-9].mp4")), *odd]])
    plan = plan_test(num_frames=4, sampling_rate=3, size=32, frame_sampling=sampling)
    once = VideoViews(videos_of_all_kinds, plan)
    apart = DecodePerView(videos_of_all_kinds, plan, stride=3 if sampling == "dense" else None)
    for row in range(len(once)):
        views = once[row]["views"]
        assert views.shape == (plan.num_views, 4, 32, 32, 3)
        assert np.array_equal(views, apart[row]["views"])


def test_both_ways_are_timed(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(videos), *"--num_videos 3 --num_frames 4 --sampling_rate 2 --input_size 32".split()]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    once, per_view = report["once"], report["per_view"]
    assert once["videos"] == per_view["videos"] > 0
    assert report["decoding_ratio"] == per_view["decoding"] / once["decoding"] > 1
    assert main(words) == 0
    assert "one decode is" in capsys.readouterr().out
