"""Who has least to do, those last whose upstream says that their limits are nearly used up."""

from collections.abc import Callable
from typing import ClassVar, Final, final

from turnout import Ask
from turnout.abc import Candidate, Ready

SCARCE: Final = 0.05
"""Share of a limit; with less than this left a credential is spared, for it is about to be refused."""


@final
class LeastBusy:
    """Whoever serves the fewest calls right now; among equals the one whose turn it is, or else one by chance.

    Those whose upstream says that a limit is nearly used up are called only while there is nobody else.

    Counts are those of this process: on many nodes each balances its own calls. Takes time in proportion to the ready
    credentials of a tier, and none while whoever is next has nothing to do.
    """

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 - the protocol's
        """One of those with the fewest calls in the highest ready tier."""
        following = ready.best.following()
        if not following.in_flight and not _is_scarce(following, ready.now):
            return following
        candidates = list(ready.best)
        roomy = [candidate for candidate in candidates if not _is_scarce(candidate, ready.now)] or candidates
        least = min(candidate.in_flight for candidate in roomy)
        idle = [candidate for candidate in roomy if candidate.in_flight == least]
        return following if following in idle else idle[int(draw() * len(idle))]


def _is_scarce(candidate: Candidate, now: float) -> bool:
    left = candidate.remaining
    return left is not None and left.share < SCARCE and now < left.until
