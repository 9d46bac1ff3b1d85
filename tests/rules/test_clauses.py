"""The contract's last chapter says what to do instead of the seed; each of its recommendations has a test."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

CHAPTERS = {
    "C19.1": range(1, 6),
    "C19.2": range(6, 18),
    "C19.3": range(18, 27),
    "C19.4": range(27, 33),
    "C19.5": range(33, 44),
    "C19.6": range(44, 53),
    "C19.7": range(53, 60),
    "C19.8": range(60, 65),
}
"""Section of C19, and the numbers of its recommendations."""


def cited() -> set[str]:
    texts = (path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    return {match for text in texts for match in re.findall(r"\bO\d+\b", text)}


@pytest.mark.parametrize("section", CHAPTERS)
def test_every_recommendation_of_the_section_is_cited_by_a_test(section: str) -> None:
    assert not {f"O{number}" for number in CHAPTERS[section]} - cited()
