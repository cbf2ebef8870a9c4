"""Describe the contents of a file in a few numbers: enough to detect a change, and short enough to read."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import yaml
from PIL import Image
from safetensors import safe_open

from tests.behaviour.texts import is_volatile, normal_lines, normal_value

Places = Mapping[str, str]
_LONG = 64


def contents_of(path: Path, places: Places) -> Any:
    """Describe a file such that two runs of the same code give the same description."""
    if path.is_symlink():
        return {"link": normal_lines(str(path.readlink()), places)}
    if path.name.startswith("events.out.tfevents."):
        return _events(path)
    if path.name == ".lock":
        return {"lock": True}
    return described(path.suffix.lower(), path.read_bytes(), places)


def described(suffix: str, data: bytes, places: Places) -> Any:
    """Describe the bytes of a file with the given suffix."""
    reader = _READERS.get(suffix, _lines)
    try:
        return reader(data, places)
    except Exception as error:
        return {"unread": f"{type(error).__name__}: {error}"[:200], **_digest(data)}


def _digest(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha": hashlib.sha256(data).hexdigest()[:16]}


def array_numbers(array: np.ndarray | torch.Tensor) -> dict[str, Any]:
    """Return shape, sum, norm and a digest of the bits."""
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu().contiguous()
        kind = str(array.dtype).removeprefix("torch.")
        bits = array.reshape(-1).view(torch.uint8).numpy().tobytes() if array.numel() else b""
        numbers = array.to(torch.float64).numpy()
    else:
        kind, bits = str(array.dtype), array.tobytes()
        if array.dtype.kind not in "biuf":
            return {"dtype": kind, "shape": list(array.shape), "values": _short(array.reshape(-1).tolist())}
        numbers = array.astype(np.float64)
    sums = (float(np.nansum(numbers)), float(np.sqrt(np.nansum(numbers**2))), int(np.isnan(numbers).sum()))
    named = dict(zip(("sum", "norm", "nans"), sums, strict=True))
    return {"dtype": kind, "shape": list(array.shape), **named, "bits": hashlib.sha256(bits).hexdigest()[:12]}


def _short(values: list[Any]) -> Any:
    if len(values) <= _LONG:
        return [str(value) if isinstance(value, bytes | np.generic) else value for value in values]
    return {"count": len(values), "first": str(values[:4]), **_digest(repr(values).encode())}


def tree(value: Any, places: Places) -> Any:
    """Describe a pickled object, with tensors described by their numbers."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return array_numbers(value)
    if isinstance(value, Mapping):
        return {
            str(key): "<volatile>" if is_volatile(str(key)) else tree(other, places) for key, other in value.items()
        }
    if isinstance(value, list | tuple):
        if len(value) > _LONG and all(isinstance(number, int | float) for number in value):
            return array_numbers(np.array(value))
        return [tree(other, places) for other in value]
    if isinstance(value, str) and value[:1] in "[{":
        return _json_text(value, places)
    if isinstance(value, bytes):
        return _digest(value)
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return {"type": type(value).__name__, **tree(vars(value), places)}
    return normal_value(value, places)


def _json_text(text: str, places: Places) -> Any:
    try:
        return normal_value(json.loads(text), places)
    except ValueError:
        return normal_value(text, places)


def _json(data: bytes, places: Places) -> Any:
    return {"json": normal_value(json.loads(data), places)}


def _json_lines(data: bytes, places: Places) -> Any:
    return {"jsonl": [normal_value(json.loads(line), places) for line in data.decode().splitlines()]}


def _yaml(data: bytes, places: Places) -> Any:
    return {"yaml": normal_value(yaml.safe_load(data), places)}


def _csv(data: bytes, places: Places) -> Any:
    rows = list(csv.reader(io.StringIO("\n".join(normal_lines(data.decode(), places)))))
    return {"rows": [[_number_or_text(cell) for cell in row] for row in rows]}


def _number_or_text(cell: str) -> Any:
    try:
        return float(f"{float(cell):.9g}")
    except ValueError:
        return cell


def _lines(data: bytes, places: Places) -> Any:
    try:
        return {"lines": normal_lines(data.decode(), places)}
    except UnicodeDecodeError:
        return _digest(data)


def _safetensors(data: bytes, places: Places) -> Any:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(data)
        file.flush()
        with safe_open(file.name, "pt") as opened:
            tensors = {name: array_numbers(opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118
            return {"metadata": tree(opened.metadata() or {}, places), "tensors": tensors}


def _torch(data: bytes, places: Places) -> Any:
    try:
        return {"torch": tree(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), places)}
    except Exception as error:
        import argparse

        with torch.serialization.safe_globals([argparse.Namespace]):
            del error
            return {"torch": tree(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), places)}


