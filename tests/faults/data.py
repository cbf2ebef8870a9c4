"""Bad files among good ones: each good sample is seen once, each bad one recorded; mutated files cause no crash."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from adamae.data.decoding import DecodeError, pyav
from tests.data.conftest import encode
from tests.faults.processes import Process, expect
from tests.faults.trial import LostError, Trial

PROMISE = "10 % of the files broken in twelve ways, and mutated files: good samples once, bad ones recorded, no crash"
MUTATIONS = 1000
LISTS = 20
VIDEOS = 120
# Encoder options by file name, with different containers, codecs and frame orders.
KINDS: dict[str, dict[str, str]] = {
    "closed.mp4": {"g": "8", "bf": "2"},
    "open.mkv": {"g": "6", "bf": "0"},
    "motion.avi": {"codec": "mjpeg"},
    "part4.mp4": {"codec": "mpeg4"},
    "web.webm": {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"},
}


def empty(path: Path, dice: random.Random) -> None:
    path.write_bytes(b"")


def truncated(path: Path, dice: random.Random) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: dice.randrange(1, len(whole) // 2)])


def random_bytes(path: Path, dice: random.Random) -> None:
    """Overwrite all packets but the first; with fewer, decoding would succeed with a warning."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for place, size in sorted(places)[1:]:
        content[place : place + size] = dice.randbytes(size)
    path.write_bytes(content)


def wrong_container(path: Path, dice: random.Random) -> None:
    path.write_bytes(b"PK\3\4" + dice.randbytes(4000))


def no_video_stream(path: Path, dice: random.Random) -> None:
    path.write_text("1\n00:00:00,000 --> 00:00:02,000\nOnly a subtitle.\n")


def audio_only(path: Path, dice: random.Random) -> None:
    path.unlink()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def zero_frames(path: Path, dice: random.Random) -> None:
    """Write only the header of a video."""
    path.unlink()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()


def one_frame(path: Path, dice: random.Random) -> None:
    """Write a video of one frame, a good file: a clip repeats the frame."""
    encode(path, 1, (32, 32))


def absurd_size(path: Path, dice: random.Random) -> None:
    """Set the size in the header to 65,535 x 65,535."""
    content = bytearray(path.read_bytes())
    for name, before in ((b"avc1", 28), (b"tkhd", 80)):
        place = content.find(name)
        while place >= 0:
            size = struct.pack(">HH", 65535, 65535) if name == b"avc1" else struct.pack(">II", 65535 << 16, 65535 << 16)
            content[place + before : place + before + len(size)] = size
            place = content.find(name, place + 4)
    path.write_bytes(content)


