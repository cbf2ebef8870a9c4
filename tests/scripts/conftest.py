"""Put scripts/benchmarks on the import path, as when its scripts are run, and provide small videos for them."""

from __future__ import annotations

import sys

from tests.data.conftest import make_video, videos  # noqa: F401
from tests.launching import ROOT

sys.path.append(str(ROOT / "scripts" / "benchmarks"))
