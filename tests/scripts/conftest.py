"""Scripts of scripts/benchmarks can be imported as they import each other when they are run; small videos for them."""

from __future__ import annotations

import sys

from tests.data.conftest import make_video, videos  # noqa: F401
from tests.launching import ROOT

sys.path.append(str(ROOT / "scripts" / "benchmarks"))
