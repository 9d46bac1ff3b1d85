"""Who has least to do."""

from collections.abc import Callable
from typing import ClassVar, final

from turnout import Ask
from turnout.abc import Candidate, Ready


@final
class LeastBusy:
    """Whoever serves the fewest calls right now; among equals the one whose turn it is, or else one by chance.

    Counts are those of this process: on many nodes each balances its own calls. Takes time in proportion to the ready
    credentials of a tier, and none while whoever is next has nothing to do.
    """

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 - the protocol's
        """One of those with the fewest calls in the highest ready tier."""
        following = ready.best.following()
        if not following.in_flight:
            return following
        candidates = list(ready.best)
        least = min(candidate.in_flight for candidate in candidates)
        if following.in_flight == least:
            return following
        idle = [candidate for candidate in candidates if candidate.in_flight == least]
        return idle[int(draw() * len(idle))]
