"""One request and its answer on a connection of our own server, as ASGI's `receive` and `send`."""

import http
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import Any, final

import trio

from turnout_http._llhttp_outlet import COPIED, Outlet
from turnout_http._llhttp_shared import Shared
from turnout_http._visit import ANSWER, DONE, STREAMS, WHOLE_BODY, Message, Scope

UNREAD = 256 * 1024
"""Bytes of a body that may wait for the application before the connection stops reading."""

YIELD_EVERY = 32
"""Pieces of a stream after which others get their turn, for a send that never has to wait would never let them."""

STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in http.HTTPStatus
}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

LAST_CHUNK = b"0\r\n\r\n"

SWITCHING = 101

BODYLESS = frozenset({204, 304})


@final
class Later:
    """An awaitable whose coroutine is made when it is awaited, so that it may be dropped."""

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._begin = begin

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait for the coroutine."""
        return self._begin().__await__()


@final
class Exchange:
    """A request as the parser fills it, and the answer as the application sends it.

    Attributes:
        scope: the ASGI scope.
        complete: the whole request has been read.
        begun: a part of the answer has been sent.
        ended: the whole answer has been handed to the system.
        keep: the connection may serve another request afterwards.
        over: the application has returned.
        unread: bytes of the body that wait for the application.
        upgraded: another protocol was asked for, so the body is whatever comes, and the connection ends with it.
    """

    __slots__ = (
        "_bodyless",
        "_changed",
        "_chunked",
        "_expects",
        "_head",
        "_out",
        "_pieces",
        "_sent",
        "_shared",
        "_sized",
        "_streams",
        "_told_end",
        "begun",
        "broken_off",
        "complete",
        "ended",
        "keep",
        "over",
        "scope",
        "unread",
        "upgraded",
    )

    def __init__(self, scope: Scope, out: Outlet, shared: Shared, *, keep: bool, expects: bool) -> None:
        self.scope = scope
        self.complete = False
        self.broken_off = False
        self.begun = False
        self.ended = False
        self.keep = keep
        self.over = False
        self.upgraded = False
        self._out = out
        self._shared = shared
        self._expects = expects
        self._pieces: list[bytes] = []
        self.unread = 0
        self._told_end = False
        self._changed: trio.Event | None = None
        self._head = b""
        self._sized = False
        self._streams = False
        self._bodyless = False
        self._chunked = False
        self._sent = 0

    # The request

    @property
    def full(self) -> bool:
        """More of the body is unread than may be, and more is to come."""
        return self.unread > UNREAD and not self.complete

    def add(self, piece: bytes) -> None:
        """A piece of the body has been read."""
        self._pieces.append(piece)
        self.unread += len(piece)
        self._tell()

    def add_whole(self, body: bytes) -> None:
        """The whole body has been read, before anybody can wait for it."""
        self._pieces.append(body)
        self.unread = len(body)
        self.complete = True

    def end(self) -> None:
        """The whole request has been read."""
        self.complete = True
        self._tell()

    def upgrade(self, rest: bytes) -> None:
        """The head is all there is of HTTP; `rest` came right behind it."""
        self.upgraded, self.complete, self.keep = True, False, False
        if rest:
            self.add(rest)

    def break_off(self) -> None:
        """The rest of the request will never come."""
        self.broken_off = True
        self._tell()

    def offer(self) -> None:
        """Put into the scope what spares the application waits and messages: a body that is here already, `answer`."""
        self.scope[ANSWER] = self.answer
        if self.complete:
            self.scope[WHOLE_BODY] = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    async def receive(self) -> Message:
        """The next message of ASGI. The end of the client itself comes as cancellation."""
        while not (self._pieces or self.broken_off or (self.complete and not self._told_end)):
            if self._expects and not self.complete:
                self._expects = False
                await self._write([CONTINUE])
            await self.wait_changed()
        if self.broken_off:
            return {"type": "http.disconnect"}
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.unread = 0
        self._told_end = self.complete
        self._tell()
        return {"type": "http.request", "body": body, "more_body": not self.complete}

    def finish(self) -> None:
        """The application has returned."""
        self.over = True
        self.scope.pop(ANSWER, None)  # or the two hold each other
        if self._changed is not None:
            self._tell()

    async def wait_over(self) -> None:
        """Wait until the application has returned."""
        while not self.over:
            await self.wait_changed()

    async def wait_changed(self) -> None:
        """Wait until the other side has read or added something."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    # The answer

    def send(self, message: Message) -> Awaitable[None]:
        """Take a message of ASGI; waits while the client does not read, and cancels the connection if it never does.

        What the system takes at once needs no coroutine: two less for every event, 2 µs.
        """
        if message["type"] == "http.response.start":
            if message["status"] == SWITCHING:
                head = [STATUS_LINES[SWITCHING], *(b"%b: %b\r\n" % pair for pair in message["headers"]), b"\r\n"]
                return self._write(head)
            self._head = self._compose_head(message["status"], message["headers"])
            self._streams = message.get(STREAMS, False)
            return DONE
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._head:
            parts = self._begin(body, more=more)
        elif self._chunked:
            parts = _chunk(body, last=not more)
        else:
            parts = [] if self._bodyless else [body]
        self._sent += 1
        self.begun = True
        rest = self._out.write_nowait(parts)
        if rest or (more and self._sent % YIELD_EVERY == 0):
            return Later(partial(self._send_rest, rest, more=more))
        self.ended = not more
        return DONE

    async def _send_rest(self, rest: list[memoryview], *, more: bool) -> None:
        await self._out.wait_written(rest)
        self.ended = not more
        if more and self._sent % YIELD_EVERY == 0:
            await trio.lowlevel.checkpoint()

    def _compose_head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        lines = [STATUS_LINES[status]]
        for name, value in headers:
            if name == b"connection":
                self.keep = False
            else:
                self._sized |= name == b"content-length"
                lines.append(b"%b: %b\r\n" % (name, value))
        head = b"".join(lines)
        if head.count(b"\n") != len(lines):
            raise ValueError("a header of the answer holds a line feed")
        self._bodyless = status in BODYLESS or self.scope["method"] == "HEAD"
        return head

    def _begin(self, body: bytes, *, more: bool) -> list[bytes]:
        """Head and first piece, in one write."""
        parts = [self._head, self._shared.date]
        self._head = b""
        if not (self._sized or self._bodyless):
            parts.append(self._framing(body, more=more))
        parts.append(self._end_of_head())
        if self._bodyless:
            return parts
        return parts + (_chunk(body, last=not more) if self._chunked else [body])

    def answer(self, status: int, lines: bytes, body: bytes, *, close: bool) -> Awaitable[None]:
        """Take a whole answer; see `Answer`. As in `send`, what the system takes at once needs no coroutine."""
        self.keep = self.keep and not close
        burst = self._out.burst
        if burst is not None and burst.goes_on() and self._shared.readers.busy > 1:  # not only with this one
            return self._answer_together(status, lines, body)
        return self._answer(status, lines, body)

    async def _answer_together(self, status: int, lines: bytes, body: bytes) -> None:
        await trio.lowlevel.checkpoint()
        await self._answer(status, lines, body)

    def _answer(self, status: int, lines: bytes, body: bytes) -> Awaitable[None]:
        parts = [STATUS_LINES[status], lines, self._shared.date, self._end_of_head()]
        if status not in BODYLESS and self.scope["method"] != "HEAD":
            parts.append(body)
        self.begun = True
        rest = self._out.write_nowait(parts)
        if rest:
            return self._send_rest(rest, more=False)
        self.ended = True
        return DONE

    def _end_of_head(self) -> bytes:
        """Its last lines; says whether the connection is kept."""
        self.keep = self.keep and self.complete and not self._shared.closing
        return b"\r\n" if self.keep else b"connection: close\r\n\r\n"

    def _framing(self, body: bytes, *, more: bool) -> bytes:
        """The header that says where the body ends; a client of HTTP/1.0 learns it from the end of the connection."""
        if not (more or self._streams):
            return b"content-length: %d\r\n" % len(body)
        self._chunked = self.scope["http_version"] == "1.1"
        self.keep = self.keep and self._chunked
        return b"transfer-encoding: chunked\r\n" if self._chunked else b""

    async def _write(self, parts: list[bytes]) -> None:
        self.begun = True
        await self._out.wait_written(self._out.write_nowait(parts))


def _chunk(body: bytes, *, last: bool) -> list[bytes]:
    if not body:
        return [LAST_CHUNK] if last else []
    if len(body) < COPIED:  # as nearly all are: one copy, and nothing to join
        return [(b"%x\r\n%b\r\n0\r\n\r\n" if last else b"%x\r\n%b\r\n") % (len(body), body)]
    parts = [b"%x\r\n" % len(body), body, b"\r\n"]
    return [*parts, LAST_CHUNK] if last else parts
