"""Paired comparisons over seeds: the mean difference, its 95 % interval by Student's t, and what follows from it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from compare_pretraining import margin


@dataclass(frozen=True)
class Difference:
    """One less the other, over the seeds that both have.

    Attributes:
        seeds: How many.
        mean: Of the paired differences.
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
        """Mean and interval."""
        if self.seeds < 2:
            return f"{self.mean:+.1f}"
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def paired_difference(one: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """Of two rows' values by seed; None where they share no seed."""
    differences = [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
    if not differences:
        return None
    return Difference(len(differences), statistics.fmean(differences), margin(differences))


def compare(difference: Difference | None) -> str:
    """The claim that the interval allows; none where it holds zero."""
    if difference is None or difference.seeds < 2:
        return "not yet"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not decided"


def answer_order(difference: Difference | None) -> str:
    """Whether a published order "one above the other" was seen."""
    answers = {"better": "reproduced", "worse": "not reproduced (the opposite)"}
    verdict = compare(difference)
    return answers.get(verdict, verdict)


def answer_near(difference: Difference | None, tolerance: float) -> str:
    """Whether a published statement "one is about as good as the other" was seen.

    Args:
        difference: Of the two.
        tolerance: They are near when the whole interval is within this of zero.
    """
    if difference is None or difference.seeds < 2:
        return "not yet"
    if -tolerance <= difference.low and difference.high <= tolerance:
        return "reproduced"
    apart = difference.low > tolerance or difference.high < -tolerance
    return "not reproduced" if apart else "not decided"


def answer_enough(less: Difference | None, tolerance: float) -> str:
    """Whether a published statement "more does not help" was seen.

    Args:
        less: More less the published choice.
        tolerance: More does not help when the upper end of the interval is at most this.
    """
    if less is None or less.seeds < 2:
        return "not yet"
    if less.high <= tolerance:
        return "reproduced"
    return "not reproduced" if less.low > tolerance else "not decided"
