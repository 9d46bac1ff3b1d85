"""How it is found out whether each law of the kit has a broken plugin: `kit_laws`, on a small check."""

from types import ModuleType

import pytest
from kit_laws import laws_of, unproven

SOURCE = """
_law = Laws("Thing", "Things")

def check(thing):
    _law(thing.one, "it has one")
    _law(thing.two, f"it has {2} of them")
    _law(thing.one, "it has one")
    _given(thing.three)
    _given(thing.four, "it has four")

def _given(what, law="it has three"):
    _law(what, law)
"""


def laws(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("inspect.getsource", lambda _: SOURCE)
    return laws_of(ModuleType("check"))


def test_a_law_that_no_pattern_is_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unproven(laws(monkeypatch), ["one"]) == ["it has … of them", "it has three", "it has four"]
    assert unproven(laws(monkeypatch), ["one", "it has 2 of them", "three", "four"]) == []


@pytest.mark.parametrize(("pattern", "count"), [("it has", 4), ("five", 0)])
def test_a_pattern_is_for_one_law(pattern: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=f"is for {count} laws"):
        unproven(laws(monkeypatch), [pattern])
