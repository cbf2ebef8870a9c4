"""The twenty gesture clips as a data set: each is cut in time into parts, alternately for training and for the test.

Every clip is a class. The clips show five people in front of one wall, so a network that only tells people apart
classifies a quarter of the gestures correctly. ``SIGNERS`` lists the gestures of each person, which are also a data set
of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from adamae.data.augmentation import resize
from adamae.data.decoding import get_decoder
from adamae.data.h264_encoder import encode_h264
from adamae.errors import UserError

# Gestures by the clothes of the person, read off a contact sheet of the clips.
SIGNERS = {
    "printed_shirt": ("again", "brother", "help", "no", "student", "yes"),
    "grey_shirt": ("bird", "milk", "please", "sorry", "thanks"),
    "orange_shirt": ("book", "learn", "school", "walk"),
    "striped_jumper": ("eat", "night", "sister"),
    "plaid_shirt": ("hungry", "want"),
}
GESTURES = tuple(sorted(gesture for some in SIGNERS.values() for gesture in some))
TRAIN, TEST, PRETRAINING = "train.csv", "test.csv", "pretrain.csv"
FAR, DEVELOPMENT = "far", "development"
FPS, CRF = 30, 10
# Number of times that a part is listed for pre-training; otherwise an epoch would be two steps long.
REPEATS = 8


def cut_in_time(num_frames: int, parts: int, gap: int) -> list[range]:
    """Cut a clip into parts of equal length with ``gap`` unused frames between them; remaining frames are at the end.

    Raises:
        UserError: If a part would have no frames.
    """
    length = (num_frames - gap * (parts - 1)) // parts
    if length < 1:
        raise UserError(f"{num_frames} frames in {parts} parts with gaps of {gap}: expected at least one frame in each")
    return [range(start, start + length) for start in range(0, parts * (length + gap), length + gap)]


def write_parts(clips: Path, folder: Path, *, parts: int, gap: int, short_side: int, least: int) -> None:
    """Write the data set.

    The videos are ``folder/GESTURE/NUMBER.mp4``. ``train.csv`` and ``test.csv`` list the even and the odd parts, and in
    ``folder/PERSON`` those of each person. ``folder/far`` has the first training and the last test parts, which are
    furthest apart. ``folder/development`` has the first and the last training parts, for choosing a recipe without the
    test parts. ``pretrain.csv`` lists the training parts without labels.

    Args:
        clips: Folder with ``asl_GESTURE.mkv``.
        folder: Output folder.
        parts: Number of parts of each clip, at least three.
        gap: Unused frames between parts.
        short_side: Shorter side of the written videos in pixels.
        least: Minimum number of frames in a part.

    Raises:
        UserError: If a clip is missing, cannot be read, or is too short.
    """
    for gesture in GESTURES:
        with get_decoder()(str(clips / f"asl_{gesture}.mkv")) as reader:
            frames = reader.read(np.arange(reader.num_frames))
        height, width = frames.shape[1:3]
        scale = short_side / min(height, width)
        # H.264 requires an even height and width.
        small = resize(frames, *(2 * round(side * scale / 2) for side in (height, width)))
        (folder / gesture).mkdir(parents=True, exist_ok=True)
        for number, some in enumerate(cut_in_time(len(frames), parts, gap)):
            if len(some) < least:
                raise UserError(
                    f"{gesture}: {len(some)} frames in each of {parts} parts, expected at least {least}: take fewer "
                    "parts or a smaller gap"
                )
            content = encode_h264(small[some.start : some.stop], fps=FPS, gop=len(some), crf=CRF)
            (folder / gesture / f"{number}.mp4").write_bytes(content)
    for path, rows in lists_of(parts).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("".join(f"{row}\n" for row in rows))


def lists_of(parts: int) -> dict[str, list[str]]:
    """Return the lines of each list, by its path relative to the data set's folder."""
    training, testing = range(0, parts, 2), range(1, parts, 2)
    lists = {TRAIN: _rows(GESTURES, training, "."), TEST: _rows(GESTURES, testing, ".")}
    for signer, gestures in SIGNERS.items():
        lists[f"{signer}/{TRAIN}"] = _rows(gestures, training, "..")
        lists[f"{signer}/{TEST}"] = _rows(gestures, testing, "..")
    for pair, last in ((FAR, testing[-1:]), (DEVELOPMENT, training[-1:])):
        lists[f"{pair}/{TRAIN}"] = _rows(GESTURES, training[:1], "..")
        lists[f"{pair}/{TEST}"] = _rows(GESTURES, last, "..")
    lists[PRETRAINING] = [row.split()[0] for row in lists[TRAIN]] * REPEATS
    return lists


def _rows(gestures: Sequence[str], numbers: Iterable[int], above: str) -> list[str]:
    return [f"{above}/{gesture}/{number}.mp4 {gesture}" for number in numbers for gesture in sorted(gestures)]
