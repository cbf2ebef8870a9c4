"""Features as a file: a NumPy archive, or Parquet for tables and vector stores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adamae.errors import UserError
from adamae.evaluation.features import WindowFeatures
from adamae.files import check_writable, publish
from adamae.plain_text import one_line


def check_feature_file(path: str | Path) -> None:
    """Refuse a file that could not be written, before hours of work.

    Raises:
        UserError: If the ending is unknown, a package is missing, or nothing can be written there.
    """
    suffix = Path(path).suffix
    if suffix not in WRITERS:
        raise UserError(f"{path}: unknown ending {suffix!r}, expected one of {', '.join(WRITERS)}")
    if suffix == ".parquet":
        _pyarrow(path)
    check_writable(Path(path))


def write_features(path: str | Path, found: WindowFeatures, about: Mapping[str, Any]) -> None:
    """Write features whole or not at all.

    Args:
        path: Ends in ``.npz`` or ``.parquet``.
        found: The features.
        about: What they are, as JSON: stands in ``about`` of the archive, or in the table's metadata.

    Raises:
        UserError: If it cannot be written.
    """
    check_feature_file(path)
    place = Path(path)
    publish(place, lambda temporary: WRITERS[place.suffix](temporary, found, json.dumps(dict(about))))


def _columns(found: WindowFeatures) -> dict[str, Any]:
    return {
        "row": found.row,
        "path": found.path,
        "label": found.label,
        "start_frame": found.start_frame,
        "end_frame": found.end_frame,
        "start": found.start,
        "end": found.end,
    }


def _write_archive(path: Path, found: WindowFeatures, about: str) -> None:
    arrays: dict[str, Any] = {
        "features": found.features,
        **{name: np.asarray(column) for name, column in _columns(found).items()},
        "unread_path": np.array([video.path for video in found.unread], dtype=str),
        "unread_reason": np.array([video.reason for video in found.unread], dtype=str),
        "about": np.array(about),
    }
    np.savez(path, **arrays)


def _write_parquet(path: Path, found: WindowFeatures, about: str) -> None:
    """One row for each window; features of several axes lie flat, and ``shape`` in the metadata tells how."""
    pyarrow, parquet = _pyarrow(path)
    flat = found.features.reshape(len(found.features), -1)
    values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(flat.ravel()), flat.shape[1])
    # Its texts are UTF-8, which names of files need not be.
    columns = _columns(found) | {"path": [one_line(path) for path in found.path]}
    table = pyarrow.table({**columns, "feature": values})
    metadata = {"about": about, "shape": json.dumps(found.features.shape[1:])}
    metadata["unread"] = json.dumps([vars(video) for video in found.unread])
    parquet.write_table(table.replace_schema_metadata(metadata), path)


def _pyarrow(path: str | Path) -> tuple[Any, Any]:
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
        import pyarrow.parquet as parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise UserError(
            f"{path}: Parquet needs the package pyarrow (pip install pyarrow); .npz needs nothing more"
        ) from error
    return pyarrow, parquet


WRITERS: dict[str, Callable[[Path, WindowFeatures, str], None]] = {
    ".npz": _write_archive,
    ".parquet": _write_parquet,
}
