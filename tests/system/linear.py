"""Whether a history of concurrent calls is that of one thing that does them one after the other (G6). Pure.

Wing and Gong's search ("Testing and Verifying Concurrent Objects", 1993): take any call that may have been the first of
those left, see whether what was told of it fits, and go on; with Lowe's memory ("Testing for linearizability", 2017) of
the sets of calls and states that were tried. The thing is a function that gives the states after a call.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import attrs

S = TypeVar("S", bound=Hashable)


@attrs.frozen
class Called:
    """One call, as its caller saw it.

    Attributes:
        asked: what was asked.
        told: what came back. None: nothing did, so that it was done at some time after it began, or never.
        began, ended: by one clock for all; `ended` is infinite when nothing came back.
    """

    asked: tuple[Any, ...]
    told: tuple[Any, ...] | None
    began: float
    ended: float = math.inf


Step = Callable[[S, tuple[Any, ...], tuple[Any, ...] | None], Iterable[S]]
"""Gives the states that may follow one, when this was asked and that was told; none when it cannot be."""


def is_linearizable(history: Iterable[Called], start: S, step: "Step[S]") -> bool:
    """Whether there is an order of the calls in which each was done between its beginning and its end."""
    calls = sorted(history, key=lambda call: call.began)
    heard = sum(1 << number for number, call in enumerate(calls) if call.told is not None)
    tried: set[tuple[int, S]] = set()
    left = [(0, start)]
    while left:
        done, state = left.pop()
        if done & heard == heard:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        for number in _first_ones(calls, done):
            call = calls[number]
            after = step(state, call.asked, call.told)  # an unheard one that changes nothing need not have been done
            left += [(done | 1 << number, one) for one in after if call.told is not None or one != state]
    return False


def _first_ones(calls: Sequence[Called], done: int) -> Iterator[int]:
    """Those not done of which no other one ended before they began."""
    open = [number for number in range(len(calls)) if not done >> number & 1]
    soonest = min(calls[number].ended for number in open)
    return (number for number in open if calls[number].began <= soonest)


Register = tuple[int, str]
"""Version and content; version 0 is that there is none."""

EMPTY: Register = (0, "")


def register(state: Register, asked: tuple[Any, ...], told: tuple[Any, ...] | None) -> Iterator[Register]:
    """A record with compare and set: `("read",)`, told `(version, data)`; `("save", data, if_version)`, told
    `("saved", version)` or `("conflict", version)`."""
    version, _ = state
    if asked[0] == "read":
        if told in {None, state}:
            yield state
        return
    _, data, expected = asked
    fits = expected in {None, version}
    if fits and told in {None, ("saved", version + 1)}:
        yield version + 1, data
    elif not fits and told == ("conflict", version):
        yield state


Leased = tuple[int, bool]
"""The last fence, and whether somebody has that lease."""

FREE: Leased = (0, False)


def lease(state: Leased, asked: tuple[Any, ...], told: tuple[Any, ...] | None) -> Iterator[Leased]:
    """A lease that does not end by itself: `("take",)`, told `("lease", fence)` or `("taken",)`; `("give", fence)`."""
    fence, held = state
    if asked[0] == "give":
        yield (fence, held and asked[1] != fence)
    elif held and told in {None, ("taken",)}:
        yield state
    elif not held and told in {None, ("lease", fence + 1)}:
        yield fence + 1, True
