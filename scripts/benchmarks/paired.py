"""Paired comparisons over seeds: the mean difference, its 95 % interval by Student's t, and the conclusion."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from compare_pretraining import margin


@dataclass(frozen=True)
class Difference:
    """Difference of two rows over the seeds that both have.

    Attributes:
        seeds: Number of seeds.
        mean: Mean of the paired differences.
        margin: Half the width of the 95 % interval; infinite for one seed.
    """

    seeds: int
    mean: float
    margin: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.margin

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.margin

    def render(self) -> str:
        """Format the mean and the interval."""
        if self.seeds < 2:
            return f"{self.mean:+.1f}"
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def paired_difference(one: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """Return the difference of two rows, given their values by seed; None if they have no seed in common."""
    differences = [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
    if not differences:
        return None
    return Difference(len(differences), statistics.fmean(differences), margin(differences))


def compare(difference: Difference | None) -> str:
    """Return "better" or "worse" if the interval excludes zero, else "not decided"; "not yet" below two seeds."""
    if difference is None or difference.seeds < 2:
        return "not yet"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not decided"


def answer_order(difference: Difference | None) -> str:
    """Return whether the published order "one above the other" is reproduced."""
    answers = {"better": "reproduced", "worse": "not reproduced (the opposite)"}
    verdict = compare(difference)
    return answers.get(verdict, verdict)


def answer_near(difference: Difference | None, tolerance: float) -> str:
    """Return whether the published statement "one is about as good as the other" is reproduced.

    Args:
        difference: Difference of the two rows.
        tolerance: It is reproduced if the complete interval is within this distance of zero.
    """
    if difference is None or difference.seeds < 2:
        return "not yet"
    if -tolerance <= difference.low and difference.high <= tolerance:
        return "reproduced"
    apart = difference.low > tolerance or difference.high < -tolerance
    return "not reproduced" if apart else "not decided"


def answer_enough(less: Difference | None, tolerance: float) -> str:
    """Return whether the published statement "more does not help" is reproduced.

    Args:
        less: Result with more, minus that of the published choice.
        tolerance: It is reproduced if the upper end of the interval is at most this.
    """
    if less is None or less.seeds < 2:
        return "not yet"
    if less.high <= tolerance:
        return "reproduced"
    return "not reproduced" if less.low > tolerance else "not decided"