def changing_resolution(path: Path, dice: random.Random) -> None:
    """Write raw H.264 that changes its frame size."""
    parts = [encode(path.with_suffix(f".{side}.h264"), 8, (side, side)) for side in (32, 64)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()


def missing(path: Path, dice: random.Random) -> None:
    path.unlink()


def a_directory(path: Path, dice: random.Random) -> None:
    path.unlink()
    path.mkdir()


BREAKS = (
    *(empty, truncated, random_bytes, wrong_container, no_video_stream, audio_only, zero_frames, one_frame),
    *(absurd_size, changing_resolution, missing, a_directory),
)
# Files that may be good or bad: they must be either seen or recorded, but not both or neither.
EITHER = {"one_frame", "absurd_size", "changing_resolution"}


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials of lists with bad files, of files that hang or crash their reader, and of mutated good files."""
    good = shared / "good"
    if not good.exists():
        expect([Process(lambda: _make(good), shared, "good").wait()])
    made = [
        Trial(f"list {number}, {workers} workers", _list(seed + number, workers, good))
        for number in range(max(1, round(LISTS * scale)))
        for workers in (number % 3,)
    ]
    made += [Trial(f"{fault}, {workers} workers", _fault(fault, workers, good)) for fault, workers in _faults(scale)]
    return made + [
        Trial(f"mutation {number} of {name}", _mutation(f"{seed} {number}", good / name), seconds=60)
        for number in range(max(5, round(MUTATIONS * scale)))
        for name in (list(KINDS)[number % len(KINDS)],)
    ]


def _faults(scale: float) -> list[tuple[str, int]]:
    every = [("hangs", 1), ("crashes", 1), ("hangs", 2), ("crashes", 2)]
    return every if scale >= 1 else every[:2]


def _make(folder: Path) -> int:
    for name, options in KINDS.items():
        encode(folder / name, 24, (48, 64), **options)
    return 0


def _epoch(folder: Path, rows: list[str], workers: int, timeout: float = 60) -> tuple[list[int], dict[int, str]]:
    """Return the rows of one epoch over a list, in order, and the reasons of bad ones."""
    from adamae.data.annotations import load_annotations
    from adamae.data.dataset import pretrain_dataset
    from adamae.data.loader import build_loader

    (folder / "train.csv").write_text("".join(f"{row} 0\n" for row in rows))
    annotations = load_annotations(folder / "train.csv")
    dataset = pretrain_dataset(annotations, num_frames=4, sampling_rate=1, size=32, video_timeout=timeout)
    batches = islice(build_loader(dataset, batch_size=4, num_workers=workers), len(rows) // 4)
    seen: list[int] = []
    reasons: dict[int, str] = {}
    for batch in batches:
        seen += batch["index"].tolist()
        for record in batch["bad"]:
            reasons[record["index"]] = record["reason"]
    return seen, reasons


def _list(seed: int, workers: int, good: Path) -> Callable[[Path], None]:
    def body(folder: Path) -> None:
        dice = random.Random(f"list {seed}")
        rows = [f"{number}.mp4" for number in range(VIDEOS)]
        for row in rows:
            shutil.copy(good / "closed.mp4", folder / row)
        broken = dict(zip(dice.sample(range(VIDEOS), len(BREAKS)), BREAKS, strict=True))
        for row, change in broken.items():
            change(folder / rows[row], dice)
        seen, reasons = _epoch(folder, rows, workers)
        expect_once(seen, reasons, VIDEOS)
        recorded = {change.__name__ for row, change in broken.items() if row in reasons}
        silent = {change.__name__ for change in BREAKS} - EITHER - recorded
        if silent:
            raise LostError(f"not recorded: {', '.join(sorted(silent))}")
        wrong = sorted(set(reasons) - set(broken))
        if wrong:
            raise LostError(f"recorded though good: {rows[wrong[0]]}: {reasons[wrong[0]]}")
        vague = [reason for reason in reasons.values() if not reason or "\n" in reason]
        if vague:
            raise LostError(f"a reason is not one line: {vague[0]!r}")

    return body


def _fault(fault: str, workers: int, good: Path) -> Callable[[Path], None]:
    """One file of twelve hangs when it is opened, or crashes the process in the decoder."""

    def body(folder: Path) -> None:
        rows = [f"{number}.mp4" for number in range(12)]
        for row in rows:
            shutil.copy(good / "closed.mp4", folder / row)
        wrong = folder / rows[5]
        if fault == "hangs":
            wrong.unlink()
            os.mkfifo(wrong)
        else:
            whole = av.open

            def crash(file: BinaryIO, *arguments: object, **named: object) -> object:
                if file.name == str(wrong):
                    os.abort()
                return whole(file, *arguments, **named)

            av.open = crash
            pyav.av.open = crash
            wrong.write_bytes((good / "open.mkv").read_bytes())
        seen, reasons = _epoch(folder, rows, workers, timeout=1.0)
        expect_once(seen, reasons, len(rows))
        if set(reasons) != {5}:
            raise LostError(f"recorded {reasons}")

    return body


def expect_once(seen: list[int], reasons: dict[int, str], count: int) -> None:
    """Raise LostError unless each good row was seen once, and once more for each bad row that it replaced."""
    doubled = len(seen) - len(set(seen))
    if set(seen) != {*range(count)} - set(reasons) or len(seen) != count or doubled != len(reasons):
        raise LostError(
            f"of {count} rows {len(seen)} were seen, {len(set(seen))} different ones, {len(reasons)} recorded"
        )


def mutate(content: bytes, dice: random.Random) -> bytes:
    """Apply random mutations: flip bits, randomise, repeat or delete a block, truncate, or write huge numbers."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4))):
        place = dice.randrange(len(changed))
        size = min(len(changed) - place, dice.choice((1, 4, 64, 1024)))
        kind = dice.randrange(6)
        if kind == 0:
            for _ in range(dice.choice((1, 8, 64))):
                changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        elif kind == 1:
            changed[place : place + size] = dice.randbytes(size)
        elif kind == 2:
            changed[place:place] = changed[place : place + size]
        elif kind == 3:
            del changed[place : place + size]
        elif kind == 4:
            del changed[place + 1 :]
        else:
            changed[place : place + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"))
        if not changed:
            changed = bytearray(b"\0")
    return bytes(changed)


def _mutation(seed: str, source: Path) -> Callable[[Path], None]:
    def body(folder: Path) -> None:
        dice = random.Random(seed)
        path = folder / source.name
        path.write_bytes(mutate(source.read_bytes(), dice))
        read_or_reason(path, dice)

    return body


def read_or_reason(path: Path, dice: random.Random) -> None:
    """Raise LostError unless reading a file returns frames or fails with a reason of one line."""
    try:
        with pyav.open_video(str(path)) as video:
            frames = video.read([dice.randrange(video.num_frames) for _ in range(3)])
    except DecodeError as error:
        if "\n" in str(error) or not str(error).startswith(str(path)):
            raise LostError(f"the reason is not one line with the path: {error}") from None
        return
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[0] != 3:
        raise LostError(f"frames of {frames.dtype} and shape {frames.shape}")
