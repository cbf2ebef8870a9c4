"""Names of re-encoded videos: each its own, and none longer than a file system takes."""

from __future__ import annotations

import pytest

from adamae.data.preparation.output_names import OutputNames
from adamae.files import LONGEST_NAME


def test_names_of_other_letters_stay_apart() -> None:
    names = OutputNames(["c/a b.avi", "c/a_b.avi", "c/A_B.mp4", "c/d.mkv"])
    found = [names[source] for source in ("c/a b.avi", "c/a_b.avi", "c/A_B.mp4")]
    assert all(name.lower().startswith("videos/c/a_b-") and name.endswith(".mp4") for name in found)
    assert len({name.lower() for name in found}) == 3
    assert names["c/d.mkv"] == "videos/c/d.mp4"


@pytest.mark.parametrize("letter", ["n", "é"])
@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_the_longest_names(letter: str, suffix: str) -> None:
    """The suffix of the result may be longer than the source's; two that begin alike stay apart."""
    stem = letter * ((LONGEST_NAME - len(suffix)) // len(letter.encode()) - 1)
    sources = [f"c/{stem}{last}{suffix}" for last in "xy"]
    for given in (sources, [*sources, f"c/{stem}x.mp4"]):
        names = OutputNames(given)
        found = {names[source] for source in given}
        assert len(found) == len(given)
        assert all(len(name.rpartition("/")[2].encode()) <= LONGEST_NAME for name in found)
