"""The validated options of a synthetic video."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from adamae.data.synthetic.motion import MOTIONS
from adamae.data.synthetic.scene import BACKGROUNDS, SHAPES
from adamae.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """All options that determine the bytes of a video or an image, besides its split and number.

    See :func:`adamae.data.synthetic.writing.synthesize` for their meaning.
    """

    frames: int
    size: int
    fps: int
    background: str
    camera_noise: float
    classes: tuple[str, ...]
    contrast: float
    objects: int
    object_size: float
    speed: float
    gop: int
    crf: int
    seed: int
    images: bool = False

    def as_manifest(self) -> dict[str, Any]:
        """Return all values for JSON; for videos without ``images``, which earlier manifests do not have."""
        values = asdict(self)
        return values if self.images else {name: value for name, value in values.items() if name != "images"}

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            UserError: If a value is invalid.
        """
        known = SHAPES if self.images else MOTIONS
        unknown = [name for name in self.classes if name not in known]
        for name, holds, expected in (
            ("frames", self.frames >= 2, "at least 2"),
            ("size", self.size >= 16 and self.size % 2 == 0, "an even number, at least 16"),
            ("fps", self.fps >= 1, "at least 1"),
            ("background", self.background in BACKGROUNDS, f"one of {', '.join(BACKGROUNDS)}"),
            ("camera_noise", 0 <= self.camera_noise <= 1, "a standard deviation from 0 to 1 (white)"),
            ("contrast", 0 <= self.contrast <= 1, "a share of the brightness from 0 to 1"),
            ("classes", bool(self.classes) and not unknown, f"names out of {', '.join(known)}"),
            ("classes", len(set(self.classes)) == len(self.classes), "every name once"),
            ("objects", self.objects >= 1, "at least 1"),
            ("object_size", 0 < self.object_size <= 1, "a share of the frame's side, above 0, at most 1"),
            ("speed", 0 < self.speed <= 0.25, "cycles per frame, above 0, at most 0.25"),
            ("gop", self.gop >= 1, "at least 1"),
            ("crf", 0 <= self.crf <= 51, "0 (best) to 51"),
            ("seed", self.seed >= 0, "0 or more"),
        ):
            if not holds:
                value = getattr(self, name)
                raise UserError(f"{name} = {' '.join(value) if name == 'classes' else value}: expected {expected}")
