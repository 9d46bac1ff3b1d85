"""Requests out of what a client sends on one connection of our own server: parsed by llhttp, or known already."""

import re
from collections.abc import Callable
from typing import final

import httptools

import turnout_wire
from turnout_http._framing import unquoted
from turnout_http._llhttp_again import LastHead
from turnout_http._llhttp_exchange import Exchange
from turnout_http._llhttp_outlet import Outlet
from turnout_http._llhttp_shared import Shared
from turnout_http._visit import ASGI, EXTENSIONS, HEAD, Scope

MISSES = 8
"""Heads in a row that were none of the one before them, after which a connection's heads are not compared any more:
remembering one takes 13 µs, which a client that never repeats itself would pay for nothing."""

_REQUEST_LINE = re.compile(rb"(?:\r\n)?[A-Z-]+ [^\x00-\x20\x7f]+ HTTP/[0-9]\.[0-9]\r\n")
"""RFC 9112, 3, behind the one empty line that 2.2 has a server ignore. llhttp takes several blanks and other line ends
there, and RTSP and ICE for HTTP."""

_WHOLE_LINE = re.compile(rb"[\r\n]*[^\r\n]+(?:\n|\r.)", re.DOTALL)


def _refusal(code: str, message: str) -> bytes:
    answer = turnout_wire.refusal(code, message, "openai.chat")
    head = b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (answer.status, len(answer.body)) + answer.body


MALFORMED = _refusal("bad_request", "malformed request")
HEAD_TOO_LARGE = _refusal("headers_too_large", "the request line and headers are too large")


