"""`check_selector` catches selectors that break its laws, and lets our own pass."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit_laws import laws_of, unproven

from turnout.abc import Selector
from turnout.testing import _check_selector as rules
from turnout.testing import check_selector
from turnout_selectors import Fastest, FastestSettings, FillFirst, LeastBusy, RoundRobin, Sticky, Weighted
from turnout_selectors import WeightedSettings as Weights


@pytest.mark.parametrize(
    "make",
    [RoundRobin, FillFirst, LeastBusy, Sticky, lambda: Weighted(Weights()), lambda: Fastest(FastestSettings())],
    ids=["round-robin", "fill-first", "least-busy", "sticky", "weighted", "fastest"],
)
def test_our_selectors_keep_the_laws(make: Callable[[], Selector]) -> None:
    check_selector(make)


class First:
    api = 1

    def __init__(self) -> None:
        self.kept: Any = None

    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        return ready.best.first()


class Waits(First):
    async def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        return ready.best.first()


class GivesIds(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        return ready.best.first().id


class GivesAnOldOne(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        self.kept = self.kept or ready.best.first()
        return self.kept


class KeepsItsView(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        before, self.kept = self.kept, ready
        return (before or ready).best.first() and ready.best.first()


class ThrowsOwnDice(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        return random.choice(list(ready.best))  # noqa: S311 # nothing is secret here


class ReadsAClock(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        candidates = list(ready.best)
        return candidates[time.perf_counter_ns() // 7 % len(candidates)]


class Raises(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        return min(ready.best, key=lambda candidate: candidate.latency)


class Exits(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        raise SystemExit(3)


class ExitsAtAnOutcome(First):
    def observe(self, outcome: Any, took: float) -> None:
        raise SystemExit(3)


class Writes(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        ready.best.first().in_flight += 1
        return ready.best.first()


class WritesAttributes(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        ready.best.first().attributes["seen"] = "1"
        return ready.best.first()


class ReadsFiles(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        Path(__file__).read_bytes()
        return ready.best.first()


class Sleeps(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        if len(list(ready.best)) == rules.MANY:
            time.sleep(0.05)
        return ready.best.first()


class Dawdles(First):
    def select(self, ready: Any, ask: Any, draw: Any) -> Any:
        candidates = list(ready.best)
        return min(candidates, key=lambda one: sum(other.id < one.id for other in candidates))


class LearnsBadly(First):
    def observe(self, outcome: Any, took: float) -> None:
        {}[outcome.credential]


class LearnsLater(First):
    async def observe(self, outcome: Any, took: float) -> None:
        pass


BROKEN: tuple[tuple[Callable[[], Any], str], ...] = (
    (Waits, "plain function, which does not wait"),
    (GivesIds, "one of the candidates that it was shown"),
    (GivesAnOldOne, "in this very pick"),
    (KeepsItsView, "valid during `select` only"),
    (ThrowsOwnDice, "chance comes from `draw`"),
    (ReadsAClock, "time from `ready.now`"),
    (Raises, "raises nothing"),
    (Exits, "a selector raises nothing, whatever it is shown; it raised SystemExit: 3"),
    (ExitsAtAnOutcome, "`observe` takes every outcome"),
    (Writes, "read only"),
    (WritesAttributes, "read only"),
    (ReadsFiles, r"no I/O \(open\)"),
    (Sleeps, "takes less than"),
    (Dawdles, "takes less than"),
    (LearnsBadly, "`observe` takes every outcome"),
    (LearnsLater, "`observe` is a plain function"),
)
"""Each with the law that it breaks."""


@pytest.mark.parametrize(("broken", "law"), BROKEN)
def test_a_selector_that_breaks_a_law_is_told_which_and_where_it_is_written(
    broken: Callable[[], Selector], law: str
) -> None:
    with pytest.raises(
        AssertionError, match=rf"^broken: .*{law}.* \(turnout\.abc\.Selector; plugins\.md, Selectors\)$"
    ):
        check_selector(broken)


def test_every_law_of_a_selector_has_a_broken_one() -> None:
    assert not unproven(laws_of(rules), [*(law for _, law in BROKEN)])
