"""YAML files with options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adamae.errors import UserError


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the mapping from option names to values in a file.

    Raises:
        UserError: If the file cannot be read or is not a mapping.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise UserError(f"{path}: is not YAML of options: it is nested too deeply") from error
    # An invalid tagged value (the 45th of a month, "!!int x") raises any error of its conversion.
    except Exception as error:
        raise UserError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: expected lines of the form 'option: value'")
    for name, value in content.items():
        # Nested aliases could expand to fill the memory.
        if any(isinstance(part, list | dict | set) for part in (value if isinstance(value, list) else [value])):
            raise UserError(
                f"{path}: {name}: expected a value or a list of values, got a nested {type(value).__name__}"
            )
    return content
