"""What a wheel contains beside modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_files_beside_the_modules_are_installed(tmp_path: Path) -> None:
    commands = ["egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run([sys.executable, "setup.py", "--quiet", *commands], cwd=ROOT, check=True)
    installed = tmp_path / "lib" / "adamae"
    others = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.suffix not in ("", ".py")}
    page = {path.name for path in (ROOT / "adamae" / "visualize" / "page").iterdir() if path.suffix != ".py"}
    recipes = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.*") if path.is_file()}
    assert others == {"py.typed", *recipes, *(f"visualize/page/{name}" for name in page)}
