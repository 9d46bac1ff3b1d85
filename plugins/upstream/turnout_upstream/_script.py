"""What the upstream shall do, as plain values: plays, the rules that choose among them, and the script of them all.

A `Play` is one exchange. Its fields are independent of each other, so that a fault is a field or two; `plays` has a
named one for each fault that upstreams are known for.
"""

import enum
from collections.abc import Mapping
from typing import final

import attrs

Headers = tuple[tuple[str, str], ...]


def _pairs(headers: Mapping[str, str] | Headers) -> Headers:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((name, value) for name, value in pairs)


class How(enum.Enum):
    """How a connection ends, or does not."""

    STALL = "stall"
    """Nothing more is sent; the connection stays open until the peer ends it."""
    RESET = "reset"
    """RST: the peer gets ECONNRESET."""
    CLOSE = "close"
    """A clean FIN."""
    HALF_CLOSE = "half_close"
    """FIN in our direction only; the peer's bytes are read until it ends the connection."""


class Point(enum.Enum):
    """Where in an exchange it is cut."""

    REQUEST = "request"
    """After the request, before the first byte of an answer."""
    MID_HEAD = "mid_head"
    """In the middle of the response headers."""
    HEAD = "head"
    """After the headers, before the first byte of the body."""
    PIECES = "pieces"
    """After `Cut.after` pieces of the body: events of a stream, slices of a body."""
    MID_PIECE = "mid_piece"
    """In the middle of the piece that follows those."""
    LAST = "last"
    """Before the last piece: a stream's `[DONE]`."""


@final
@attrs.frozen
class Cut:
    """Where an exchange is cut, and how it goes on from there.

    Attributes:
        after: pieces that still go out, for `Point.PIECES` and `Point.MID_PIECE`.
    """

    at: Point
    how: How
    after: int = attrs.field(default=0, validator=attrs.validators.ge(0))


@final
@attrs.frozen(kw_only=True, cache_hash=True)
class Play:
    """How one exchange goes. The default is a sound answer in the format that the request asks for.

    Attributes:
        text: what the model says; a stream has one event for each word.
        status: of the response; from 400 on the body is the format's error object.
        headers: sent beside the usual ones, unchecked; one given here replaces the usual one of that name.
        body: sent instead of the format's own answer.
        events: pieces of a stream, sent instead of the format's own events whatever the request asked for.
        opening: pieces sent ahead of a stream's events, such as comments and pings.
        newline: ends the lines of the format's own events.
        raw: no content-length or chunks are added: `headers` and `body` or `events` say all.
        interim: statuses of informational responses sent first.
        repeat: how many times a `body` or the `events` go out.
        slices: bytes of the body sent at a time; 0 sends each event of a stream in a segment of its own.
        delay: seconds before the first byte of the answer.
        every: seconds before each piece, or slice, of the body.
        early: answer when the headers of the request are here, and read the rest of it only slowly.
        cut: where the exchange breaks off; None plays it to its end.
        then: what happens to the connection after a whole exchange; None keeps it open for the next request.
    """

    text: str = "Hello from the scripted upstream."
    status: int = 200
    headers: Headers = attrs.field(default=(), converter=_pairs)
    body: bytes | None = None
    events: tuple[bytes, ...] | None = None
    opening: tuple[bytes, ...] = ()
    newline: str = "\n"
    raw: bool = False
    interim: tuple[int, ...] = ()
    repeat: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    slices: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    delay: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    every: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    early: bool = False
    cut: Cut | None = None
    then: How | None = None


SOUND = Play()
"""A sound answer."""


@final
@attrs.frozen(kw_only=True)
class Rule:
    """What happens to the requests that match: each of `plays` once, in order, then `always`.

    A rule whose plays are used up and that has no `always` matches nothing any more.

    Attributes:
        key: API key of the request, None for any. The same for `path`, without its query, and `model`.
    """

    key: str | None = None
    path: str | None = None
    model: str | None = None
    plays: tuple[Play, ...] = ()
    always: Play | None = None


@final
@attrs.frozen(kw_only=True)
class Script:
    """Everything an upstream shall do.

    Attributes:
        rules: the first one that matches a request and has a play left decides.
        default: for requests that no rule wants.
        connections: how the next connections end as soon as they are accepted, in order; None serves one.
        connection: the same for every connection after those.
        models: names in the model list.
    """

    rules: tuple[Rule, ...] = ()
    default: Play = SOUND
    connections: tuple[How | None, ...] = ()
    connection: How | None = None
    models: tuple[str, ...] = ("demo-model",)
