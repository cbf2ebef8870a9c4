"""The type of a batch, apart from the loader: steps are timed where the packages of the loader are not installed."""

from __future__ import annotations

from typing import Any

# Entries of a batch by name: "clip", "seed", "label", "index", and others of the objective.
Batch = dict[str, Any]