def _npz(data: bytes, places: Places) -> Any:
    with np.load(io.BytesIO(data)) as arrays:
        if {"keys", "counts"} <= set(arrays.files):
            # Frame counts, whose keys are digests of path and modification time of each video.
            counts = {"shape": list(arrays["keys"].shape), "counts": sorted(arrays["counts"].tolist())}
            others = {name: _array(arrays[name], places) for name in arrays.files if name not in ("keys", "counts")}
            return {"arrays": {**counts, **others}}
        return {"arrays": {name: _array(arrays[name], places) for name in arrays.files}}


def _array(array: np.ndarray, places: Places) -> Any:
    if array.dtype.kind == "U":
        values = array.reshape(-1).tolist()
        return {"shape": list(array.shape), "values": _short([_json_text(str(value), places) for value in values])}
    return array_numbers(array)


def _picture(data: bytes, places: Places) -> Any:
    with Image.open(io.BytesIO(data)) as picture:
        frames, shown = getattr(picture, "n_frames", 1), hashlib.sha256()
        for number in range(frames):
            picture.seek(number)
            shown.update(picture.convert("RGB").tobytes())
        return {"size": list(picture.size), "frames": frames, "pixels": shown.hexdigest()[:16]}


def _video(data: bytes, places: Places) -> Any:
    with av.open(io.BytesIO(data)) as container:
        stream, shown, times = container.streams.video[0], hashlib.sha256(), []
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            shown.update(frame.to_ndarray(format="rgb24").tobytes())
            times.append(round(float(frame.time), 6) if frame.time is not None else None)
        size = [stream.codec_context.width, stream.codec_context.height]
        facts = {"size": size, "frames": len(times), "last": times[-1], "rate": str(stream.average_rate)}
        return {**facts, "pixels": shown.hexdigest()[:16], **_digest(data)}


def _page(data: bytes, places: Places) -> Any:
    """Describe the text of a page, and its images separately."""
    embedded: list[Any] = []

    def take(found: re.Match[str]) -> str:
        embedded.append(
            {"type": found[1], **described(f".{found[1].split('/')[-1]}", base64.b64decode(found[2]), places)}
        )
        return "<embedded>"

    text = re.sub(r"data:([\w/+-]+);base64,([A-Za-z0-9+/=]+)", take, data.decode())
    drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    scripts = re.findall(r"<script.*?</script>", text, re.DOTALL)
    shown = re.sub(r"<(script|style|svg).*?</\1>", " ", text, flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>", "\n", shown)
    return {
        "embedded": embedded,
        "drawings": [{"elements": drawing.count("<"), **_digest(drawing.encode())} for drawing in drawn],
        "scripts": [_digest(script.encode()) for script in scripts],
        "text": [line.strip() for line in normal_lines(shown, places) if line.strip()],
    }


def _archive(data: bytes, places: Places) -> Any:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive if member.isfile()]
        described_members = [
            [name, described(Path(name).suffix, file.read(), places)] for name, file in members if file is not None
        ]
    return {"members": described_members}


def _events(path: Path) -> Any:
    """Describe the scalars and images of a TensorBoard file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {
        tag: [
            [entry.step, "<volatile>" if is_volatile(tag.replace("/", "_")) else _finite(entry.value)]
            for entry in events.Scalars(tag)
        ]
        for tag in tags["scalars"]
    }
    images = {
        tag: [[entry.step, _picture(entry.encoded_image_string, {})] for entry in events.Images(tag)]
        for tag in tags["images"]
    }
    return {"scalars": scalars, "images": images, "tensors": tags["tensors"]}


def _finite(value: float) -> Any:
    return float(f"{value:.9g}") if math.isfinite(value) else str(value)


_READERS: dict[str, Callable[[bytes, Places], Any]] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".yaml": _yaml,
    ".csv": _csv,
    ".safetensors": _safetensors,
    **dict.fromkeys((".pt", ".pth", ".bin"), _torch),
    **dict.fromkeys((".npz",), _npz),
    **dict.fromkeys((".png", ".gif", ".jpg", ".jpeg"), _picture),
    **dict.fromkeys((".mp4", ".mkv", ".webm", ".avi"), _video),
    ".html": _page,
    ".tar": _archive,
}
