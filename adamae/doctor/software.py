"""Check installed packages, compiler and decoders."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable, Sequence
from importlib import metadata

import numpy as np

from adamae.data.decoders import DECODERS
from adamae.data.decoding import EncodedVideo, get_decoder, installed_decoders
from adamae.doctor.findings import Finding
from adamae.errors import UserError
from adamae.training.deepspeed import OLDEST, missing_or_old

_SHOWN = ("torch", "torchvision", "timm", "numpy")
# Number of frames of the video for testing decoders, and their size in pixels.
_FRAMES, _SIDE = 8, 64
# Largest mean absolute difference between decoded and original pixel values: encoding is lossy.
_TOLERANCE = 8


def check_software(processes: int) -> list[Finding]:
    """Check Python, packages, DeepSpeed, compiler and decoders.

    Args:
        processes: Training processes on all machines.
    """
    return [
        check_packages(_requirements(), installed_version),
        judge_deepspeed(installed_version("deepspeed"), processes),
        _check_compiler(),
        check_decoders(),
    ]


def installed_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> list[str]:
    """Return the requirements of this package; empty if it runs from a checkout without being installed."""
    try:
        return metadata.requires("adamae") or []
    except metadata.PackageNotFoundError:
        return []


def check_packages(requirements: Sequence[str], version_of: Callable[[str], str | None]) -> Finding:
    """Check whether all required packages are installed and new enough.

    Args:
        requirements: Requirements as in a package's metadata: ``torch>=2.6``; those with ``; extra`` are ignored.
        version_of: Function from a package to its version, or None.
    """
    shown = [f"{name} {version}" for name in _SHOWN if (version := version_of(name))]
    value = ", ".join([f"Python {platform.python_version()}", *shown])
    wrong = []
    for requirement in requirements:
        match = re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement)
        if match is None:
            continue
        name, floor = match.groups()
        version = version_of(name)
        if version is None or _numbers(version) < _numbers(floor):
            wrong.append(f"{name} {version or 'is missing'}: expected {floor} or newer")
    return Finding("packages", value, "; ".join(wrong))


def judge_deepspeed(version: str | None, processes: int) -> Finding:
    """Check whether DeepSpeed, the default engine of runs with several processes, can be used.

    Args:
        version: The installed version; None if it is not installed.
        processes: Training processes on all machines.
    """
    reason, value = missing_or_old(version), version or "none"
    if not reason:
        return Finding("DeepSpeed", value)
    # ~= is at least this release and below the next minor version, as in pyproject.toml.
    advice = f'{reason}; for runs with several processes: pip install "deepspeed~={OLDEST}", or --engine plain'
    return Finding("DeepSpeed", value, change=advice) if processes > 1 else Finding("DeepSpeed", value, note=advice)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _check_compiler() -> Finding:
    compiler = shutil.which("c++") or shutil.which("g++")
    note = "" if compiler else "DeepSpeed and --compile need a C++ compiler (Debian: apt install g++)"
    return Finding("C++ compiler", compiler or "none", note=note)


def check_decoders() -> Finding:
    """Check whether every installed decoder decodes a test video correctly."""
    names = installed_decoders()
    if not names:
        return Finding("decoders", "none", f"install one of {', '.join(sorted(DECODERS))}")
    try:
        frames, video = _video()
    except (UserError, ImportError) as error:
        return Finding("decoders", f"{', '.join(names)} (not tried)", note=f"no video could be encoded: {error}")
    failed = {name: reason for name in names if (reason := _failure(name, frames, video))}
    value = ", ".join(f"{name} ({'fails' if name in failed else 'works'})" for name in names)
    advice = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    return Finding("decoders", value, change=advice) if "pyav" in failed else Finding("decoders", value, note=advice)


def _video() -> tuple[np.ndarray, EncodedVideo]:
    """Return frames of a moving bright square, and a video of them."""
    from adamae.data.h264_encoder import encode_h264

    frames = np.full((_FRAMES, _SIDE, _SIDE, 3), 64, dtype=np.uint8)
    for number, frame in enumerate(frames):
        frame[16:48, 4 * number : 4 * number + 32] = 192
    return frames, EncodedVideo("trial.mp4", encode_h264(frames, fps=8, gop=4, crf=18))


def _failure(name: str, frames: np.ndarray, video: EncodedVideo) -> str:
    """Return why a decoder cannot be used; empty if it can."""
    try:
        with get_decoder(name)(video) as reader:
            difference = np.abs(reader.read(range(len(frames))).astype(int) - frames).mean()
    except UserError as error:
        return str(error)
    return f"frames differ by {difference:.0f} levels from what was encoded" if difference > _TOLERANCE else ""
