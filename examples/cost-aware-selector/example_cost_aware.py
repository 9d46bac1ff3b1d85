"""The cheapest credential that is not overloaded. Prices stand with it: `attributes = { price = "0.4" }`."""

from collections.abc import Callable
from typing import ClassVar

import attrs

from turnout import Ask
from turnout.abc import Candidate, Ready


@attrs.frozen(kw_only=True)
class CostAwareSettings:
    """`[selectors.cost-aware]`: up to how many calls a cheap credential gets before a dearer one takes over."""

    busy: int = attrs.field(default=10, validator=attrs.validators.ge(1))


class CostAware:
    """Whoever costs least among those that are not busy; when all are, whoever has least to do."""

    api: ClassVar[int] = 1
    Settings = CostAwareSettings

    def __init__(self, settings: CostAwareSettings) -> None:
        self._busy = settings.busy

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate | None:  # noqa: ARG002 # the protocol's
        """One of the best tier."""
        free = [candidate for candidate in ready.best if candidate.in_flight < self._busy]
        if not free:
            return min(ready.best, key=lambda candidate: candidate.in_flight)
        return min(free, key=lambda candidate: (_price(candidate), candidate.in_flight))


def _price(candidate: Candidate) -> float:
    try:
        return float(candidate.attributes.get("price", "inf"))
    except ValueError:
        return float("inf")
