"""Events: what observers hear. Values only; an event never holds a prompt, an answer or a secret."""

from typing import final

import attrs

from turnout._values import Decision, Outcome


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened, at `at` POSIX seconds."""

    at: float


@final
@attrs.frozen(kw_only=True)
class CredentialRegistered(Event):
    """A credential joined the pool (C3.2)."""

    credential: str
    provider: str


@final
@attrs.frozen(kw_only=True)
class CredentialUpdated(Event):
    """A credential's configuration or secrets changed (C3.3), or it was refreshed (C11.2)."""

    credential: str
    provider: str


@final
@attrs.frozen(kw_only=True)
class CredentialRemoved(Event):
    """A credential left the pool (O18)."""

    credential: str
    provider: str


@final
@attrs.frozen(kw_only=True)
class OutcomeRecorded(Event):
    """An upstream call ended (the contract's hook on result).

    Attributes:
        took: seconds from the start of the attempt to its end, or to the first payload of a stream.
    """

    outcome: Outcome
    took: float


@final
@attrs.frozen(kw_only=True)
class CallDecided(Event):
    """A call is over, or its stream was handed to the caller."""

    decision: Decision


@final
@attrs.frozen(kw_only=True)
class RefreshFailed(Event):
    """A refresh failed (O57).

    Attributes:
        next_try: POSIX seconds, None when nobody but a person can cure it.
    """

    credential: str
    provider: str
    reason: str
    next_try: float | None


@final
@attrs.frozen(kw_only=True)
class StoreFailed(Event):
    """A record could not be written; it stays in memory and is tried again (O20)."""

    kind: str
    credential: str
    reason: str


@final
@attrs.frozen(kw_only=True)
class PluginFailed(Event):
    """A plugin broke its contract, or its supervisor had to restart or stop it."""

    group: str
    name: str
    reason: str


@final
@attrs.frozen(kw_only=True)
class Reloaded(Event):
    """A new generation of the configuration is in force."""

    generation: int