@final
class Requests:
    """What has come on a connection, and the parser's listener (its `on_…` methods).

    Attributes:
        current: the request that is being read or answered; whoever has answered it takes it away.
        ahead: what comes is not looked at any more: a client sent ahead of its turn, or what cannot be understood.
        refused: the answer to what never became a request, empty while there is nothing to refuse.
    """

    __slots__ = (
        "_begin",
        "_common",
        "_head_bytes",
        "_head_done",
        "_headers",
        "_last_head",
        "_line",
        "_misses",
        "_out",
        "_parser",
        "_shared",
        "_target",
        "ahead",
        "current",
        "refused",
    )

    def __init__(self, out: Outlet, shared: Shared, begin: Callable[[Exchange], None], common: Scope) -> None:
        """`begin` is called with each request as soon as its head is whole; `common` is in the scope of each."""
        self._out = out
        self._shared = shared
        self._begin = begin
        self._common = common
        self._parser = httptools.HttpRequestParser(self)
        self._last_head: LastHead | None = None
        self._misses = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._line = b""
        self._target = b""
        self._head_bytes = 0
        self._head_done = False
        self.current: Exchange | None = None
        self.ahead = False
        self.refused = b""

    def close(self) -> None:
        """Part from llhttp and the connection, which hold us: without this all wait for the cycle collector."""
        del self._parser, self._begin

    # What has been read

    @property
    def head_begun(self) -> bool:
        """A part of a request has come, of which more has to come.

        Bytes are counted that are no body, since it began or since the last piece of its body; one stands for those.
        """
        return bool(self._head_bytes)

    def has_come_again(self, count: int) -> bool:
        """Whether the first bytes of the buffer are a request with the last one's head, and no more: then it begins."""
        last = self._last_head
        if last is None or self._head_bytes or self.ahead or not (self.current is None or self.current.ended):
            return False
        body = last.body(self._shared.buffer, count)
        if body is None:
            return False
        self._misses = 0
        self.current = exchange = Exchange(last.scope(), self._out, self._shared, keep=True, expects=False)
        exchange.add_whole(bytes(body))
        self._begin(exchange)
        return True

    def feed(self, data: memoryview) -> bool:
        """Take what has come next; whether it is the beginning of a head of which more has to come."""
        begins, before = not self._head_bytes, self.current
        self._head_bytes += len(data)
        if (begins or self._line) and not self._is_sound_line(data):
            self._spoil(MALFORMED)
            return False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._take_upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError:
            self._spoil(MALFORMED)
        if begins and self.current is not None and self.current is not before:
            self._remember(data, self.current)
        if self._head_bytes > self._shared.limits.header_bytes:  # a head, trailers, or what a chunk says of itself
            self._spoil(HEAD_TOO_LARGE)
        return begins and self.current is None

    def _remember(self, data: memoryview, exchange: Exchange) -> None:
        """Keep the head of a request that came in one piece; the next one may have the same."""
        if self._last_head is not None:
            self._last_head = None
            self._misses += 1
        if not exchange.complete or not exchange.keep or self.ahead or self.refused or self._misses >= MISSES:
            return
        head = bytes(data[: len(data) - exchange.unread])
        self._last_head = LastHead.of(head, exchange.unread, exchange.scope)
        if self._last_head is not None:
            exchange.scope[HEAD] = self._last_head

    def _is_sound_line(self, data: memoryview) -> bool:
        """Whether the request line has one reading, as far as it has come."""
        if not self._line and _REQUEST_LINE.match(data):
            return True
        self._line += data
        if not _WHOLE_LINE.match(self._line):
            return True
        line, self._line = self._line, b""
        return _REQUEST_LINE.match(line) is not None

    def _take_upgrade(self, rest: bytes) -> None:
        """The request asks for another protocol: whatever follows is none of HTTP's, be the answer yes or no."""
        if self.current is None or self.ahead:
            self._spoil(MALFORMED)
        else:
            self.current.upgrade(rest)

    def _spoil(self, refusal: bytes) -> None:
        """What came cannot be understood: refuse it, or break off the request whose body it should have been."""
        exchange = self.current
        if exchange is None:
            self.refused = self.refused or refusal
        elif not exchange.complete:
            exchange.break_off()
        self.ahead = True

    # The parser's listener

    def on_message_begin(self) -> None:
        """A request begins. Before the last answer has ended it is ahead of its turn, and never run (F4)."""
        if self.current is not None and not self.current.ended:
            self.ahead = True
        self._headers = []
        self._target = b""
        self._head_done = False

    def on_url(self, piece: bytes) -> None:
        """A piece of the request target."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is of no use to anybody here."""
        if self._head_done or self.ahead:
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > self._shared.limits.header_fields:
            self.refused = HEAD_TOO_LARGE

    def on_headers_complete(self) -> None:
        """The head is whole: the request begins."""
        self._head_done = True
        if self.ahead or self.refused:
            return
        if self._head_bytes > self._shared.limits.header_bytes and self._head_size() > self._shared.limits.header_bytes:
            self.refused = HEAD_TOO_LARGE
            return
        scope = self._asgi_scope()
        # One of HTTP/1.0 would have to be told that its connection is kept (RFC 9112, 9.3): it is told the end.
        keep = self._parser.should_keep_alive() and scope["http_version"] != "1.0"
        self._head_bytes = 1
        self.current = Exchange(scope, self._out, self._shared, keep=keep, expects=self._expects_continue())
        self._begin(self.current)

    def on_body(self, piece: bytes) -> None:
        """A piece of the body, behind which bytes are counted anew."""
        self._head_bytes = 1
        if self.current is not None and not self.ahead:
            self.current.add(piece)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._head_bytes = 0
        if self.current is not None and not self.ahead:
            self.current.end()

    def _expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue`, which one of HTTP/1.0 never does (RFC 9110, 10.1.1)."""
        return self._parser.get_http_version() == "1.1" and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers
        )

    def _head_size(self) -> int:
        """Bytes of a head that came together with a piece of the body."""
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _asgi_scope(self) -> Scope:
        raw_path, _, query = self._target.partition(b"?")
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("latin-1"),
            "scheme": "http",
            "path": unquoted(raw_path),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "extensions": EXTENSIONS,
            **self._common,
        }
