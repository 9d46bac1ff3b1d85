"""Shares of the traffic, said in numbers."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import ClassVar, final

import attrs

from turnout import Ask
from turnout.abc import Candidate, Ready


def _shares(_: object, __: object, value: Mapping[str, float]) -> None:
    for id, weight in value.items():
        _check(id, weight)


def _share(_: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    _check(attribute.name, value)


def _check(name: str, weight: float) -> None:
    if not 0 <= weight < float("inf"):
        raise ValueError(f"the weight of {name} is a number from 0 upwards")


@attrs.frozen(kw_only=True)
class WeightedSettings:
    """`[selectors.weighted]`.

    Attributes:
        weights: by credential id; only how they compare to each other matters.
        default: of every credential that is not named.
    """

    weights: Mapping[str, float] = attrs.field(default=MappingProxyType({}), validator=_shares)
    default: float = attrs.field(default=1.0, validator=_share)


@final
class Weighted:
    """Everybody by chance, as often as their weights say.

    A weight of 0 means: only while nobody with a weight is ready. Chance instead of a counter, so that shares hold on
    every node of many and nothing is kept. Takes time in proportion to the ready credentials of a tier.
    """

    api: ClassVar[int] = 1
    Settings = WeightedSettings

    def __init__(self, settings: WeightedSettings) -> None:
        self._weights = settings.weights
        self._default = settings.default

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 - the protocol's
        """One of the highest ready tier, drawn by weight."""
        candidates = list(ready.best)
        edges = list(accumulate(self._weights.get(candidate.id, self._default) for candidate in candidates))
        if not edges[-1]:
            return ready.best.following()
        return candidates[bisect_right(edges, draw() * edges[-1], hi=len(edges) - 1)]
