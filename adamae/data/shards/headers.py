"""Reads the contents of a tar file from its headers, for shards without an index."""

from __future__ import annotations

import json
import os
import re
import tarfile
from dataclasses import dataclass
from itertools import compress
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from adamae.data.decoding.image_names import IMAGE_SUFFIXES, is_image
from adamae.data.list_rows import LABEL_HEADERS, VIDEO_SUFFIXES
from adamae.data.packed_text import PackedText
from adamae.errors import UserError

BLOCK = tarfile.BLOCKSIZE
# Members of one sample share the name up to the first dot after the last slash, as in the webdataset library.
_KEY = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")
# Suffixes of members that may hold the label. By the same convention ".txt" holds a caption.
_LABEL_SUFFIXES = (".cls", ".json")
_LONGEST_LABEL = 2**16
# JSON key of a video's name in its list, in shards written by this package.
ORIGINAL_NAME = "file"


@dataclass(frozen=True)
class ShardContent:
    """The videos of one shard, in order.

    Attributes:
        offsets: (n,) int64 offset of each video in bytes.
        sizes: (n,) int64 size of each video in bytes.
        names: Name of each video: in the list that was packed, or else in the tar.
        labels: Labels as they are written; "" for no label.
    """

    offsets: np.ndarray
    sizes: np.ndarray
    names: PackedText
    labels: list[str]


def read_headers(path: str) -> ShardContent:
    """Read a tar from header to header.

    Args:
        path: Path of an uncompressed tar.

    Raises:
        UserError: The file is missing, not a tar, or truncated.
    """
    videos: list[tuple[str, tarfile.TarInfo]] = []
    facts: dict[str, dict[str, bytes]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                matched = _KEY.fullmatch(member.name)
                if matched is None or not member.isreg():
                    continue
                suffix = PurePosixPath(member.name).suffix.lower()
                # Excludes "0001.mask.png", which belongs to an image.
                if suffix in VIDEO_SUFFIXES or f".{matched[2].lower()}" in IMAGE_SUFFIXES:
                    videos.append((matched[1], member))
                elif f".{matched[2]}" in _LABEL_SUFFIXES and member.size <= _LONGEST_LABEL:
                    held = tar.extractfile(member)
                    assert held is not None
                    facts.setdefault(matched[1], {})[suffix] = held.read()
            _check_end(path, tar)
    except FileNotFoundError:
        raise UserError(f"{path}: no such shard") from None
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path}: is damaged or no tar file ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    described = [_describe(facts.get(key, {})) for key, _ in videos]
    if not all(is_image(member.name) for _, member in videos):
        # Images beside videos are previews of them, except for images of a list that was packed.
        kept = [bool(told[0]) or not is_image(member.name) for told, (_, member) in zip(described, videos, strict=True)]
        videos, described = list(compress(videos, kept)), list(compress(described, kept))
    return ShardContent(
        offsets=np.array([member.offset_data for _, member in videos], np.int64),
        sizes=np.array([member.size for _, member in videos], np.int64),
        names=PackedText.of(told[0] or member.name for told, (_, member) in zip(described, videos, strict=True)),
        labels=[label for _, label in described],
    )


def _check_end(path: str, tar: tarfile.TarFile) -> None:
    """Check for the end mark: tarfile treats a truncated file or a corrupt header as the end of the archive."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(BLOCK)
    if block != bytes(BLOCK):
        what = "it ends there without a tar's end mark: is it cut off?" if len(block) < BLOCK else "no header is there"
        raise UserError(f"{path}: damaged at byte {tar.offset}: {what}")


def _describe(facts: dict[str, bytes]) -> tuple[str, str]:
    """Return the original name and the label as text; "" for none."""
    written = _parse(facts[".json"]) if ".json" in facts else None
    name = written.get(ORIGINAL_NAME) if isinstance(written, dict) else None
    name = name if isinstance(name, str) and _is_encodable(name) else ""
    if ".cls" in facts:
        return name, _text(facts[".cls"])
    return name, _label_of(written)


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _is_encodable(text: str) -> bool:
    """Return whether text can be encoded: JSON strings may contain a lone surrogate (U+D800)."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _label_of(written: Any) -> str:
    """Return the label in a JSON member: the value itself, or that of one of the usual keys."""
    if isinstance(written, dict):
        written = next((written[name] for name in LABEL_HEADERS if name in written), None)
    if isinstance(written, (int, str)) and not isinstance(written, bool):
        text = str(written).strip()
        return text if _is_encodable(text) else ""
    return ""


def _text(raw: bytes) -> str:
    """Return UTF-8 text on one line, with single spaces."""
    return " ".join(raw.decode("utf-8", "replace").split())
