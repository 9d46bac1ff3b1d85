"""What a scenario tells when it is over."""

from collections.abc import Mapping
from typing import Any

import attrs

from turnout._events import Event
from turnout._values import Credential, CredentialState, Decision, Operation, Outcome, Record
from turnout.errors import TurnoutError
from turnout.testing._steps import Step


@attrs.frozen(kw_only=True)
class Called:
    """One call that reached an upstream, `at` seconds after the start."""

    at: float
    credential: str
    provider: str
    model: str
    operation: Operation


@attrs.frozen(kw_only=True)
class Seen:
    """A credential as it stands, with what is known about it."""

    credential: Credential
    state: CredentialState


@attrs.frozen(kw_only=True)
class Result:
    """How a step went.

    Attributes:
        value: what it gave; see the step.
        error: what it raised, None if nothing.
        began: seconds since the start; `ended` likewise.
        cancelled: the client went away.
    """

    step: Step
    value: Any = None
    error: TurnoutError | None = None
    began: float
    ended: float
    cancelled: bool = False

    @property
    def took(self) -> float:
        """Seconds."""
        return self.ended - self.began


@attrs.frozen(kw_only=True)
class Report:
    """What happened in a scenario.

    Attributes:
        results: of each step, in order.
        calls: that reached an upstream, in order.
        refreshes: ids of credentials whose refresh began, in order.
        credentials: by id, at the end.
        states: of each credential at the end.
        outcomes: as they were recorded, in order.
        decisions: of each call, in the order of their ends.
        events: everything that an observer heard, in order.
        records: what the store holds when the kernel is closed, by kind and id.
        open_streams: of upstreams, that nobody closed.
    """

    results: tuple[Result, ...]
    calls: tuple[Called, ...]
    refreshes: tuple[str, ...]
    credentials: Mapping[str, Credential]
    states: Mapping[str, CredentialState]
    outcomes: tuple[Outcome, ...]
    decisions: tuple[Decision, ...]
    events: tuple[Event, ...]
    records: Mapping[tuple[str, str], Record]
    open_streams: int

    @property
    def called(self) -> list[str]:
        """Ids of the credentials that upstreams were called with, in order."""
        return [call.credential for call in self.calls]

    @property
    def values(self) -> list[Any]:
        """What the steps gave, in order."""
        return [result.value for result in self.results]

    @property
    def errors(self) -> list[TurnoutError | None]:
        """What the steps raised, in order."""
        return [result.error for result in self.results]
