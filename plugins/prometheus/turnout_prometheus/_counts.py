"""What is counted: plain numbers by the values of their labels. Pure; families of metrics are made of it at a scrape.

prometheus-client's own counters take a lock and look up their labels each time, which costs a call some 8 µs. Here a
call is one more in a dictionary.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from turnout import (
    CallDecided,
    CredentialRemoved,
    Decision,
    Done,
    Event,
    Operation,
    OutcomeRecorded,
    PluginFailed,
    RefreshFailed,
    Reloaded,
    StoreFailed,
    Verdict,
)

CALL = ("model", "operation", "stream", "result")
"""Labels of calls. `result` is `ok`, or the code of the error that the caller got."""

ATTEMPT = ("provider", "credential", "verdict")
"""Labels of attempts. `verdict` is how one ended, in the kernel's words."""

OTHER = "other"
"""The value of a label for everything that has none of its own."""

_OPERATIONS = {one: one.value for one in Operation}
"""An enum's `value` is worked out anew each time: 0.3 µs."""

_BETWEEN_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


@final
class Names(dict[str, str]):
    """Names and the values that a label has for them: the first `most` names as they are, `OTHER` for the rest (S43).

    Asked with `[]`, for any name; an empty one has none of its own.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __missing__(self, name: str) -> str:
        if not name or len(self) >= self.most:
            return OTHER
        self[name] = name
        return name


@final
class Times:
    """How long things took.

    Attributes:
        bounds: upper bounds in seconds, each of which still belongs to its bucket.
        counts: how many lie in each bucket alone, those above the last bound at the end.
        total: seconds of all of them.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """One that took so long."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


@final
class Counts:
    """Everything that was counted since the start.

    Attributes:
        calls, attempts: how many, by the values of `CALL` and `ATTEMPT`.
        call_times: until the answer or the first payload, by operation and whether it streams; calls that failed too.
        attempt_times: the same for one attempt, by provider; those that were served.
        waited: seconds that calls have waited for a credential to come back.
        refresh_failures: by provider. store_failures: by kind of record. plugin_failures: by group and name.
        reloads: how often a new configuration came into force.
    """

    def __init__(self, buckets: Sequence[float], *, models: int, credentials: int) -> None:
        def times() -> Times:
            return Times(buckets)

        self._models = Names(models)
        self._credentials = Names(credentials)
        self._verdicts: dict[type[Verdict], str] = {}
        self.calls: Counter[tuple[str, str, str, str]] = Counter()
        self.attempts: Counter[tuple[str, str, str]] = Counter()
        self.call_times: defaultdict[tuple[str, str], Times] = defaultdict(times)
        self.attempt_times: defaultdict[tuple[str], Times] = defaultdict(times)
        self.waited = 0.0
        self.refresh_failures: Counter[tuple[str]] = Counter()
        self.store_failures: Counter[tuple[str]] = Counter()
        self.plugin_failures: Counter[tuple[str, str]] = Counter()
        self.reloads = 0
        self._taking: dict[type[Event], Callable[[Any], None]] = {
            CallDecided: self._call,
            OutcomeRecorded: self._attempt,
            CredentialRemoved: self._removed,
            RefreshFailed: self._refresh_failed,
            StoreFailed: self._store_failed,
            PluginFailed: self._plugin_failed,
            Reloaded: self._reloaded,
        }

    def take(self, events: Iterable[Event]) -> None:
        """Count those whose kind is counted."""
        for event in events:
            taking = self._taking.get(type(event))
            if taking is not None:
                taking(event)

    def _call(self, event: CallDecided) -> None:
        decision = event.decision
        operation, stream = _OPERATIONS[decision.operation], "true" if decision.stream else "false"
        self.calls[self._models[_served(decision)], operation, stream, decision.error or "ok"] += 1
        self.call_times[operation, stream].add(decision.took)
        self.waited += decision.waited

    def _attempt(self, event: OutcomeRecorded) -> None:
        outcome = event.outcome
        kind = type(outcome.verdict)
        verdict = self._verdicts.get(kind) or self._word(kind)
        self.attempts[outcome.provider, self._credentials[outcome.credential], verdict] += 1
        if kind is Done:
            self.attempt_times[(outcome.provider,)].add(event.took)

    def _word(self, kind: type[Verdict]) -> str:
        word = self._verdicts[kind] = _BETWEEN_WORDS.sub("_", kind.__name__).lower()
        return word

    def _removed(self, event: CredentialRemoved) -> None:
        """Its series end: an id that comes back begins anew, as after a restart."""
        self._credentials.pop(event.credential, None)
        for key in [key for key in self.attempts if key[1] == event.credential]:
            del self.attempts[key]

    def _refresh_failed(self, event: RefreshFailed) -> None:
        self.refresh_failures[(event.provider,)] += 1

    def _store_failed(self, event: StoreFailed) -> None:
        self.store_failures[(event.kind,)] += 1

    def _plugin_failed(self, event: PluginFailed) -> None:
        self.plugin_failures[event.group, event.name] += 1

    def _reloaded(self, _event: Reloaded) -> None:
        self.reloads += 1


def _served(decision: Decision) -> str:
    """The model that an upstream was asked for last, empty where none was: the client's own word is anything.

    Without its thinking suffix (C7.1), which is the client's word as well: there are as many budgets as numbers.
    """
    model = decision.upstream_model or (decision.attempts[-1].model if decision.attempts else "")
    if not model.endswith(")"):
        return model
    base, found, _ = model.rpartition("(")
    return base if found else model
