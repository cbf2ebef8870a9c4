"""Text output for users and programs."""

import pytest

from adamae.plain_text import first_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("one line", "one line"),
        ("first\nsecond", "first"),
        ("\n \n  third  \n", "third"),
        ("", "ValueError"),
        ("\n", "ValueError"),
    ],
)
def test_the_first_line_of_an_error(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line
