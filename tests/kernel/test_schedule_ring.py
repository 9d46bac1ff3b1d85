"""The ordered sets under the schedule, against plain lists."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout._ring import Ring
from turnout._waiting import Waiting

KEYS = st.text("abc", max_size=3)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "discard", "admit", "bench", "move"]), st.integers(0, 60)), max_size=300
)


@given(keys=st.dictionaries(KEYS, st.booleans()), mark=KEYS)
def test_the_next_is_the_first_ready_key_behind_the_mark_round_the_end(keys: dict[str, bool], mark: str) -> None:
    ready = sorted(key for key in keys if keys[key])
    order = [key for key in ready if key > mark] + [key for key in ready if key <= mark]
    ring: Ring[str] = Ring(full=3)
    for key, is_ready in keys.items():
        ring.add(key, key)
        if is_ready:
            ring.admit(key)

    assert list(ring.behind(mark)) == order
    assert ring.after(mark) == (order[0] if order else None)
    assert (ring.ready, len(ring), bool(ring)) == (len(ready), len(keys), bool(keys))


@pytest.mark.parametrize("full", [2, 5, 512])
@given(steps=STEPS)
def test_blocks_that_are_cut_and_emptied_lose_nobody(full: int, steps: list[tuple[str, int]]) -> None:
    ring: Ring[int] = Ring(full=full)
    keys: dict[str, bool] = {}
    for step, number in steps:
        key = f"{number:02}"
        if step == "add" and key not in keys:
            ring.add(key, number)
            keys[key] = False
        elif step == "discard" and keys.pop(key, None) is not None:
            ring.discard(key)
        elif step == "admit" and key in keys:
            ring.admit(key)
            keys[key] = True
        elif step == "bench" and key in keys:
            ring.bench(key)
            keys[key] = False
        ready = [int(key) for key in sorted(keys) if keys[key]]
        assert ring.ready == len(ready)
        assert ring.after(key) == next((n for n in ready if n > number), ready[0] if ready else None)
    assert list(ring) == [int(key) for key in sorted(keys) if keys[key]]


@attrs.define(eq=False)
class Sleeper:
    due: float = 0.0
    until: float = 0.0
    place: int = 0


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["push", "drop", "pop"]), st.integers(0, 30), st.integers(0, 50), st.integers(0, 3)),
        max_size=300,
    ),
    left_out=st.sets(st.integers(0, 30)),
)
def test_the_heap_gives_the_earliest_of_those_that_pass(
    steps: list[tuple[str, int, int, int]], left_out: set[int]
) -> None:
    """C5.12: the earliest time over those that pass the filters, also where it is not the next to be looked at."""
    sleepers = [Sleeper() for _ in range(31)]
    waiting: Waiting[Sleeper] = Waiting()
    for step, number, due, more in steps:
        sleeper = sleepers[number]
        if step == "push" and not sleeper.place:
            sleeper.due, sleeper.until = due, due + more
            waiting.push(sleeper)
        elif step == "drop" and sleeper.place:
            waiting.drop(sleeper)
        elif step == "pop":
            soonest = min((s.due for s in sleepers if s.place), default=None)
            while waiting.due <= due:
                gone = waiting.pop()
                assert gone is None or (gone.due == soonest and not gone.place)
                soonest = min((s.due for s in sleepers if s.place), default=None)
            assert soonest is None or soonest > due
    awake = [sleeper for sleeper in sleepers if sleeper.place]
    passing = [s.until for number, s in enumerate(sleepers) if s.place and number not in left_out]

    assert len(waiting) == len(awake)
    assert waiting.due <= min((s.due for s in awake), default=float("inf"))
    assert waiting.earliest(None) == min((s.until for s in awake), default=None)
    assert waiting.earliest(lambda s: sleepers.index(s) not in left_out) == min(passing, default=None)


def test_those_who_left_early_do_not_fill_the_heap() -> None:
    waiting: Waiting[Sleeper] = Waiting()
    sleeper = Sleeper()
    for time in range(10_000):
        sleeper.due = sleeper.until = float(10_000 - time)
        waiting.push(sleeper)
        waiting.drop(sleeper)

    assert len(waiting._heap) < 100
