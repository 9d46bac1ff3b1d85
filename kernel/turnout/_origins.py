"""Which origins cool because several of their credentials failed alike (design 8). Pure; in memory only."""

from collections.abc import Collection

from turnout._cooldown import ORIGIN_WELL, OriginState, Policy, record_origin


class Origins:
    """The origins that are not well; one that never failed costs nothing."""

    __slots__ = ("_ill",)

    def __init__(self) -> None:
        self._ill: dict[str, OriginState] = {}

    def failed(self, origin: str, now: float, policy: Policy) -> None:
        """Several credentials of this origin failed alike in one call: it cools."""
        self._ill[origin] = record_origin(self._ill.get(origin, ORIGIN_WELL), now, policy)

    def succeeded(self, origin: str) -> None:
        """A call to this origin succeeded: it is well."""
        if self._ill:
            self._ill.pop(origin, None)

    def skipped(self, also: Collection[str], now: float) -> Collection[str]:
        """Origins to leave out now: those that cool, and `also`."""
        if not self._ill:
            return also
        return {*also, *(origin for origin, state in self._ill.items() if state.until and state.until > now)}

    def soonest(self, now: float) -> float | None:
        """POSIX seconds of the first recovery, None when no origin cools."""
        return min((state.until for state in self._ill.values() if state.until and state.until > now), default=None)
