"""What is known about origins as a whole: which cool, and how much may be tried again at each. Pure; in memory only.

Trying again is what makes storms, so it is rationed per origin (acceptance, section 4): at once at most a fifth of the
calls under way, three at the least; and none while too many calls fail, told by a purse of ten tokens that a failure
takes one from and a success gives a tenth back to (gRPC's retry throttling, proposal A6).
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from turnout._cooldown import ORIGIN_WELL, OriginState, Policy, record_origin

SHARE, LEAST = 0.2, 3
"""Tries again at one origin at once: this share of the calls under way, and never fewer than `LEAST`."""

PURSE, PRICE, REWARD = 10.0, 1.0, 0.1
"""Tokens of an origin: how many there are, what a failure takes, what a success gives back; at half it is over."""


class _Origin:
    __slots__ = ("retrying", "state", "tokens")

    def __init__(self) -> None:
        self.state: OriginState = ORIGIN_WELL
        self.tokens = PURSE
        self.retrying = 0

    def is_well(self) -> bool:
        return self.state is ORIGIN_WELL and self.tokens >= PURSE and not self.retrying


class Origins:
    """The origins that are not well; one that never failed costs nothing."""

    __slots__ = ("_ill",)

    def __init__(self) -> None:
        self._ill: dict[str, _Origin] = {}

    def _of(self, origin: str) -> _Origin:
        found = self._ill.get(origin)
        if found is None:
            found = self._ill[origin] = _Origin()
        return found

    def blamed(self, origin: str) -> None:
        """A failure speaks against this origin: a token is gone."""
        known = self._of(origin)
        known.tokens = max(0.0, known.tokens - PRICE)

    def shared(self, origin: str, now: float, policy: Policy) -> None:
        """Several credentials of this origin failed alike in one call: it cools (design 8)."""
        known = self._of(origin)
        known.state = record_origin(known.state, now, policy)

    def succeeded(self, origin: str) -> None:
        """A call to this origin succeeded: it does not cool, and a bit of a token comes back."""
        if self._ill and (known := self._ill.get(origin)) is not None:
            known.state = ORIGIN_WELL
            known.tokens = min(PURSE, known.tokens + REWARD)
            self._forget_if_well(origin, known)

    def may_retry(self, origin: str, under_way: int) -> bool:
        """Whether one more try at an origin that has failed in the same call is allowed; `under_way` counts calls."""
        known = self._of(origin)
        return known.tokens > PURSE / 2 and known.retrying < max(LEAST, SHARE * under_way)

    def may_fail_over(self, origin: str) -> bool:
        """Whether a call that failed elsewhere may come to this origin: not while too many fail here as well (B32).

        How many come at once is not limited, or calls would be lost that a sound origin could serve.
        """
        known = self._ill.get(origin)
        return known is None or known.tokens > PURSE / 2

    @contextmanager
    def retrying(self, origin: str) -> Iterator[None]:
        """Hold one of the tries again."""
        known = self._of(origin)
        known.retrying += 1
        try:
            yield
        finally:
            known.retrying -= 1
            self._forget_if_well(origin, known)

    def _forget_if_well(self, origin: str, known: _Origin) -> None:
        if known.is_well() and self._ill.get(origin) is known:
            del self._ill[origin]

    def skipped(self, also: Collection[str], now: float) -> Collection[str]:
        """Origins to leave out now: those that cool, and `also`."""
        if not self._ill:
            return also
        return {*also, *(origin for origin, known in self._ill.items() if _cools(known.state, now))}

    def shift(self, by: float) -> None:
        """The clock has jumped by so many seconds: cooldowns keep their remaining length."""
        for known in self._ill.values():
            if known.state.until is not None:
                known.state = OriginState(level=known.state.level, until=known.state.until + by)

    def cooling(self, now: float) -> Mapping[str, float]:
        """Origins that cool, each with the POSIX seconds of its recovery."""
        return {
            origin: known.state.until
            for origin, known in self._ill.items()
            if known.state.until and _cools(known.state, now)
        }


def _cools(state: OriginState, now: float) -> bool:
    return state.until is not None and state.until > now
