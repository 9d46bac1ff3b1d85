"""The observer, and its table of the configuration."""

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, final

import attrs
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest

from turnout import Event
from turnout_prometheus._counts import Counts
from turnout_prometheus._families import Families, Labelled

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds: an answer of a model takes from a tenth of one to some minutes."""

BUCKETS_MOST = 50


def _rising(_: object, attribute: "attrs.Attribute[tuple[float, ...]]", value: tuple[float, ...]) -> None:
    if not 0 < len(value) <= BUCKETS_MOST:
        raise ValueError(f"{attribute.name} has from 1 to {BUCKETS_MOST} bounds")
    if not all(lower < upper for lower, upper in pairwise((0.0, *value))):
        raise ValueError(f"{attribute.name} rise from above 0: each is more seconds than the one before")


def _not_negative(_: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if value < 0:
        raise ValueError(f"{attribute.name} is a number from 0 upwards")


@final
@attrs.frozen(kw_only=True)
class PrometheusSettings:
    """`[observers.prometheus]`.

    Attributes:
        buckets: upper bounds of the histograms, in seconds.
        models: how many models have series of their own; all others are called `other`.
        credentials: the same for credentials. 0 for series that name none.
    """

    buckets: tuple[float, ...] = attrs.field(default=BUCKETS, validator=_rising)
    models: int = attrs.field(default=200, validator=_not_negative)
    credentials: int = attrs.field(default=200, validator=_not_negative)


@final
class Prometheus:
    """Counts calls, attempts and failures, and shows them in Prometheus's text format.

    Every sample has the label `process`: of several processes behind one address, each scrape finds one.
    """

    api: ClassVar[int] = 1
    Settings = PrometheusSettings

    def __init__(self, settings: PrometheusSettings) -> None:
        self._counts = Counts(settings.buckets, models=settings.models, credentials=settings.credentials)
        self._registry = CollectorRegistry()
        for collector in (Families(self._counts), ProcessCollector(registry=None)):
            self._registry.register(Labelled(collector, "process", str(os.getpid())))

    async def hear(self, event: Event) -> None:
        """Count an event. Does not wait."""
        self._counts.take((event,))

    async def hear_batch(self, events: Sequence[Event]) -> None:
        """Count some events. Does not wait."""
        self._counts.take(events)

    def expose(self) -> Mapping[str, str]:
        """Everything that was counted, as text/plain in version 0.0.4 of the format."""
        return {CONTENT_TYPE_PLAIN_0_0_4: generate_latest(self._registry).decode()}
