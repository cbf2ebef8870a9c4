"""The messages that the guides quote are those that the code prints."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Words that the code fills in: numbers, paths, option names, words in capitals, what an ellipsis stands for, reasons
# of the operating system in parentheses.
_FILLED = re.compile(r"\([^)]*\)?|\S*[\d_/.…=*]\S*|\b[A-Z][A-Z0-9]*\b|[,;:]")
QUOTES = [
    (guide.name, quote)
    for guide in sorted(ROOT.glob("*.md"))
    for table in re.findall(
        r"^\| (?:message|symptom) \|.*?\n\n", guide.read_text("utf-8") + "\n\n", re.DOTALL | re.MULTILINE
    )
    for row in table.splitlines()[2:]
    for quote in re.findall(r"`([^`]+)`", row.split(" | ")[0])
    if " " in quote
]


@cache
def printed() -> str:
    """All texts of the code but docstrings; a NUL stands where a value is filled in, also with a plural's s."""
    texts = []
    for path in sorted((ROOT / "adamae").rglob("*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text("utf-8")))]
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                texts.append(node.value)
    return "\n".join(texts).replace("`", "").replace("\0s ", "\0 ")


def fragments(quote: str) -> list[list[str]]:
    """Runs of two and more words that the code cannot have filled in."""
    runs = [part.split() for part in _FILLED.split(quote)]
    return [words for words in runs if len(words) > 1]


def is_printed(words: list[str]) -> bool:
    """Up to two words at either end may be filled in, such as what is counted: then the code's text has a NUL there."""
    for begin in range(3):
        for end in range(len(words), len(words) - 3, -1):
            text = "\0 " * (begin > 0) + " ".join(words[begin:end]) + " \0" * (end < len(words))
            if end > begin and text in printed():
                return True
    return False


@pytest.mark.parametrize(("guide", "quote"), QUOTES)
def test_a_quoted_message_is_one_of_the_code(guide: str, quote: str) -> None:
    for words in fragments(quote):
        assert is_printed(words), f"{guide}: {' '.join(words)!r} of {quote!r} is in no text of the code"


def test_other_words_are_found_out() -> None:
    assert len(QUOTES) > 20
    assert sum(bool(fragments(quote)) for _, quote in QUOTES) > 15
    assert not is_printed(["killed", "by", "the", "system", "in", "short", "order"])
