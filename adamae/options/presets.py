"""Presets, the recipes of the documents: YAML files of options, by name or by path.

A preset is a flat mapping from option names to values. It is equivalent to a command line with these options and is
validated by the command's parser. Its key ``config`` names another preset that is read before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adamae.errors import UserError
from adamae.flags import did_you_mean
from adamae.lookup import is_file
from adamae.options.yaml_files import read_mapping

_PACKAGE = Path(__file__).resolve().parents[1]
# The name of an option that the file has, or should have instead. A name in the rest of an error, such as
# "adamae pretrain --help", is one of the command line.
_DASHES = re.compile("(^|unknown option |did you mean |use |or )--")


def configs_folder() -> Path:
    """Return the folder ``configs``: that of the installed package, or that of the repository."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


@dataclass(frozen=True)
class Preset:
    """A file of options.

    Attributes:
        path: Path of the file.
        values: Option names and values.
    """

    path: Path
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def words(self) -> list[str]:
        """Return the command line that is equivalent to the preset."""
        return words_of({key: value for key, value in self.values.items() if key != "config"})

    def expand(self, folder: str, seen: tuple[Path, ...] = ()) -> list[Preset]:
        """Return the preset and those that it is based on, in the order in which they are read.

        Args:
            folder: The command's folder below ``configs``, where other presets are searched.
            seen: Files of the presets that are based on this one.
        """
        if self.path in seen:
            raise UserError(f"{self.path}: config = {self.values['config']!r} is circular")
        if "config" not in self.values:
            return [self]
        base = find_preset(str(self.values["config"]), folder, beside=self.path.parent)
        return [*base.expand(folder, (*seen, self.path)), self]

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Context manager that adds the file to errors about its values."""
        try:
            yield
        except UserError as error:
            text = _DASHES.sub(r"\1", str(error))
            raise UserError(f"{self.path}: {text}") from None


def find_preset(name: str, folder: str, beside: Path | None = None) -> Preset:
    """Find the preset ``name``, or read the file ``name``.

    Args:
        name: A name in ``configs/folder``, or a path.
        folder: The command's folder below ``configs``.
        beside: Folder of relative paths; None: the current folder.

    Raises:
        UserError: If there is no such preset, or the file is not a mapping of options.
    """
    path = Path(name) if beside is None else beside / name
    if is_file(path):
        return Preset(path.resolve(), read_mapping(path))
    home = configs_folder() / folder
    named = home / f"{name}.yaml"
    if is_file(named):
        return Preset(named, read_mapping(named))
    if name.endswith((".yaml", ".yml")):
        raise UserError(f"--config {name}: no such file")
    known = sorted(path.stem for path in home.glob("*.yaml"))
    hint = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
    raise UserError(f"--config {name}: no such file and no recipe of that name{hint}")


def words_of(values: Mapping[str, Any]) -> list[str]:
    """Convert options by name to command-line words."""
    return [word for key, value in values.items() for word in _typed(key, value)]


def _typed(key: str, value: Any) -> list[str]:
    """Convert ``key: value`` to command-line words."""
    if isinstance(value, (list, tuple)):
        return [f"--{key}", *(str(part) for part in value)]
    if isinstance(value, bool):
        return [f"--{key}={str(value).lower()}"]
    return [f"--{key}={'none' if value is None else value}"]
