"""What lies at a path: what cannot be looked up is neither there nor missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamae.errors import UserError
from adamae.lookup import exists, is_file, is_folder


def test_what_there_is(tmp_path: Path) -> None:
    file, folder = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"")
    folder.mkdir()
    (tmp_path / "to_a").symlink_to(file)
    (tmp_path / "to_b").symlink_to(folder)
    found = {path.name: (exists(path), is_file(path), is_folder(str(path))) for path in tmp_path.iterdir()}
    a, b = (True, True, False), (True, False, True)
    assert found == {"a": a, "to_a": a, "b": b, "to_b": b}


def test_where_nothing_can_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("b", "a/b", "loop", "n" * 300, "zero\0byte"):
        assert not (exists(tmp_path / name) or is_file(tmp_path / name) or is_folder(f"{tmp_path}/{name}")), name


@pytest.mark.parametrize("look", [exists, is_file, is_folder])
def test_a_folder_that_may_not_be_entered(look: object, closed: Path) -> None:
    with pytest.raises(UserError) as raised:
        look(closed / "a")  # type: ignore[operator]
    assert str(raised.value) == f"{closed}/a: cannot be read (Permission denied)"
