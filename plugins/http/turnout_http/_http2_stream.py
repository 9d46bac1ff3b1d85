"""One request over HTTP/2 and its answer, as ASGI's `receive` and `send`."""

import math
import time
from contextlib import suppress
from typing import final
from wsgiref.handlers import format_date_time

import h2.connection
import h2.errors
import h2.exceptions
import trio

from turnout_http._patience import Patience
from turnout_http._settings import ClientLimits
from turnout_http._visit import Message, Scope

UNSENT = 64 * 1024
"""Bytes that may wait to be written, of all streams of a connection, before a stream adds to them."""

EARNED_PER = 1024
"""Bytes of an answer for which a client may open its windows once, where they cut it: one that opens them byte by byte
uses up its patience."""

EARNED_BY_ALL = 4
"""The same for a piece that they do not cut: some clients open both windows for every event that they get."""

_NO_ERROR, _CANCEL = h2.errors.ErrorCodes.NO_ERROR, h2.errors.ErrorCodes.CANCEL


@final
class Line:
    """What the streams of a connection share.

    Attributes:
        h2: the state of the connection, which holds what is to be sent.
        windows: how often the client may still open its windows.
        unsent: bytes of answers that are not written yet.
    """

    def __init__(self, state: h2.connection.H2Connection, limits: ClientLimits) -> None:
        self.h2 = state
        self.limits = limits
        self.windows = Patience()
        self.unsent = 0
        self._output = trio.Event()
        self._second = -1
        self._date = (b"date", b"")

    def date(self) -> tuple[bytes, bytes]:
        """The header that every answer has (RFC 9110, 6.6.1), made once a second."""
        if (second := int(time.time())) != self._second:
            self._second, self._date = second, (b"date", format_date_time(second).encode())
        return self._date

    def wake(self) -> None:
        """Have written what there is."""
        self._output.set()

    async def wait_output(self) -> None:
        """Wait until there may be something to write."""
        await self._output.wait()
        self._output = trio.Event()


@final
class Stream:
    """A request and its answer.

    Attributes:
        id: its number on the connection.
        asgi: the ASGI scope.
        scope: in which the application runs; cancelled when the client leaves.
    """

    def __init__(self, id: int, asgi: Scope, line: Line) -> None:
        self.id = id
        self.asgi = asgi
        self.scope = trio.CancelScope()
        self._line = line
        self._changed = trio.Event()
        self._expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in asgi["headers"])
        self._body = bytearray()  # pieces may be of a byte each
        self._unread = 0
        self._complete = False
        self._told_end = False
        self._head: list[tuple[bytes, bytes]] = []
        self._bodyless = asgi["method"] == "HEAD"
        self._ended = False

    # The request

    def add(self, piece: bytes, counted: int) -> None:
        """A piece of the body has come; `counted` is what it takes of the windows, padding included."""
        self._body += piece
        self._unread += counted
        self.tell()

    def end(self) -> None:
        """The whole request has come."""
        self._complete = True
        self.tell()

    def leave(self) -> None:
        """The client has gone, or has taken the request back."""
        self.scope.cancel()

    def tell(self) -> None:
        """Something has changed that may be waited for: the body, a window, room for more to be written."""
        self._changed.set()
        self._changed = trio.Event()

    async def receive(self) -> Message:
        """The next message of ASGI. The client's leaving comes as cancellation."""
        if self._expects and not (self._body or self._complete):
            self._expects = False
            self._line.h2.send_headers(self.id, [(b":status", b"100")])
            self._line.wake()
        while not self._body and (self._told_end or not self._complete):
            await self._changed.wait()
        body = bytes(self._body)
        self._body.clear()
        self._acknowledge()
        self._told_end = self._complete
        return {"type": "http.request", "body": body, "more_body": not self._complete}

    def _acknowledge(self) -> None:
        """Let as much come again as has been read."""
        counted, self._unread = self._unread, 0
        if counted:
            self._line.h2.acknowledge_received_data(counted, self.id)
            self._line.wake()

    # The answer

    async def send(self, message: Message) -> None:
        """Take a message of ASGI; waits while the client takes nothing, and takes the answer back if it never does."""
        if message["type"] == "http.response.start":
            status = (b":status", b"%d" % message["status"])
            self._head = [status, self._line.date(), *message["headers"]]  # h2 drops those of HTTP/1.1
            return
        last = not message.get("more_body", False)
        body = b"" if self._bodyless else message.get("body", b"")
        try:
            await self._send_body(body, last=last)
        except h2.exceptions.ProtocolError:  # the client has taken its request back, or the connection has ended
            await self._lose()
        self._ended = last

    async def _send_body(self, body: bytes, *, last: bool) -> None:
        line, rest = self._line, memoryview(body)
        if self._head:
            head, self._head = self._head, []
            line.h2.send_headers(self.id, head, end_stream=last and not body)
        elif last and not body:
            line.h2.end_stream(self.id)
        line.wake()
        while rest:
            if not (room := self._room()):
                await self._wait_room()
                continue
            piece, rest = rest[:room], rest[room:]
            line.h2.send_data(self.id, piece.tobytes(), end_stream=last and not rest)
            line.unsent += len(piece)
            line.windows.earn(len(piece) // EARNED_PER if rest else EARNED_BY_ALL)
            line.wake()

    def _room(self) -> int:
        """Bytes that may be sent now."""
        state = self._line.h2
        if self._line.unsent > UNSENT:
            return 0
        return max(0, min(state.local_flow_control_window(self.id), state.max_outbound_frame_size))

    async def _wait_room(self) -> None:
        left: float = self._line.limits.write_stall
        while not self._room():
            behind = self._line.unsent > UNSENT  # what is written before this has its own limit
            began = trio.current_time()
            with trio.move_on_after(math.inf if behind else left) as stalled:
                await self._changed.wait()
            if stalled.cancelled_caught:
                await self._lose()
            if not behind:
                left -= trio.current_time() - began

    async def _lose(self) -> None:
        """Nobody takes the rest: end the application's work for it."""
        self.scope.cancel()
        await trio.lowlevel.checkpoint()

    def finish(self) -> None:
        """The application is through, or was cancelled: take back what was not answered to its end."""
        with suppress(h2.exceptions.ProtocolError):  # the connection or the stream has ended already
            self._acknowledge()
            if not (self._ended and self._complete):
                # After a whole answer the rest of the request is not wanted (RFC 9113, 8.1)
                self._line.h2.reset_stream(self.id, _NO_ERROR if self._ended else _CANCEL)
