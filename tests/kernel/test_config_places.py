"""Every problem is told at the very characters that it is about, however the file is written."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from turnout._config import parse_config
from turnout._places import Place, Source
from turnout._problems import Problem, Spot
from turnout.errors import ConfigError

WRONG = date(2026, 11, 23)
"""A value that no free table takes."""

KEYS = st.sampled_from(["a", "b", "c-d", "with space", "dot.ted", 'quo"te', "ünï", "#"])
LEAVES = st.integers() | st.booleans() | st.text(max_size=8) | st.just(WRONG)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


def count(value: object) -> int:
    if isinstance(value, dict):
        return sum(count(item) for item in value.values())
    if isinstance(value, list):
        return sum(count(item) for item in value)
    return int(value == WRONG)


@given(TREES, st.sampled_from(["", "# a comment\n", 'title = """\n[not a header]\n"""\n']), st.booleans())
def test_each_wrong_value_of_any_tree_is_pointed_at(tree: Mapping[str, Any], before: str, crlf: bool) -> None:
    """H2: file, line, column."""
    text = f"{before}{tomlkit.dumps({'frontends': {'door': tree}})}"
    lines = text.split("\n")
    try:
        parse_config(text.replace("\n", "\r\n") if crlf else text)
        problems: tuple[str, ...] = ()
    except ConfigError as error:
        problems = tuple(problem for problem in error.problems if "write dates" in problem)
    places = [re.match(r"turnout\.toml:(\d+):(\d+): frontends\.door\.", problem) for problem in problems]

    assert len(places) == count(tree)
    for place in places:
        assert place is not None
        assert lines[int(place[1]) - 1][int(place[2]) - 1 :].startswith("2026-11-23")
    assert len({place.groups() for place in places if place}) == len(places)


LAYOUT = """\
# [comment]
dotted.in.root = 1

[ a . "b c" ] # header
x = 1
	tabbed = 2
arr = [
  1,
  "[two]", # [three]
  { k = 1, "l m" = [2, 3] },
]
[empty]
[[list]]
[[list]]
n = '''
[list]
'''
sub.x = 1
[list.deep]
y = 1
[late.only.child]
z = 1
[a.again]
w = 1
"""


@pytest.mark.parametrize(
    ("path", "spot", "place"),
    [
        (("dotted", "in", "root"), Spot.VALUE, (2, 18)),
        (("dotted", "in", "root"), Spot.KEY, (2, 11)),
        (("dotted", "in"), Spot.KEY, (2, 1)),
        (("a", "b c"), Spot.KEY, (4, 1)),
        (("a", "b c", "missing"), Spot.TABLE, (4, 1)),
        (("a", "b c", "x"), Spot.VALUE, (5, 5)),
        (("a", "b c", "tabbed"), Spot.KEY, (6, 2)),
        (("a", "b c", "arr"), Spot.VALUE, (7, 7)),
        (("a", "b c", "arr", 1), Spot.VALUE, (9, 3)),
        (("a", "b c", "arr", 2), Spot.VALUE, (10, 3)),
        (("a", "b c", "arr", 2, "l m"), Spot.KEY, (10, 12)),
        (("a", "b c", "arr", 2, "l m", 1), Spot.VALUE, (10, 24)),
        (("a", "b c", "arr", 2, "missing"), Spot.TABLE, (10, 3)),
        (("empty",), Spot.KEY, (12, 1)),
        (("empty", "missing"), Spot.TABLE, (12, 1)),
        (("list",), Spot.VALUE, (13, 1)),
        (("list", 0, "missing"), Spot.TABLE, (13, 1)),
        (("list", 1), Spot.VALUE, (14, 1)),
        (("list", 1, "n"), Spot.VALUE, (15, 5)),
        (("list", 1, "sub", "x"), Spot.VALUE, (18, 9)),
        (("list", 1, "deep", "y"), Spot.VALUE, (20, 5)),
        (("late",), Spot.KEY, (21, 1)),
        (("late", "only", "child", "z"), Spot.VALUE, (22, 5)),
        (("a", "again", "w"), Spot.VALUE, (24, 5)),
        ((), Spot.VALUE, (1, 1)),
        (("missing",), Spot.TABLE, (1, 1)),
    ],
)
def test_every_way_to_write_a_key_has_its_place(path: tuple[str | int, ...], spot: Spot, place: Place) -> None:
    source = Source(LAYOUT, "t.toml")

    assert source.find(Problem(path, "", spot=spot)) == place
    assert source.find(Problem(path, "", spot=spot)) == place  # finding leaves everything as it was


def test_a_place_that_cannot_be_found_leaves_the_path() -> None:
    assert Source("a = 1", "t.toml").report([Problem(("b", "c"), "wrong")]) == ("t.toml: b.c: wrong",)


def test_a_caret_stands_under_its_character_behind_tabs_and_masked_texts() -> None:
    (told,) = Source('\tt = { api_key = "long secret", x = 1 }', "t").report([Problem(("t", "x"), "wrong")])

    assert told == 't:1:37: t.x: wrong\n    \tt = { api_key = "***", x = 1 }\n    \t                           ^'


def test_an_array_that_begins_a_line_is_no_header_whose_texts_may_be_shown() -> None:
    """S40."""
    source = Source('[a]\nkeys = [\n  ["long secret"],\n]\n[ "b" ]\nx = 1', "t")

    assert source.report([Problem(("a", "keys", 0), "wrong")]) == ('t:3:3: a.keys[0]: wrong\n      ["***"],\n      ^',)
    assert source.report([Problem(("b",), "wrong")]) == ('t:5:1: b: wrong\n    [ "b" ]\n    ^',)
