"""Feature files: NumPy archives, or Parquet for tables and vector databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adamae.errors import UserError
from adamae.evaluation.window_features import WindowFeatures
from adamae.files import check_writable, publish
from adamae.plain_text import one_line


def check_feature_file(path: str | Path) -> None:
    """Check that a file can be written, before hours of computation.

    Raises:
        UserError: If the ending is unknown, a package is missing, or the file is not writable.
    """
    suffix = Path(path).suffix
    if suffix not in WRITERS:
        raise UserError(f"{path}: unknown ending {suffix!r}, expected one of {', '.join(WRITERS)}")
    if suffix == ".parquet":
        _pyarrow(path)
    check_writable(Path(path))


def write_features(path: str | Path, found: WindowFeatures, about: Mapping[str, Any]) -> None:
    """Write features atomically.

    Args:
        path: Ends in ``.npz`` or ``.parquet``.
        found: The features.
        about: Description of the features as JSON values: ``about`` in the archive, or in the table's metadata.

    Raises:
        UserError: If the file cannot be written.
    """
    check_feature_file(path)
    target = Path(path)
    publish(target, lambda temporary: WRITERS[target.suffix](temporary, found, json.dumps(dict(about))))


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
    """Write one row per window; features are flattened, and ``shape`` in the metadata has their axes."""
    pyarrow, parquet = _pyarrow(path)
    flat = found.features.reshape(len(found.features), -1)
    values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(flat.ravel()), flat.shape[1])
    # Strings in Parquet are UTF-8, but file names may not be.
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
