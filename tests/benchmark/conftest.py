"""Small videos to measure on."""

from __future__ import annotations

from tests.data.conftest import videos  # noqa: F401
