"""One connection of our own server: a task that answers, and what the server's reader calls when there is something.

What is read feeds the parser, which fills a request and hands it over; whatever comes while a request runs tells of a
client that left or that sends ahead of its turn. Nothing here waits under a shield, and every wait ends with the
connection's scope.
"""

import math
import re
import socket
from typing import Any, final
from urllib.parse import unquote_to_bytes

import httptools
import trio

import turnout_wire
from turnout import LastingScope
from turnout_http._llhttp_again import LastHead
from turnout_http._llhttp_exchange import Exchange, Shared
from turnout_http._server import Asgi
from turnout_http._silence import LOOK, PROBE, was_reset
from turnout_http._visit import CANCELS, HEAD, LASTING

LINGER = 1.0
"""Seconds in which unread bytes of a client are still taken after the last answer: closing over them would reset the
connection, and the client would lose the answer."""

EXTENSIONS: dict[str, dict[str, Any]] = {CANCELS: {}}

ASGI = {"version": "3.0", "spec_version": "2.4"}

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
class Connection:
    """A connection, and the parser's listener (its `on_…` methods).

    Attributes:
        due: when the connection ends unless something happens before, on Trio's clock.
    """

    __slots__ = (
        "_ahead",
        "_app",
        "_exchange",
        "_fault",
        "_head_bytes",
        "_head_done",
        "_headers",
        "_last_head",
        "_lasting",
        "_line",
        "_nursery",
        "_parser",
        "_peer",
        "_refused",
        "_scope",
        "_server",
        "_shared",
        "_sock",
        "_target",
        "_task",
        "_waiting",
        "due",
    )

    def __init__(self, app: Asgi, sock: socket.socket, peer: tuple[str, int], shared: Shared) -> None:
        self._app = app
        self._sock = sock
        self._peer = peer
        self._server = sock.getsockname()[:2]
        self._shared = shared
        self._parser = httptools.HttpRequestParser(self)
        self._scope = trio.CancelScope()
        self._lasting = LastingScope()
        self._task: trio.lowlevel.Task
        self._waiting = False
        self._last_head: LastHead | None = None
        self._exchange: Exchange | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._line = b""
        self._target = b""
        self._head_bytes = 0
        self._head_done = False
        self._refused = b""
        self._ahead = False
        self._fault: Exception | None = None
        self._nursery: trio.Nursery
        self.due = trio.current_time() + shared.limits.header_timeout

    async def run(self) -> None:
        """Serve the connection to its end."""
        readers = self._shared.readers
        self._task = trio.lowlevel.current_task()
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    readers.add(self._sock, self._take)
                    try:
                        await self._answer_requests()
                        await trio.sleep_forever()  # until the client has gone too, or `due`
                    finally:
                        readers.remove(self._sock)
        finally:
            del self._parser  # it holds our methods: without this the two wait for the cycle collector
        if self._fault is not None:
            raise self._fault

    @property
    def idle(self) -> bool:
        """No request is being served."""
        return self._exchange is None

    def close_if_idle(self) -> None:
        """Close now, unless a request is being served: its end will then close it."""
        if self.idle:
            self._scope.cancel()

    def expire(self) -> None:
        """Its time is over: a head that did not come, an idle connection, or the last unread bytes."""
        self._scope.cancel()

    # Reading

    def _take(self) -> None:
        """Take what has come. A fault of ours ends this connection, never the reader."""
        try:
            try:
                count = self._sock.recv_into(self._shared.view)
            except BlockingIOError:
                return
            except OSError:
                self._scope.cancel()
                return
            if self._last_head is None or not self._has_come_again(self._last_head, count):
                self._read(count)
        except Exception as error:  # noqa: BLE001  # raised in the connection's own task
            self._fault = error
            self._scope.cancel()

    def _has_come_again(self, last: LastHead, count: int) -> bool:
        """Whether what was read is a request with the last one's head, and nothing else: then it is taken."""
        if self._head_bytes or self._ahead or not (self._exchange is None or self._exchange.ended):
            return False
        body = last.body(self._shared.buffer, count)
        if body is None:
            return False
        self.due = math.inf
        exchange = Exchange(last.scope(), self._sock, self._shared, self._scope, keep=True, expects=False)
        exchange.add_whole(bytes(body))
        self._hand_over(exchange)
        return True

    def _read(self, count: int) -> None:
        if not count:
            self._shared.readers.remove(self._sock)
            self._nursery.start_soon(self._after_end_of_file)
            return
        if self._ahead:
            return
        data = self._shared.view[:count]
        if self._exchange is not None and self._exchange.upgraded:
            self._exchange.add(bytes(data))
        else:
            self._feed(data)
        if self._refused:
            self._refuse()
        if self._exchange is not None and self._exchange.full:
            self._shared.readers.remove(self._sock)
            self._nursery.start_soon(self._after_it_was_read, self._exchange)

    async def _after_it_was_read(self, exchange: Exchange) -> None:
        """Read on once the application has taken what has come of a body, or wants no more of it."""
        while exchange.full and not exchange.over:
            await exchange.wait_changed()
        if not self._nursery.cancel_scope.cancel_called:  # otherwise the connection has ended meanwhile
            self._shared.readers.add(self._sock, self._take)

    def _feed(self, data: memoryview) -> None:
        begins, before = not self._head_bytes, self._exchange
        self._head_bytes += len(data)
        if (begins or self._line) and not self._is_sound_line(data):
            self._spoil(MALFORMED)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._take_upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError:
            self._spoil(MALFORMED)
        if begins and self._exchange is None:  # a head that came whole, as nearly all do, needs no limit
            self.due = trio.current_time() + self._shared.limits.header_timeout
        elif begins and self._exchange is not before:
            self._remember(data)
        if not self._head_done and self._head_bytes > self._shared.limits.header_bytes:
            self._spoil(HEAD_TOO_LARGE)

    def _remember(self, data: memoryview) -> None:
        """Keep the head of a request that came in one piece; the next one may have the same."""
        self._last_head = None
        exchange = self._exchange
        if exchange is not None and exchange.complete and exchange.keep and not (self._ahead or self._refused):
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
        if self._exchange is None or self._ahead:
            self._spoil(MALFORMED)
        else:
            self._exchange.upgrade(rest)

    def _spoil(self, refusal: bytes) -> None:
        """What came cannot be understood: refuse it, or break off the request whose body it should have been."""
        exchange = self._exchange
        if exchange is None:
            self._refused = self._refused or refusal
        elif not exchange.complete:
            exchange.break_off()
        self._ahead = True

    def _refuse(self) -> None:
        """Answer what never became a request. An idle connection's buffer takes these few bytes at once."""
        self._ahead = True
        try:
            self._sock.send(self._refused)
        except OSError:
            self._scope.cancel()
        self._hang_up()

    async def _after_end_of_file(self) -> None:
        """The client sends no more: end the connection, and whatever it was being served."""
        await self._wait_for_the_last_answer()
        self._scope.cancel()

    async def _wait_for_the_last_answer(self) -> None:
        """A whole request is still answered for a while, if anybody is there (C-5)."""
        exchange = self._exchange
        if exchange is None or exchange.upgraded:
            return
        if not exchange.complete:
            exchange.break_off()
            await exchange.wait_over()
            return
        if not exchange.begun and exchange.scope["http_version"] == "1.1":
            try:
                self._sock.send(PROBE)
            except OSError:
                return
        until = trio.current_time() + self._shared.limits.half_close
        while not exchange.over and trio.current_time() < until and not was_reset(self._sock):
            with trio.move_on_after(LOOK):
                await exchange.wait_over()

    # The parser's listener

    def on_message_begin(self) -> None:
        """A request begins. Before the last answer has ended it is ahead of its turn, and never run (F4)."""
        if self._exchange is not None and not self._exchange.ended:
            self._ahead = True
        self._headers = []
        self._target = b""
        self._head_done = False

    def on_url(self, piece: bytes) -> None:
        """A piece of the request target."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is of no use to anybody here."""
        if self._head_done or self._ahead:
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > self._shared.limits.header_fields:
            self._refused = HEAD_TOO_LARGE

    def on_headers_complete(self) -> None:
        """The head is whole: hand the request over."""
        self._head_done = True
        if self._ahead or self._refused:
            return
        if self._head_bytes > self._shared.limits.header_bytes and self._head_size() > self._shared.limits.header_bytes:
            self._refused = HEAD_TOO_LARGE
            return
        self.due = math.inf
        scope = self._asgi_scope()
        exchange = Exchange(
            scope,
            self._sock,
            self._shared,
            self._scope,
            # One of HTTP/1.0 would have to be told that its connection is kept (RFC 9112, 9.3): it is told the end.
            keep=self._parser.should_keep_alive() and scope["http_version"] != "1.0",
            expects=self._expects_continue(),
        )
        self._hand_over(exchange)

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        if self._exchange is not None and not self._ahead:
            self._exchange.add(piece)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._head_bytes = 0
        if self._exchange is not None and not self._ahead:
            self._exchange.end()

    def _expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue`, which one of HTTP/1.0 never does (RFC 9110, 10.1.1)."""
        return self._parser.get_http_version() == "1.1" and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers
        )

    def _head_size(self) -> int:
        """Bytes of a head that came together with a piece of the body."""
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _asgi_scope(self) -> dict[str, Any]:
        raw_path, _, query = self._target.partition(b"?")
        path = unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("latin-1"),
            "scheme": "http",
            "path": path.decode("utf-8", "replace"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "client": self._peer,
            "server": self._server,
            "extensions": EXTENSIONS,
            LASTING: self._lasting,
        }

    # Answering

    def _hand_over(self, exchange: Exchange) -> None:
        """Have the request answered. It wakes the task as `trio.Event` does, without making one each time."""
        self._exchange = exchange
        if self._waiting:
            self._waiting = False
            trio.lowlevel.reschedule(self._task)

    def _wait_no_more(self, _raise: object) -> trio.lowlevel.Abort:
        self._waiting = False
        return trio.lowlevel.Abort.SUCCEEDED

    async def _answer_requests(self) -> None:
        with self._lasting:
            await self._answer_in_turn()

    async def _answer_in_turn(self) -> None:
        while True:
            while self._exchange is None:
                self._waiting = True
                await trio.lowlevel.wait_task_rescheduled(self._wait_no_more)
            exchange = self._exchange
            exchange.offer()
            await self._app(exchange.scope, exchange.receive, exchange.send)
            exchange.finish()
            if self._exchange is exchange:  # a quick client's next request may be here already
                self._exchange = None
                self.due = trio.current_time() + self._shared.limits.keep_alive
            if not (exchange.ended and exchange.keep) or self._ahead or self._shared.closing:
                self._ahead = True
                self._hang_up()
                return

    def _hang_up(self) -> None:
        """Say that no more comes; the reader takes what is still on its way (see LINGER)."""
        self.due = trio.current_time() + LINGER
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._scope.cancel()
