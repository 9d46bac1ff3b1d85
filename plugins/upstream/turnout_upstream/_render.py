"""From a play and a request to the steps on the wire. Pure: the same play and request give the same bytes."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from http.client import responses
from typing import NamedTuple, final

import attrs

from turnout_upstream import _openai as openai
from turnout_upstream._script import Cut, How, Play, Point

CHUNKED = ("transfer-encoding", "chunked")
LAST_CHUNK = b"0\r\n\r\n"


@final
@attrs.frozen(slots=True)
class Send:
    """Bytes that leave in one segment, as far as the kernel allows."""

    data: bytes


@final
@attrs.frozen(slots=True)
class Wait:
    """Seconds in which nothing is sent."""

    seconds: float


Step = Send | Wait | How
"""`How` ends the exchange and the connection; without one the connection is kept."""


class Wants(NamedTuple):
    """What of a request its answer depends on."""

    path: str = ""
    model: str | None = None
    stream: bool = False
    usage: bool = False


@lru_cache(maxsize=256)
def steps(play: Play, wants: Wants, models: tuple[str, ...]) -> tuple[Step, ...]:
    """What to do on the wire for this play, for a request that wants this."""
    return tuple(_joined(play, _planned(play, *_content(play, wants, models))))


def _content(play: Play, wants: Wants, models: tuple[str, ...]) -> tuple[str, tuple[bytes, ...]]:
    """Media type and pieces of the body."""
    if play.events is not None:
        return "text/event-stream", play.opening + play.events * play.repeat
    if play.body is not None:
        return "application/json", (play.body,) * play.repeat
    if play.status >= 400:
        return "application/json", (openai.error(play.status),)
    if wants.path.endswith("/models"):
        return "application/json", (openai.models(models),)
    model = wants.model or ""
    if wants.stream:
        own = openai.events(model, play.text, usage=wants.usage, newline=play.newline)
        return "text/event-stream", play.opening + own
    return "application/json", (openai.reply(model, play.text),)


def _planned(play: Play, media_type: str, pieces: tuple[bytes, ...]) -> Iterator[Step]:
    """The exchange from interim responses to its end, or to its cut."""
    chunked = not play.raw and media_type == "text/event-stream"
    head = _head(play, media_type, None if chunked else sum(map(len, pieces)))
    sliced = _sliced(pieces, play.slices)
    framed = [_chunk(piece) for piece in sliced if piece] if chunked else [*sliced]
    if play.delay:
        yield Wait(play.delay)
    for status in play.interim:
        yield Send(_status_line(status) + b"\r\n")
    if play.cut is not None:
        yield from _broken_off(play, play.cut, head, framed)
        return
    yield Send(head)
    yield from _paced(play, framed)
    if chunked:
        yield Send(LAST_CHUNK)
    if play.then is not None:
        yield play.then


def _broken_off(play: Play, cut: Cut, head: bytes, framed: list[bytes]) -> Iterator[Step]:
    """What goes out before the cut, and how it breaks off there."""
    if cut.at is Point.MID_HEAD:
        yield Send(head[: len(head) // 2])
    elif cut.at is not Point.REQUEST:
        yield Send(head)
    if framed and cut.at in {Point.PIECES, Point.MID_PIECE, Point.LAST}:
        # Something is always cut off: a body of one piece goes out in part, never whole
        last = len(framed) - 1
        at = last if cut.at is Point.LAST else min(cut.after, last)
        yield from _paced(play, framed[:at])
        if cut.at is Point.MID_PIECE:
            yield Send(framed[at][: len(framed[at]) // 2])
    yield cut.how


def _paced(play: Play, pieces: Iterable[bytes]) -> Iterator[Step]:
    for piece in pieces:
        if play.every:
            yield Wait(play.every)
        yield Send(piece)


def _sliced(pieces: tuple[bytes, ...], size: int) -> Iterable[bytes]:
    if not size:
        return pieces
    whole = b"".join(pieces)
    return (whole[at : at + size] for at in range(0, len(whole), size))


@lru_cache(maxsize=16)
def _chunk(data: bytes) -> bytes:
    """One chunk; pieces that repeat share it, so that 200 MB of them take no memory."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _joined(play: Play, planned: Iterator[Step]) -> Iterator[Step]:
    """One segment for the head and body of a small reply that is sent whole, as servers do: the hot path."""
    taken = tuple(planned)
    whole = play.cut is None and not play.slices and not play.every and play.events is None
    if whole and len(taken) == 2 and isinstance(taken[0], Send) and isinstance(taken[1], Send):
        yield Send(taken[0].data + taken[1].data)
    else:
        yield from taken


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {responses.get(status, 'Scripted')}\r\n".encode("ascii")


def _head(play: Play, media_type: str, length: int | None) -> bytes:
    given = {name.lower() for name, _ in play.headers}
    usual = [("content-type", media_type)]
    if not play.raw:
        usual.append(CHUNKED if length is None else ("content-length", str(length)))
    lines = [pair for pair in usual if pair[0] not in given] + list(play.headers)
    # latin-1 and unchecked: a script may break every rule about header values
    return _status_line(play.status) + b"".join(f"{n}: {v}\r\n".encode("latin-1") for n, v in lines) + b"\r\n"
