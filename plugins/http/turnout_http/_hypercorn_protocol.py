"""hypercorn's HTTP/1.1 protocol engine, without what lets it hang or be fooled (pitfalls H1, F4, F14)."""

import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast, final

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from turnout_http._hypercorn_upgrade import Upgraded
from turnout_http._server import Asgi
from turnout_http._settings import ClientLimits
from turnout_http._visit import Message, Scope

EARLY = 64 * 1024
"""Bytes of a next request that are kept while the answer to this one is going out."""

WAITING_MESSAGES = 10

_AMBIGUOUS = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\n(?i:content-length):[^\n]*,")
"""Bare line ends, folded lines, control characters, lists of lengths: readers differ, and h11 is lenient (S50)."""

_METHOD = re.compile(rb"[A-Z-]+ ")
"""How a request begins: methods are upper case, and hypercorn makes others so."""


@final
class _Inbox:
    """What the application will receive. Bounded for bodies; a disconnect is never held up by unread ones."""

    def __init__(self, before_reading: Callable[[], Awaitable[None]]) -> None:
        self._messages: deque[Message] = deque()
        self._changed = trio.Event()
        self._before_reading = before_reading
        self._shut = False

    async def put(self, message: Message) -> None:
        """Add a message; waits while too many are unread. Once shut, nobody reads it and it is dropped."""
        while len(self._messages) >= WAITING_MESSAGES and message["type"] == "http.request" and not self._shut:
            await self._changed.wait()
        if not self._shut:
            self._messages.append(message)
            self._tell()

    async def get(self) -> Message:
        """The next message; waits for it."""
        if not self._messages:
            await self._before_reading()
        while not self._messages:
            await self._changed.wait()
        message = self._messages.popleft()
        self._tell()
        return message

    def shut(self) -> None:
        """The application is through: nobody reads any more."""
        self._shut = True
        self._messages.clear()
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@final
class _Tasks:
    """The tasks of one connection, as hypercorn's protocol wants to start them, with our inbox in between."""

    def __init__(self, nursery: trio.Nursery, say_continue: Callable[[], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._say_continue = say_continue

    async def spawn_app(
        self, app: Asgi, _config: Config, scope: Scope, send: Callable[[Message | None], Awaitable[None]]
    ) -> Callable[[Message], Awaitable[None]]:
        """Start the application for one request; gives what takes its messages."""
        inbox = _Inbox(self._say_continue)
        self._nursery.start_soon(self._run_app, app, scope, inbox, send)
        return inbox.put

    async def _run_app(
        self, app: Asgi, scope: Scope, inbox: _Inbox, send: Callable[[Message | None], Awaitable[None]]
    ) -> None:
        try:
            await app(scope, inbox.get, send)
        finally:
            inbox.shut()
        await send(None)


@final
class Protocol(H11Protocol):
    """hypercorn's HTTP/1.1 without its own upgrades and without pipelining, and stricter about a request's head."""

    def __init__(
        self,
        limits: ClientLimits,
        nursery: trio.Nursery,
        config: Config,
        context: WorkerContext,
        app: Asgi,
        *ends: Any,
    ) -> None:
        tasks: Any = _Tasks(nursery, self.say_continue)
        super().__init__(cast("Any", app), config, context, tasks, ConnectionState({}), *ends)
        self._limits = limits
        self._head = bytearray()
        self._early = bytearray()
        self._ahead = False

    @property
    def busy(self) -> bool:
        """A request is being served."""
        return self.stream is not None

    @property
    def head_begun(self) -> bool:
        """A part of a request's head has come."""
        return bool(self._head)

    @property
    def patience(self) -> float:
        """Seconds for which nothing need be served from now on. What came early is the next head, or a part of it."""
        return self._limits.header_timeout if self._early else self._limits.keep_alive

    @property
    def request_complete(self) -> bool:
        """The whole request has been read."""
        return self.connection.their_state in {h11.DONE, h11.MUST_CLOSE}

    @property
    def answer_begun(self) -> bool:
        """A part of the answer has been sent, or none will be."""
        return self.connection.our_state is not h11.SEND_RESPONSE

    @property
    def bears_probe(self) -> bool:
        """An interim answer may come now; to a client of HTTP/1.0 never (RFC 9110, 15.2)."""
        spoken = self.connection.their_http_version if isinstance(self.connection, h11.Connection) else None
        return spoken == b"1.1" and not self.answer_begun

    async def handle(self, event: Event) -> None:
        """Take in what was read, head first: only a sound head reaches the parser."""
        if not isinstance(event, RawData):
            await super().handle(event)
        elif isinstance(self.stream, Upgraded):
            await self.stream.take(event.data)
        elif self.connection.their_state is h11.IDLE:
            await self._take_head(event.data)
        elif self.request_complete and event.data:
            self._take_early(event.data)
        else:
            await super().handle(event)

    async def _take_head(self, data: bytes) -> None:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        status = self._judge_head(bytes(self._head[: end + 2] if end >= 0 else self._head), complete=end >= 0)
        if status:
            await self._send_error_response(status)
            await self.send(Closed())
        elif end >= 0:
            data, self._head = bytes(self._head), bytearray()
            await super().handle(RawData(data=data))

    def _judge_head(self, head: bytes, *, complete: bool) -> int:
        """Status that refuses this head, 0 when it may pass."""
        sound = head if complete or not head.endswith(b"\r") else head[:-1]
        if _AMBIGUOUS.search(sound) or (complete and not _METHOD.match(head)):
            return 400
        if len(head) > self._limits.header_bytes or head.count(b"\n") > self._limits.header_fields + 1:
            return 431
        return 400 if head.lower().count(b"\ncontent-length:") > 1 else 0  # h11 takes two that agree for one

    def _take_early(self, data: bytes) -> None:
        """Bytes behind a whole request.

        A client may send its next request as soon as it has the last byte of an answer, which can be before we know
        that we sent it. Whoever sends before the answer has begun pipelines: that is never run, and the connection
        closes after this answer (F4).
        """
        self._ahead |= not self.answer_begun or len(self._early) > EARLY
        if not self._ahead:
            self._early += data

    async def say_continue(self) -> None:
        """Ask for the body once the application wants it, not before: it may refuse by the headers alone (A7)."""
        if self.connection.they_are_waiting_for_100_continue:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def _handle_events(self) -> None:
        while True:
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._send_error_response(error.error_status_hint)
                await self.send(Closed())
                return
            if event is h11.PAUSED and isinstance(self.stream, Upgraded):
                await self.stream.take(self.connection.trailing_data[0])
                return
            if event is h11.PAUSED:
                self._take_early(self.connection.trailing_data[0])
                return
            if isinstance(event, h11.Request):
                await self._begin(event)
            elif isinstance(event, h11.ConnectionClosed) or event is h11.NEED_DATA or self.stream is None:
                return
            else:
                await self._pass_on(self.stream, event)

    async def _begin(self, request: h11.Request) -> None:
        await self.send(Updated(idle=False))
        if any(name == b"upgrade" for name, _ in request.headers):
            self._ahead = True  # nothing that follows is a request, be the answer yes or no
            ends = (self.ssl, self.client, self.server, self.stream_send, STREAM_ID)
            stream = Upgraded(self.app, self.config, self.context, self.task_group, *ends, self.send)
            self.stream = stream
            await stream.begin(request)
        else:
            # h11 reads chunk lines and trailers leniently. Whoever stands in front of us and reads them another way
            # may take for a body what is a request to us: the connection ends with this one (S50).
            self._ahead |= any(name == b"transfer-encoding" for name, _ in request.headers)
            await self._create_stream(request)

    async def stream_send(self, event: Any) -> None:
        """Send a part of the answer; its head says when the connection ends with it."""
        if self._ahead and isinstance(event, Response) and all(name != b"connection" for name, _ in event.headers):
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _pass_on(self, stream: HTTPStream | WSStream, event: Any) -> None:
        if isinstance(event, h11.Data):
            await stream.handle(Body(stream_id=STREAM_ID, data=event.data))
        elif isinstance(event, h11.EndOfMessage):
            await stream.handle(EndBody(stream_id=STREAM_ID))

    async def _maybe_recycle(self) -> None:
        if self._ahead:
            await self._close_stream()
            await self.send(Closed())
        else:
            await super()._maybe_recycle()
            if self._early and self.connection.their_state is h11.IDLE:
                early, self._early = bytes(self._early), bytearray()
                await self.handle(RawData(data=early))
