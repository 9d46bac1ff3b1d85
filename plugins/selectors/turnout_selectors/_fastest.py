"""Who has answered soonest of late."""

from collections.abc import Callable
from typing import ClassVar, final

import attrs

from turnout import Ask
from turnout.abc import Candidate, Ready


def _chance(_: object, __: object, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError("explore is a share of the picks, from 0 to 1")


@attrs.frozen(kw_only=True)
class FastestSettings:
    """`[selectors.fastest]`.

    Attributes:
        explore: share of picks that go to anybody, so that one who was slow is heard of when that is over.
    """

    explore: float = attrs.field(default=0.05, validator=_chance)


@final
class Fastest:
    """The quicker of two that are drawn by chance.

    Quick is whose moving average of seconds to the first payload, times one more than the calls it serves now, is
    small: the average tells of the past, the calls of what it does not know yet. Two random choices instead of the best
    of all, because everybody running to the best one makes it the worst (Mitzenmacher, "The power of two choices in
    randomized load balancing", 2001). Whoever was never called counts as quick, and so is tried.
    """

    api: ClassVar[int] = 1
    Settings = FastestSettings

    def __init__(self, settings: FastestSettings) -> None:
        self._explore = settings.explore

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 - the protocol's
        """One of the highest ready tier."""
        candidates = list(ready.best)
        first = candidates.pop(int(draw() * len(candidates)))
        if not candidates or draw() < self._explore:
            return first
        second = candidates[int(draw() * len(candidates))]
        return min(first, second, key=_expected)


def _expected(candidate: Candidate) -> tuple[float, int]:
    return (candidate.latency or 0.0) * (candidate.in_flight + 1), candidate.in_flight
