"""Decodes one video to check it and to count its frames."""

from __future__ import annotations

from dataclasses import dataclass

from adamae.data.annotations import Annotations
from adamae.data.decoding import DecodeError, get_decoder
from adamae.data.scanning.journal import Finding
from adamae.randomness import sample_generator

# Number of frames per read, for back ends that keep complete frames in memory.
_AT_ONCE = 64


@dataclass(frozen=True)
class Inspection:
    """Decodes the video of a row.

    Attributes:
        annotations: The list.
        decoder: A name from ``decoding.DECODERS``.
        full: Decode every frame, instead of the first, the last and one in between that depends on the row.
    """

    annotations: Annotations
    decoder: str
    full: bool

    def __post_init__(self) -> None:
        """Import the back end: in a new process this takes time, which must not count as the first video's."""
        get_decoder(self.decoder)

    def __reduce__(self) -> tuple[type[Inspection], tuple[Annotations, str, bool]]:
        """Pickle as a call of the constructor, so that ``__post_init__`` runs in the other process."""
        return Inspection, (self.annotations, self.decoder, self.full)

    def __call__(self, row: int) -> Finding:
        """Return the number of frames, with the number of damaged packets if any, or why the video cannot be used."""
        try:
            with get_decoder(self.decoder)(self.annotations.video(row)) as reader:
                total = reader.num_frames
                for wanted in self._frames(row, total):
                    for _, frame in reader.frames(wanted):
                        frame.pixels()
                damaged = reader.damaged
        except DecodeError as error:
            return error.reason
        return (total, damaged) if damaged else total

    def _frames(self, row: int, total: int) -> list[list[int]]:
        """Return the frame indices to decode, in portions."""
        if self.full:
            # Other back ends keep complete frames; PyAV would decode a damaged video from its start for each portion.
            portion = total if self.decoder == "pyav" else _AT_ONCE
            return [list(range(total))[start : start + portion] for start in range(0, total, portion)]
        between = int(sample_generator(0, 0, row).integers(total))
        return [sorted({0, between, total - 1})]
