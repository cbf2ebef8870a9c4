"""An error of the file system is reported as one: it never ends a video as if there were no more frames."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adamae.data.decoding import DecodeError, byte_ranges, get_decoder, installed_decoders
from adamae.data.preparation.transcoding import Encoding, transcode
from tests.data.conftest import encode
from tests.faults.disk_wrapper import LOADED, arm_reading, built
from tests.launching import ROOT

FRAMES = 40
KINDS: dict[str, dict[str, str]] = {
    "a.mkv": {"g": "8"},
    "a.mpg": {"codec": "mpeg2video", "g": "8"},
    "a.ts": {"g": "8"},
    "a.flv": {"g": "8"},
    "a.avi": {"codec": "mpeg4", "g": "8"},
}
_NEVER = 2**60


def outcome(read: str, path: Path, folder: Path) -> str | int:
    """How many frames one way of reading finds, or why none."""
    try:
        if read == "prepare":
            return transcode(str(path), str(folder / "b.mp4"), str(folder / "c.mp4"), Encoding()).frames
        with get_decoder(read)(str(path)) as video:
            video.read([0, video.num_frames - 1])
            return video.num_frames
    except DecodeError as error:
        return error.reason


def main(folder: Path, read: str, kept_bytes: int) -> None:
    """In a process in which reading can be made to fail: print what becomes of each file."""
    byte_ranges.KEPT_BYTES = kept_bytes
    found = {}
    for path in sorted(folder.glob("a.*")):
        for share in (0.4, 0.9):
            for times in (1, -1):
                arm_reading(folder, round(share * path.stat().st_size), errno.EIO, times=times)
                found[f"{path.name} {share} {times}"] = outcome(read, path, folder)
        arm_reading(folder, _NEVER, errno.EIO)
        found[path.name] = outcome(read, path, folder)
    print(json.dumps(found))


@pytest.mark.parametrize(
    ("read", "kept_bytes"),
    [("pyav", byte_ranges.KEPT_BYTES), ("pyav", 0), ("prepare", 0), ("decord", byte_ranges.KEPT_BYTES)],
)
def test_a_disk_that_fails_in_the_middle_of_a_file(read: str, kept_bytes: int, tmp_path: Path) -> None:
    library = built(tmp_path / "library")
    if library is None:
        pytest.skip("there is no C compiler")
    if read not in ("prepare", *installed_decoders()):
        pytest.skip(f"{read} is not installed")
    for name, options in KINDS.items():
        encode(tmp_path / name, FRAMES, (144, 192), **options)
    code = f"from {__name__} import main, Path; main(Path({str(tmp_path)!r}), {read!r}, {kept_bytes})"
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, cwd=ROOT, env=os.environ | {LOADED: str(library)}, capture_output=True, check=True)
    found = json.loads(ended.stdout)
    assert len(found) == 5 * len(KINDS)
    expected = {key: "cannot be read (Input/output error)" if " " in key else FRAMES for key in found}
    assert found == expected


def test_an_image_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(bytes(9000))

    class Failing(io.FileIO):
        def readall(self) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "open", lambda place, mode: io.BufferedReader(Failing(place)))
    with pytest.raises(DecodeError, match=r"a\.png: cannot be read \(Input/output error\)"):
        get_decoder("pyav")(str(path))
