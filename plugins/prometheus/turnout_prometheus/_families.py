"""What was counted, as prometheus-client's families of metrics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar, final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from turnout_prometheus._counts import ATTEMPT, CALL, Counts, Times

Values = TypeVar("Values", bound=tuple[str, ...])
"""The values of a sample's labels."""


@final
class Families(Collector):
    """The families of what `counts` holds, made when they are asked for."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """One after the other; does not wait."""
        counts = self._counts
        yield _counter("turnout_calls", "Calls that were answered, or whose stream began", CALL, counts.calls)
        yield _histogram(
            "turnout_call_seconds",
            "Seconds until the answer, or until the first payload of a stream",
            ("operation", "stream"),
            counts.call_times,
        )
        yield _counter(
            "turnout_call_wait_seconds", "Seconds that calls waited for a credential", (), {(): counts.waited}
        )
        yield _counter("turnout_attempts", "Attempts at upstreams, by their end", ATTEMPT, counts.attempts)
        yield _histogram(
            "turnout_attempt_seconds",
            "Seconds until the answer of an attempt that was served, or its first payload",
            ("provider",),
            counts.attempt_times,
        )
        yield _counter("turnout_refresh_failures", "Renewals that failed", ("provider",), counts.refresh_failures)
        yield _counter("turnout_store_failures", "Records not written", ("kind",), counts.store_failures)
        yield _counter("turnout_plugin_failures", "Failures of plugins", ("group", "name"), counts.plugin_failures)
        yield _counter("turnout_reloads", "Configurations put in force since the start", (), {(): counts.reloads})


@final
class Labelled(Collector):
    """What another collector gives, each sample with one more label."""

    def __init__(self, collector: Collector, name: str, value: str) -> None:
        self._collector = collector
        self._label = {name: value}

    def collect(self) -> Iterator[Metric]:
        """As the other one gives them."""
        for family in self._collector.collect():
            family.samples = [one._replace(labels={**self._label, **one.labels}) for one in family.samples]
            yield family


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[Values, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], values: Mapping[Values, Times]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, times in values.items():
        family.add_metric(key, list(_buckets(times)), times.total)
    return family


def _buckets(times: Times) -> Iterable[tuple[str, float]]:
    edges = [*map(str, times.bounds), "+Inf"]
    return zip(edges, accumulate(times.counts), strict=True)
