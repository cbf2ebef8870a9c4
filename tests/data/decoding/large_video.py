"""Make a video of a gigabyte in little time and with little disk space."""

from __future__ import annotations

from pathlib import Path

from adamae.data.decoding.byte_ranges import LoadedFile
from adamae.data.decoding.mp4 import read_plain_mp4
from tests.data.decoding.test_plain_mp4 import TABLES, place_of, words

_FILLING = 12  # type of H.264 NAL units that decoders skip


def inflate(small: Path, large: Path, size: int) -> Path:
    """Copy an MP4 file with H.264, each packet followed by a filler NAL unit, to about ``size`` bytes of packets.

    The frames are the same. The filler data are a hole in the file.
    """
    data = bytearray(small.read_bytes())
    video = read_plain_mp4(LoadedFile(bytes(data)))
    assert video is not None
    starts, each = video.starts.tolist(), size // len(video.starts)
    first, end = place_of(data, "mdat")
    assert end == place_of(data, "moov")[0] - 8
    words(f"{TABLES}/stsz", 12, lambda sizes: [each] * len(sizes))(data)
    words(f"{TABLES}/stco", 8, lambda places: [first + starts.index(place) * each for place in places])(data)
    data[first - 8 : first - 4] = (8 + each * len(starts)).to_bytes(4, "big")
    with large.open("wb") as file:
        file.write(data[:first])
        for number, (start, length) in enumerate(zip(starts, video.sizes.tolist(), strict=True)):
            file.seek(first + number * each)
            filling = (each - length - 4).to_bytes(4, "big")
            file.write(bytes(data[start : start + length]) + filling + bytes([_FILLING]))
        file.seek(first + len(starts) * each)
        file.write(data[end:])
    return large
