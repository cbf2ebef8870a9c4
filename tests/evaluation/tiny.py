"""Seven small videos, two with the same file name and one damaged, and tiny checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.networks import build_encoder
from adamae.checkpoints.tensor_files import write_tensors
from adamae.data.annotations import Annotations, load_annotations
from adamae.data.h264_encoder import encode_h264
from adamae.data.views import VideoViews, plan_test
from adamae.evaluation.window_features import WindowFeatures, extract_windows
from adamae.evaluation.windows import Windows
from tests.checkpoints.networks import CLASSIFIER, PRETRAIN, classifier, pretrainer

NAMES = ("left", "right", "up", "down", "still")
PATHS = ("a/0.mp4", "b/0.mp4", "a/1.mp4", "b/2.mp4", "a/bad.mp4", "b/3.mp4", "a/4.mp4")
LABELS = (0, 1, 2, 3, 4, 1, 0)
BAD = 4


def write_videos(folder: Path) -> Path:
    """Write the videos, ``test.csv`` and ``classes.txt``; return the list."""
    for number, name in enumerate(PATHS):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = np.random.default_rng(number).integers(0, 256, (6 + 3 * number, 4, 5, 3), dtype=np.uint8)
        blocky = np.kron(frames, np.ones((1, 8, 8, 1), np.uint8))
        path.write_bytes(b"damaged" if number == BAD else encode_h264(blocky, fps=10, gop=8, crf=20))
    rows = [f"{name} {label}" for name, label in zip(PATHS, LABELS, strict=True)]
    (folder / "test.csv").write_text("\n".join(rows) + "\n")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return folder / "test.csv"


def views(source: Path | Annotations, **options: Any) -> VideoViews:
    annotations = source if isinstance(source, Annotations) else load_annotations(source)
    return VideoViews(annotations, plan_test(**{"num_frames": 4, "sampling_rate": 2, "size": 16, **options}))


def write_classifier(path: Path, *, names: tuple[str, ...] = NAMES, **options: Any) -> Path:
    model = classifier(**options)
    config = describe_network(model, {**CLASSIFIER, **options}) | ({"class_names": list(names)} if names else {})
    write_tensors(path, model.state_dict(), {"model": config, "epoch": 7, "step": 70})
    return path


def write_pretrainer(path: Path, **options: Any) -> Path:
    model = pretrainer(**options)
    config = describe_network(model, {**PRETRAIN, **options})
    write_tensors(path, model.state_dict(), {"model": config, "epoch": 7, "step": 70})
    return path


def extract(test_list: Path, pretrained: Path, level: str = "window") -> WindowFeatures:
    """Features of the windows of a list."""
    encoder, _ = build_encoder(open_checkpoint(pretrained))
    plan = plan_test(num_frames=4, sampling_rate=2, size=16, num_crops=1)
    return extract_windows(
        encoder, load_annotations(test_list), windows=Windows(4, 2, 4), plan=plan, level=level, batch_size=2
    )
