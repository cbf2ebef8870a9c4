"""Memory of the loader's processes: lists of half a million rows, and workers that have made many clips."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from adamae.cli.main import main
from adamae.data.annotations import load_annotations
from adamae.data.dataset import pretrain_dataset
from adamae.data.loader import build_loader
from tests.data.test_loader import children
from tests.launching import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="needs Linux to tell memory"),
]


def megabytes(kind: str, processes: Iterable[int]) -> float:
    """``Rss`` (resident) or ``Pss`` (each page divided by those who share it) of some processes together."""
    total = 0
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
    return total / 1024


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four videos of 64 x 64 pixels, one in twelve of them damaged."""
    out = tmp_path_factory.mktemp("memory") / "set"
    options = "--videos_per_class 12 --val_per_class 0 --test_per_class 0 --classes left,right --frames 8"
    assert main(["synthesize", str(out), *options.split(), "--workers", "0"]) == 0
    for number, path in enumerate(sorted((out / "train").rglob("*.mp4"))):
        if number % 12 == 0:
            path.write_bytes(path.read_bytes()[:200])
    return out


def test_a_worker_of_20000_clips_holds_what_it_held_after_1000(videos: Path) -> None:
    dataset = pretrain_dataset(load_annotations(videos), num_frames=2, sampling_rate=2, size=32, motion_masks=False)
    others = set(children())
    batches = iter(build_loader(dataset, batch_size=50, num_workers=1))
    resident = {}
    for clips in range(50, 20_001, 50):
        assert len(next(batches)["clip"]) == 50
        if clips in (1_000, 20_000):
            (worker,) = set(children()) - others
            resident[clips] = [megabytes("Rss", [worker]), megabytes("Rss", [os.getpid()])]
    print(f"resident MB of worker and parent: {resident}")
    for early, late in zip(resident[1_000], resident[20_000], strict=True):
        assert late <= 1.05 * early


# What a small list costs is what there is besides the list.
PROGRAM = """
import os, sys, time
from pathlib import Path
from adamae.data.annotations import load_annotations
from adamae.data.dataset import pretrain_dataset
from adamae.data.loader import build_loader
from tests.data.test_loader import children
from tests.data.test_memory import megabytes

for name in ("small.csv", "large.csv"):
    began = time.process_time()
    dataset = pretrain_dataset(load_annotations(sys.argv[1] + "/" + name), num_frames=2, sampling_rate=1, size=32)
    seconds = time.process_time() - began
    batches = iter(build_loader(dataset, batch_size=4, num_workers=4))
    for _ in range(8):
        next(batches)
    print(len(dataset), seconds, megabytes("Pss", [os.getpid(), *children()]))
    del batches, dataset
"""


def test_half_a_million_rows_open_fast_and_are_shared_by_all_workers(videos: Path) -> None:
    (video,) = list(videos.rglob("00003.mp4"))
    (videos / "a_folder_of_usual_length").mkdir(exist_ok=True)
    line = f"a_folder_of_usual_length/../{video.relative_to(videos)} %d\n"
    for name, rows in (("small.csv", 400), ("large.csv", 500_000)):
        (videos / name).write_text("".join(line % (row % 400) for row in range(rows)))
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(videos)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    small, large = ([float(word) for word in line.split()] for line in ran.stdout.splitlines())
    print(f"seconds of one core to open: {large[1]:.2f}; MB over parent and 4 workers: {large[2] - small[2]:.0f}")
    assert large[0] == 500_000
    assert large[1] < 3
    assert large[2] - small[2] < 200
