"""Files of features."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from adamae.errors import UserError
from adamae.evaluation.feature_files import check_feature_file, write_features
from tests.evaluation.tiny import BAD, extract


def test_an_archive_holds_everything(tmp_path: Path, test_list: Path, pretrained: Path) -> None:
    found = extract(test_list, pretrained, "time")
    write_features(tmp_path / "f.npz", found, {"level": "time"})
    with np.load(tmp_path / "f.npz") as file:
        assert np.array_equal(file["features"], found.features)
        for name in ("row", "label", "start_frame", "end_frame", "start", "end"):
            assert np.array_equal(file[name], getattr(found, name))
        assert file["path"].tolist() == found.path
        assert "not a readable video" in str(file["unread_reason"][0])
        assert json.loads(str(file["about"])) == {"level": "time"}


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_pyarrow_is_one_line() -> None:
    with pytest.raises(UserError, match=r"f.parquet: Parquet needs the package pyarrow \(pip install pyarrow\)"):
        check_feature_file("f.parquet")


def test_a_table_holds_everything(tmp_path: Path, test_list: Path, pretrained: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    found = extract(test_list, pretrained, "time")
    write_features(tmp_path / "f.parquet", found, {"level": "time"})
    table = parquet.read_table(tmp_path / "f.parquet")
    shape = json.loads(table.schema.metadata[b"shape"])
    features = np.array(table["feature"].to_pylist(), np.float32).reshape(-1, *shape)
    assert np.array_equal(features, found.features)
    assert table["path"].to_pylist() == found.path
    assert table["start"].to_pylist() == found.start.tolist()
    assert json.loads(table.schema.metadata[b"unread"])[0]["row"] == BAD


def test_an_unknown_ending() -> None:
    with pytest.raises(UserError, match=r"f.h5: unknown ending '.h5', expected one of .npz, .parquet"):
        check_feature_file("f.h5")
