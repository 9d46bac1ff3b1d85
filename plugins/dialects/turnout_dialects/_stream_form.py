"""The intermediate form of a stream: what its events say, whatever the dialect.

Readers give these in the order in which the source told them; `_stream_order` makes blocks of them that do not overlap.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from turnout_dialects._form import Logprob, Signature, Usage


class TextDelta(NamedTuple):
    """More text."""

    text: str
    logprobs: tuple[Logprob, ...] = ()


class RefusalDelta(NamedTuple):
    """More words of refusal."""

    text: str


class ThoughtDelta(NamedTuple):
    """More reasoning."""

    text: str


class Signed(NamedTuple):
    """The signature of the reasoning before it; without any, of what comes behind."""

    signature: Signature


class CallStart(NamedTuple):
    """A tool call begins. `key` names it within the stream."""

    key: int
    id: str
    name: str


class CallDelta(NamedTuple):
    """More of a call's argument text."""

    key: int
    text: str


class Ended(NamedTuple):
    """The source says that a block is complete: the call `key`, or None for whatever else is open."""

    key: int | None


class Counted(NamedTuple):
    """Tokens so far."""

    usage: Usage


class Stopped(NamedTuple):
    """Why the model stopped; see `STOPS`. Usage may still follow."""

    stop: str
    sequence: str | None = None


class Finished(NamedTuple):
    """The source's own end of stream."""


StreamEvent = (
    TextDelta | RefusalDelta | ThoughtDelta | Signed | CallStart | CallDelta | Ended | Counted | Stopped | Finished
)


class StreamReader(Protocol):
    """Reads the data of one event after another; keeps only what later events refer to.

    Unknown kinds of events say nothing (B15): vendors add them without notice.
    """

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """What an event says. Raises BadReply, ErrorEvent."""
        ...


_DELTAS = (TextDelta, RefusalDelta, ThoughtDelta, CallDelta)
_WHOLE = (Signed, CallStart, Stopped)


def is_useful(event: StreamEvent) -> bool:
    """Whether a client can use it (design 2): content, reasoning, a call, or why it stopped; an empty delta is none."""
    return bool(event.text) if isinstance(event, _DELTAS) else isinstance(event, _WHOLE)
