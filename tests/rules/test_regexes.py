"""No regular expression of ours takes a time that grows faster than its text (S55)."""

import ast
import re
import re._constants as sre  # type: ignore[import-not-found]  # the parser that `re` itself uses
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "kernel/turnout", *ROOT.glob("plugins/*/turnout_*")]
GREEDY = {sre.MAX_REPEAT, sre.MIN_REPEAT}  # possessive ones give nothing back


def patterns() -> Iterator[Any]:
    for path in (file for package in PACKAGES for file in sorted(package.rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    yield pytest.param(first.value, id=f"{path.relative_to(ROOT)}:{node.lineno}")


def repeats(tree: Any) -> Iterator[Any]:
    """Bodies of everything that may be repeated without end, wherever in the tree."""
    for operator, value in tree:
        if operator in GREEDY and value[1] is sre.MAXREPEAT:
            yield value[2]
        for inner in value if isinstance(value, tuple | list) else ():
            if isinstance(inner, parser.SubPattern):
                yield from repeats(inner)
            elif isinstance(inner, list):
                yield from (
                    each for branch in inner if isinstance(branch, parser.SubPattern) for each in repeats(branch)
                )


def is_nested(pattern: str | bytes) -> bool:
    """Whether a repetition holds another one that could begin anew in its middle.

    One that begins or ends with a character which the inner one cannot take has a single reading: `(-[a-z]+)*`.
    """
    for body in repeats(parser.parse(pattern)):
        inner = list(repeats(body))
        if inner and not any(parts(edge, inner) for edge in (body[0], body[-1])):
            return True
    return False


def parts(edge: Any, inner: list[Any]) -> bool:
    """Whether this beginning or end of a body is a character that no repetition in it takes."""
    operator, value = edge
    if operator is sre.SUBPATTERN:
        operator, value = value[3][0]
    return operator is sre.LITERAL and not any(takes(each, chr(value)) for each in inner)


def takes(body: Any, character: str) -> bool:
    """Whether a repeated body that is one character or class may take this one; anything longer may."""
    return len(body) != 1 or re._compiler.compile(body, 0).match(character) is not None  # type: ignore[attr-defined]


SOUND = {r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+"}
"""Ends with a unit, of which no digit is one."""


@pytest.mark.parametrize("pattern", list(patterns()))
def test_no_repetition_holds_another_that_could_read_its_text(pattern: str | bytes) -> None:
    """S55."""
    assert pattern in SOUND or not is_nested(pattern)


@pytest.mark.parametrize(
    ("pattern", "nested"),
    [
        ("(a+)+", True),
        ("(a*b*)*", True),
        ("(?:x|y+)*", True),
        ("(-[a-z]+)*", False),
        ("(a[a-z]+)*", True),
        ("a+b*", False),
    ],
)
def test_the_law_finds_what_it_forbids(pattern: str, nested: bool) -> None:
    assert is_nested(pattern) == nested
