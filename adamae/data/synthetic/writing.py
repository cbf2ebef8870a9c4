"""Writes the data set: videos, masks, lists, and the manifest that identifies it."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from adamae.data.class_names import write_class_names
from adamae.data.h264_encoder import encode_h264
from adamae.data.motion_masks import motion_mask_bytes, motion_mask_path
from adamae.data.split_names import SPLITS
from adamae.data.synthetic.motion import MOTIONS
from adamae.data.synthetic.recipe import Recipe
from adamae.data.synthetic.rendering import add_camera_noise, render
from adamae.data.synthetic.scene import SHAPES, Scene, draw_scene
from adamae.errors import UserError
from adamae.files import begun, remove_temporaries, write_whole
from adamae.progress import ProgressCallback

MANIFEST = "synthetic.json"
# Incremented when the same options result in different frames, so that an old folder is not taken for a new one.
VERSION = 1


@dataclass(frozen=True)
class SyntheticReport:
    """Result of :func:`synthesize`.

    Attributes:
        root: The data set's folder.
        classes: Class names in the order of their labels.
        videos: Number of videos, or images, in each split.
        lists: List file of each split.
        written: Number of videos written by this call; 0 if the data set was complete.
    """

    root: Path
    classes: tuple[str, ...]
    videos: dict[str, int]
    lists: dict[str, Path]
    written: int = field(default=0)


@dataclass(frozen=True)
class _Job:
    root: Path
    split: str
    index: int
    label: int
    recipe: Recipe

    @property
    def relative_path(self) -> str:
        suffix = "png" if self.recipe.images else "mp4"
        return f"{self.split}/{self.recipe.classes[self.label]}/{self.index:05d}.{suffix}"

    @property
    def file(self) -> Path:
        return self.root / self.relative_path

    @property
    def mask(self) -> Path:
        return motion_mask_path(self.file)


def synthesize(
    out: str | Path,
    *,
    videos_per_class: int = 32,
    val_per_class: int = 8,
    test_per_class: int = 8,
    frames: int = 16,
    size: int = 64,
    fps: int = 10,
    background: str = "smooth",
    camera_noise: float = 0.0,
    contrast: float = 0.6,
    classes: Sequence[str] | None = None,
    images: bool = False,
    objects: int = 1,
    object_size: float = 0.5,
    speed: float = 0.03,
    gop: int = 16,
    crf: int = 12,
    seed: int = 0,
    workers: int = 0,
    progress: ProgressCallback | None = None,
) -> SyntheticReport:
    """Write a data set of short H.264 videos whose classes differ only in motion, or of images of shapes.

    The data set has the videos ``OUT/SPLIT/CLASS/NUMBER.mp4``, each with its ground truth in ``NUMBER.moving.npz``
    ("moving": the motion mask (T, H, W) of pixels that a moving object covers, bit-packed along the width; "shape":
    T, H, W), the lists ``train.csv``, ``val.csv``, ``test.csv`` (``path label``, paths relative to OUT),
    ``classes.txt`` (label 0 first) and ``synthetic.json``, the options. With the same options, a video depends only on
    (seed, split, number). An interrupted call resumes where it stopped, and a complete data set with the same options
    is left unchanged.

    Images are first frames of such videos, ``NUMBER.png`` without a mask. A single frame contains no motion, so their
    classes are the shapes of the objects.

    Args:
        out: Folder to write to: new, empty, or begun with the same options.
        videos_per_class: Training videos of each class.
        val_per_class: Validation videos of each class.
        test_per_class: Test videos of each class.
        frames: Number of frames of every video, T.
        size: Side length of the square frame in pixels.
        fps: Frames per second.
        background: "smooth" (colours interpolated between the corners), "textured" (with static noise) or "mixed".
        camera_noise: Standard deviation of independent noise in every pixel, where 1 is white; 0 for none.
        contrast: Contrast from 0 to 1: objects are at least this bright, the background at most 1 less this. 0 for any
            colours, 1 for white objects in front of black.
        classes: Names out of :data:`MOTIONS`, or for images :data:`SHAPES`, in the order of labels; None for all.
        images: Write images.
        objects: Number of moving objects in a video, all with the video's motion.
        object_size: Largest diameter of an object over the frame's side. Objects get as small as a third of it.
        speed: Mean speed in cycles per frame (a crossing of the frame, a turn, or a growth is one cycle), around which
            each video's own speed is drawn.
        gop: Frames from one keyframe to the next.
        crf: H.264 quality, 0 (best) to 51.
        seed: Seed of the data set.
        workers: Number of processes; 0 runs in this process.
        progress: Called with (number of videos done, total) after each video.

    Raises:
        UserError: If an option is invalid, the folder contains something else, another process writes to it, or it
            cannot be written.
    """
    recipe = Recipe(
        frames=frames,
        size=size,
        fps=fps,
        background=background,
        camera_noise=camera_noise,
        contrast=contrast,
        classes=tuple((SHAPES if images else MOTIONS) if classes is None else classes),
        objects=objects,
        object_size=object_size,
        speed=speed,
        gop=gop,
        crf=crf,
        seed=seed,
        images=images,
    )
    per_class = dict(zip(SPLITS, (videos_per_class, val_per_class, test_per_class), strict=True))
    if workers < 0 or videos_per_class < 1 or min(per_class.values()) < 0:
        given = ", ".join(str(count) for count in per_class.values())
        raise UserError(f"got {given} videos per class (train, val, test) and {workers} workers: expected none below 0")
    root = Path(out).expanduser()
    options = {"version": VERSION, "videos_per_class": per_class, **recipe.as_manifest()}
    with _writing_to(root), begun(root, MANIFEST, options):
        jobs = list(_jobs(root, recipe, per_class))
        missing = [job for job in jobs if not job.file.is_file()]
        _run(missing, workers, progress, done=len(jobs) - len(missing), total=len(jobs))
        lists = _write_lists(root, jobs)
    counts = {split: count * len(recipe.classes) for split, count in per_class.items() if count}
    return SyntheticReport(root, recipe.classes, counts, lists, written=len(missing))


@contextmanager
def _writing_to(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write the data set to {root}: {error.strerror or error}") from error


def _jobs(root: Path, recipe: Recipe, per_class: dict[str, int]) -> Iterator[_Job]:
    """Yield all videos with alternating classes, so that the start of a list is as balanced as possible."""
    for split, count in per_class.items():
        for index in range(count * len(recipe.classes)):
            yield _Job(root, split, index, index % len(recipe.classes), recipe)


def _run(jobs: list[_Job], workers: int, progress: ProgressCallback | None, *, done: int, total: int) -> None:
    for folder in {job.file.parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporaries(folder)
    if workers:
        # Spawned, not forked: the caller may have threads.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            _count(pool.map(make_file, jobs, chunksize=8), progress, done, total)
    else:
        _count(map(make_file, jobs), progress, done, total)


def _count(results: Iterable[None], progress: ProgressCallback | None, done: int, total: int) -> None:
    for made, _ in enumerate(results, start=done + 1):
        if progress is not None:
            progress(made, total)


def make_file(job: _Job) -> None:
    """Write one image, or one video after its mask, so that an existing video always has its ground truth."""
    recipe = job.recipe
    key = (recipe.seed, SPLITS.index(job.split), job.index)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    scene = draw_scene(
        rng,
        size=recipe.size,
        background=recipe.background,
        contrast=recipe.contrast,
        objects=recipe.objects,
        speed=recipe.speed,
    )
    name = recipe.classes[job.label]
    if recipe.images:
        write_whole(job.file, _image(scene, SHAPES[name], recipe, rng))
        return
    frames, masks = render(scene, name, num_frames=recipe.frames, object_size=recipe.object_size)
    pixels = add_camera_noise(frames, recipe.camera_noise, rng)
    write_whole(job.mask, motion_mask_bytes(masks))
    write_whole(job.file, encode_h264(pixels, fps=recipe.fps, gop=recipe.gop, crf=recipe.crf))


def _image(scene: Scene, corners: int, recipe: Recipe, rng: np.random.Generator) -> bytes:
    """Return a PNG file of a scene with objects of one shape, at rest."""
    shaped = replace(scene, objects=tuple(replace(painted, corners=corners) for painted in scene.objects))
    frames, _ = render(shaped, next(iter(MOTIONS)), num_frames=1, object_size=recipe.object_size)
    file = io.BytesIO()
    Image.fromarray(add_camera_noise(frames, recipe.camera_noise, rng)[0]).save(file, "PNG")
    return file.getvalue()


def _write_lists(root: Path, jobs: list[_Job]) -> dict[str, Path]:
    lists = {}
    for split in dict.fromkeys(job.split for job in jobs):
        rows = [f"{job.relative_path} {job.label}\n" for job in jobs if job.split == split]
        lists[split] = root / f"{split}.csv"
        write_whole(lists[split], "".join(rows).encode())
    write_class_names(root, jobs[0].recipe.classes)
    return lists
