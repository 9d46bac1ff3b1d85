"""How much may be tried again at each origin, reckoned from what the upstreams saw (D1; acceptance, section 4)."""

from collections import Counter

import trio

from turnout._conduct import PAUSE_CAP
from turnout._origins import LEAST, PRICE, PURSE, REWARD, SHARE
from turnout._verdicts import Failure
from turnout.testing._case import Attempt, Case
from turnout.testing._transcript import Transcript

SLACK = 0.5
"""Tokens. The kernel takes notice a few steps later than the upstream, so that several rewards may still be due."""


class Rations:
    """Two budgets of each origin: tries again at once, and a purse that failures take from."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._again: Counter[str] = Counter()
        self._most_calls = 0
        self._purses: dict[str, list[tuple[float, float]]] = {}

    def begin(self, case: Case, origin: str, calls: int) -> bool:
        """An attempt begins while so many calls are under way; gives whether it is a try again."""
        self._most_calls = max(self._most_calls, calls)
        again = case.failed_at[origin] > 0
        self._again[origin] += again
        now, most, law = self._again[origin], max(LEAST, SHARE * self._most_calls), self._transcript.law
        law(now <= most, "%s tries again at %s: more than %s (D1)", now, origin, most)
        if not case.hedged and case.failed_at.total():
            purse = self._lately(origin)
            law(purse > PURSE / 2 - SLACK, "%s goes on at %s, whose purse has %.1f (D1)", case.ask.id, origin, purse)
        return again

    def commit(self, attempt: Attempt) -> None:
        """The kernel got a payload: from here on it is no try again."""
        self._again[attempt.origin] -= attempt.again
        attempt.again = False

    def over(self, attempt: Attempt, *, counts: bool) -> None:
        """An attempt is over; `counts` says that the kernel is certain to take notice of a failure."""
        self.commit(attempt)
        if attempt.ends is None:
            return
        if not isinstance(attempt.ends, Failure):
            self._turn_over(attempt.origin, REWARD)
        elif attempt.blames_origin and counts and not attempt.cut and not attempt.met:
            self._turn_over(attempt.origin, -PRICE)

    def _turn_over(self, origin: str, by: float) -> None:
        """Put something into a purse, or take it out; at most as much is in the kernel's."""
        history = self._purses.setdefault(origin, [(0.0, PURSE)])
        history.append((trio.current_time(), min(PURSE, max(0.0, history[-1][1] + by))))

    def _lately(self, origin: str) -> float:
        """The most that was in a purse since a try that begins now may have been allowed: it pauses in between."""
        history = self._purses.get(origin, [])
        since = trio.current_time() - PAUSE_CAP
        tokens = PURSE
        lately = []
        for at, left in history:
            if at >= since:
                lately.append(left)
            else:
                tokens = left
        return max((tokens, *lately))
