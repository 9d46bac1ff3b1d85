"""The checker of histories itself: known good and known bad ones, and against trying every order."""

import itertools
import math
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import EMPTY, FREE, Called, is_linearizable, lease, register


def save(data: str, expected: int | None, began: float, ended: float, *told: object) -> Called:
    return Called(("save", data, expected), told or None, began, ended)


def read(version: int, data: str, began: float, ended: float) -> Called:
    return Called(("read",), (version, data), began, ended)


def lost(data: str, expected: int | None, began: float) -> Called:
    """A save of which nothing was heard."""
    return Called(("save", data, expected), None, began)


GOOD = {
    "nothing": [],
    "one after the other": [save("x", 0, 0, 1, "saved", 1), read(1, "x", 2, 3), save("y", 1, 4, 5, "saved", 2)],
    "a read beside a save sees it": [save("x", 0, 0, 3, "saved", 1), read(1, "x", 1, 2)],
    "a read beside a save does not see it": [save("x", 0, 0, 3, "saved", 1), read(0, "", 1, 2)],
    "of two saves one wins": [save("x", 0, 0, 3, "saved", 1), save("y", 0, 1, 2, "conflict", 1), read(1, "x", 4, 5)],
    "the later one to begin wins": [save("x", 0, 0, 9, "conflict", 1), save("y", 0, 1, 2, "saved", 1)],
    "whatever is there": [save("x", None, 0, 5, "saved", 2), save("y", None, 1, 2, "saved", 1), read(2, "x", 6, 7)],
    "an unheard save was done": [lost("x", 0, 0), read(1, "x", 1, 2)],
    "an unheard save was done late": [lost("x", 0, 0), read(0, "", 1, 2), read(1, "x", 3, 4)],
    "an unheard save was never done": [lost("x", 0, 0), save("y", 0, 1, 2, "saved", 1), read(1, "y", 3, 4)],
}

BAD = {
    "a lost update": [save("x", 0, 0, 1, "saved", 1), save("y", 0, 2, 3, "saved", 1)],
    "a lost update of two at once": [save("x", 0, 0, 3, "saved", 1), save("y", 0, 1, 2, "saved", 1)],
    "a stale read": [save("x", 0, 0, 1, "saved", 1), save("y", 1, 2, 3, "saved", 2), read(1, "x", 4, 5)],
    "reads that go back": [save("x", 0, 0, 9, "saved", 1), read(1, "x", 1, 2), read(0, "", 3, 4)],
    "a read of nobody's save": [save("x", 0, 0, 1, "saved", 1), read(1, "y", 2, 3)],
    "a version that was left out": [save("x", 0, 0, 1, "saved", 2)],
    "a conflict with nothing": [save("x", 0, 0, 1, "conflict", 0)],
    "a conflict with what came later": [save("x", 0, 0, 1, "conflict", 1), save("y", 0, 2, 3, "saved", 1)],
    "a save that was refused and is there": [
        save("x", 0, 0, 1, "saved", 1),
        save("y", 0, 2, 3, "conflict", 1),
        read(2, "y", 4, 5),
    ],
    "an unheard save that was done twice": [lost("x", None, 0), read(1, "x", 1, 2), read(2, "x", 3, 4)],
    "an unheard save that was done before it began": [read(1, "x", 0, 1), lost("x", 0, 2)],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_can_have_been_is_accepted(name: str) -> None:
    assert is_linearizable(GOOD[name], EMPTY, register)


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_have_been_is_found(name: str) -> None:
    assert not is_linearizable(BAD[name], EMPTY, register)


def take(began: float, ended: float, *told: object) -> Called:
    return Called(("take",), told or None, began, ended)


def give(fence: int, began: float, ended: float) -> Called:
    return Called(("give", fence), ("done",), began, ended)


@pytest.mark.parametrize(
    ("history", "good"),
    [
        ([take(0, 1, "lease", 1), take(2, 3, "taken"), give(1, 4, 5), take(6, 7, "lease", 2)], True),
        ([take(0, 1, "lease", 1), give(1, 2, 9), take(3, 4, "lease", 2)], True),
        ([take(0, 9, "taken"), take(1, 2, "lease", 1)], True),
        ([take(0, math.inf), take(1, 2, "taken")], True),
        ([take(0, 1, "lease", 1), take(2, 3, "lease", 2)], False),
        ([take(0, 3, "lease", 1), take(1, 2, "lease", 1)], False),
        ([take(0, 1, "taken")], False),
        ([take(0, 1, "lease", 1), give(1, 2, 3), take(4, 5, "taken")], False),
        ([take(0, 1, "lease", 1), give(1, 2, 3), take(4, 5, "lease", 1)], False),
        ([take(0, 1, "lease", 1), Called(("give", 7), ("done",), 2, 3), take(4, 5, "lease", 2)], False),
    ],
)
def test_a_lease_is_one_holders_at_a_time_and_its_numbers_grow(history: list[Called], good: bool) -> None:
    assert is_linearizable(history, FREE, lease) is good


def in_some_order(history: Sequence[Called]) -> bool:
    """The same by trying every order of every choice of the unheard ones."""
    unheard = [call for call in history if call.told is None]
    heard = [call for call in history if call.told is not None]
    for count in range(len(unheard) + 1):
        for done in itertools.combinations(unheard, count):
            if any(_fits(order) for order in itertools.permutations([*heard, *done])):
                return True
    return False


def _fits(order: Sequence[Called]) -> bool:
    state = EMPTY
    for number, call in enumerate(order):
        after = next(register(state, call.asked, call.told), None)
        if after is None or any(later.ended < call.began for later in order[number:]):
            return False
        state = after
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Called]:
    """Up to five calls that overlap, and what may have come of them or may not."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        began = draw(st.integers(0, 6))
        ended = began + draw(st.integers(1, 6))
        version = draw(st.integers(0, 2))
        match draw(st.sampled_from(["read", "save", "save", "lost"])):
            case "read":
                found.append(read(version, draw(st.sampled_from(["", "0", "1", "2"])), began, ended))
            case "lost":
                found.append(lost(str(number), draw(st.sampled_from([None, 0, 1])), began))
            case _:
                told = draw(st.sampled_from([("saved", version + 1), ("conflict", version)]))
                found.append(save(str(number), draw(st.sampled_from([None, 0, 1])), began, ended, *told))
    return found


@given(histories())
def test_it_says_what_trying_every_order_says(history: list[Called]) -> None:
    assert is_linearizable(history, EMPTY, register) is in_some_order(history)


@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_what_was_done_in_an_order_is_accepted_and_one_wrong_answer_is_found(chance: Random, count: int) -> None:
    """Calls by a few callers at once, each done at a moment between its beginning and its end."""
    state, history = EMPTY, []
    for moment in range(count):
        began, ended = moment - chance.random() * 4, moment + chance.random() * 4
        if chance.random() < 0.3:
            history.append(read(*state, began, ended))
            continue
        expected = chance.choice([None, state[0], state[0], chance.randint(0, count)])
        fits = expected in {None, state[0]}
        told = ("saved", state[0] + 1) if fits else ("conflict", state[0])
        history.append(save(f"{moment}", expected, began, ended, *told))
        state = (state[0] + 1, f"{moment}") if fits else state

    assert is_linearizable(history, EMPTY, register)
    assert not is_linearizable([*history, read(state[0], "nobody's", 0, count)], EMPTY, register)
