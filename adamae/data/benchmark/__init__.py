"""How fast clips come, which part of making them is slow, and how the published way of making them compares."""

from adamae.data.benchmark.ladder import Ladder, Rung, compare_with_reference
from adamae.data.benchmark.report import LoaderReport, measure_loader

__all__ = ["Ladder", "LoaderReport", "Rung", "compare_with_reference", "measure_loader"]
