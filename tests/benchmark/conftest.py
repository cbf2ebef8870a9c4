"""Small videos for measurements."""

from __future__ import annotations

from tests.data.conftest import videos  # noqa: F401
