"""What an upstream may do to a provider, scene by scene, and what stands in for it."""

import enum
from collections.abc import Mapping
from typing import Any, Protocol

from turnout._verdicts import Failure

CANARY = "sk-canary-7f3a9c2e5b8d1064"
"""The key of the credential that is used, and what a double lets its upstream echo."""


class Scene(enum.Enum):
    """What the upstream does in one exchange."""

    SOUND = "sound"
    """A sound answer; a stream has three payloads at least, each in a read of its own."""
    NO_CONNECTION = "no_connection"
    """Nothing is sent, because nobody can be reached."""
    NO_ANSWER = "no_answer"
    """The connection breaks after the request."""
    BROKEN_OFF = "broken_off"
    """The connection breaks in the middle of the answer, after a payload when it is a stream."""
    CUT_SHORT = "cut_short"
    """The same with an orderly end, so that only the format tells that something is missing."""
    SILENT = "silent"
    """Nothing ever comes."""
    SILENT_BODY = "silent_body"
    """The answer begins, and nothing of its content ever comes."""
    SILENT_LATER = "silent_later"
    """The answer stops in its middle, after a payload when it is a stream."""


class UpstreamDouble(Protocol):
    """Stands in for an upstream. `turnout_wire.testing.HttpDouble` is one for providers that speak HTTP."""

    refusals: Mapping[str, type[Failure]]
    """Refusals that it can play, by name, such as an HTTP status, each with the verdict that is due."""

    def play(self, scene: Scene | str, *, stream: bool) -> Any:
        """A transport that plays a scene, or the refusal of that name with `CANARY` in its text."""
        ...

    @property
    def exchanges(self) -> int:
        """How many were begun so far."""
        ...

    @property
    def open(self) -> int:
        """How many of them are not closed."""
        ...

    @property
    def bytes_read(self) -> int:
        """How much was read of all answers so far."""
        ...
