"""Options of the H.264 encoder, x264, shared by both video writers of the project."""

from __future__ import annotations

import av

from adamae.errors import UserError

CODEC = "libx264"


def encoder_options(crf: int, preset: str, **parameters: int | str) -> dict[str, str]:
    """Return options for ``add_stream`` with which the same frames result in the same bytes on every CPU.

    x264's macroblock-tree is not deterministic in its AVX-512 assembly, and differs with and without AVX2;
    ``cpu-independent`` makes it the same everywhere. Threads would cut frames into slices by the number of cores.

    Args:
        crf: Quality, 0 (best) to 51; below 18 the loss is hardly visible.
        preset: Preset of x264: encoding time against file size.
        parameters: Further settings of x264; "_" stands for "-".

    Raises:
        UserError: If this build of PyAV has no H.264 encoder.
    """
    if CODEC not in av.codecs_available:
        raise UserError(f"this build of PyAV {av.__version__} has no {CODEC} encoder: install the wheel from PyPI")
    fixed = {"cpu-independent": 1, "threads": 1}
    settings = {name.replace("_", "-"): value for name, value in parameters.items()} | fixed
    return {
        "crf": str(crf),
        "preset": preset,
        "x264-params": ":".join(f"{name}={value}" for name, value in settings.items()),
    }
