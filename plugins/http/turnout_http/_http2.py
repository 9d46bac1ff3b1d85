"""HTTP/2 for clients over TLS: streams in, answers out, on the state machine of `h2`, which does no I/O.

hypercorn's own engine is not used. It holds up a whole connection for one body that nobody reads, waits for ever for a
window that stays shut, falls over what comes behind an early answer, and obeys every flood.
"""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias, final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext

from turnout_http._framing import unquoted
from turnout_http._http2_stream import Line, Stream
from turnout_http._patience import Patience
from turnout_http._server import Asgi
from turnout_http._settings import ClientLimits
from turnout_http._visit import ASGI, EXTENSIONS, Scope
from turnout_sockets import Farewell, Frames

PREFACE = 24
"""Bytes that a client sends before its first frame (RFC 9113, 3.4)."""

UNREAD = 1024 * 1024
"""Bytes of bodies that may wait on one connection, of all its streams together; 64 KiB of each (RFC 9113, 6.9.2)."""

LIST_BYTES = 64 * 1024
"""Bytes of a list of headers above which it is not even decoded; below, one over the limit is answered with 431."""

RESET_COSTS = 4
"""What a stream that the client takes back costs of its patience: 250 at once, and eight a second (rapid reset)."""

CRUMB = 16
"""Bytes of a body below which a piece is one of those, unless it is the last: some clients end with an empty one."""

Address: TypeAlias = tuple[str, int] | None

_METHOD = re.compile(rb"[A-Z-]+")

_TARGET = re.compile(rb"[\x21-\x7e]*")

_SURELY_IDLE = (
    h2.events.PingReceived,
    h2.events.PingAckReceived,
    h2.events.PriorityUpdated,
    h2.events.UnknownFrameReceived,
)


@final
class Http2:
    """One connection. Its tasks live in the connection's nursery; whatever is to be sent goes through one of them."""

    head_begun = True
    """What comes between two requests never is a part of a head whose time runs: `keep_alive` does."""

    request_complete = False
    """An end of file ends every stream, for a client of HTTP/2 has no reason to close its sending side alone."""

    bears_probe = False

    def __init__(
        self,
        limits: ClientLimits,
        nursery: trio.Nursery,
        context: WorkerContext,
        app: Asgi,
        *,
        client: Address,
        server: Address,
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        """`send` takes what is to be written, that the connection is idle or not, and that it has ended."""
        self._limits = limits
        self._nursery = nursery
        self._context = context
        self._app = app
        self._client, self._server = client, server
        self._send = send
        self._streams: dict[int, Stream] = {}
        self._closed = False
        self._frames = Frames(preface=PREFACE)
        self._client_ends = False
        self._last: int | None = None
        self._farewell = b""
        # It lets a client have 100 requests at a time (RFC 9113, 6.5.2 wants no fewer); more end the connection.
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._line = Line(self._h2, limits)
        self._patience = Patience()
        self._h2.decoder.max_header_list_size = LIST_BYTES
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(UNREAD - self._h2.inbound_flow_control_window)
        nursery.start_soon(self._write)

    @property
    def busy(self) -> bool:
        """A request is being served."""
        return bool(self._streams)

    @property
    def patience(self) -> float:
        """Seconds for which nothing need be served from now on."""
        return self._limits.keep_alive

    async def handle(self, event: Event) -> None:
        """Take in what was read, or that the connection has ended."""
        if isinstance(event, RawData):
            if event.data and not self._closed:
                await self._take(event.data)
        elif isinstance(event, Closed):
            self._end(h2.errors.ErrorCodes.NO_ERROR)
            for stream in list(self._streams.values()):
                stream.leave()

    def take_leave(self) -> None:
        """Have the client begin whatever is new on another connection; what runs goes on (RFC 9113, 6.8)."""
        if self._last is None:
            self._last = self._h2.highest_inbound_stream_id
            self._farewell = Farewell(self._last, h2.errors.ErrorCodes.NO_ERROR).frame()
            self._line.wake()

    # What comes in

    async def _take(self, data: bytes) -> None:
        passed, farewells = self._frames.take(data)
        try:
            events = self._h2.receive_data(passed)
        except h2.exceptions.ProtocolError:  # h2 has said goodbye with the reason
            self._closed = True
        else:
            for event in events:
                await self._take_event(event)
            for farewell in farewells:
                self._take_farewell(farewell)
            now = trio.current_time()
            if self._patience.is_over(now) or self._line.windows.is_over(now):
                self._end(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        self._line.wake()
        if self._closed:
            await self._send(Closed())

    async def _take_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            await self._begin(event.stream_id, event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._take_body(event)
        elif isinstance(event, h2.events.StreamEnded):
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.end()
        elif isinstance(event, h2.events.StreamReset):
            self._patience.spend(RESET_COSTS)
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.leave()
        else:
            await self._take_control(event)

    async def _take_control(self, event: h2.events.Event) -> None:
        """What concerns no request, or any."""
        if isinstance(event, h2.events.WindowUpdated):
            self._line.windows.spend(1)
            if self._streams:
                self._wake_all()
            else:  # it still takes what was written long ago
                await self._send(Updated(idle=True))
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._patience.spend(1)
            self._wake_all()
        elif isinstance(event, _SURELY_IDLE):
            self._patience.spend(1)

    def _take_farewell(self, farewell: Farewell) -> None:
        """The client will ask for nothing more. What it has asked for it still wants, unless something is wrong."""
        self._patience.spend(1)
        self._client_ends = True
        if farewell.code != h2.errors.ErrorCodes.NO_ERROR or not self._streams:
            self._end(h2.errors.ErrorCodes.NO_ERROR)

    async def _begin(self, id: int, headers: list[tuple[bytes, bytes]]) -> None:
        pseudo = {name: value for name, value in headers if name.startswith(b":")}
        if self._context.terminated.is_set():
            self._refuse(id, h2.errors.ErrorCodes.REFUSED_STREAM)  # so it may be sent again elsewhere
        elif status := self._judge(pseudo, headers):
            self._refuse(
                id,
                h2.errors.ErrorCodes.NO_ERROR,
                (b":status", b"%d" % status),
                self._line.date(),
                (b"content-length", b"0"),
            )
        else:
            scope = self._scope(pseudo, [pair for pair in headers if not pair[0].startswith(b":")])
            self._streams[id] = stream = Stream(id, scope, self._line)
            if len(self._streams) == 1:
                await self._send(Updated(idle=False))
            self._nursery.start_soon(self._serve, stream)

    def _refuse(self, id: int, code: h2.errors.ErrorCodes, *answer: tuple[bytes, bytes]) -> None:
        self._patience.spend(1)
        with suppress(h2.exceptions.StreamClosedError):  # taken back in the same breath
            if answer:
                self._h2.send_headers(id, answer, end_stream=True)
            self._h2.reset_stream(id, code)

    def _judge(self, pseudo: dict[bytes, bytes], headers: list[tuple[bytes, bytes]]) -> int:
        """Status that refuses this head, 0 when it may pass."""
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self._limits.header_bytes or len(headers) - len(pseudo) > self._limits.header_fields:
            return 431
        sound = _METHOD.fullmatch(pseudo[b":method"]) and _TARGET.fullmatch(pseudo.get(b":path", b""))
        return 0 if sound else 400

    def _scope(self, pseudo: dict[bytes, bytes], headers: list[tuple[bytes, bytes]]) -> Scope:
        raw_path, _, query = pseudo.get(b":path", b"").partition(b"?")
        if b":authority" in pseudo:  # h2 has refused a `host` that differs
            headers = [(b"host", pseudo[b":authority"]), *(pair for pair in headers if pair[0] != b"host")]
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": "2",
            "method": pseudo[b":method"].decode("latin-1"),
            "scheme": "https",
            "path": unquoted(raw_path),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self._client,
            "server": self._server,
            "extensions": EXTENSIONS,
        }

    def _take_body(self, event: h2.events.DataReceived) -> None:
        if len(event.data) < CRUMB and event.stream_ended is None:
            self._patience.spend(1)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.add(event.data, event.flow_controlled_length)
        else:  # behind an early answer
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    # Serving

    async def _serve(self, stream: Stream) -> None:
        try:
            with stream.scope:
                await self._app(stream.asgi, stream.receive, stream.send)
        finally:
            stream.finish()
            del self._streams[stream.id]
            self._line.wake()
        if not self._streams:
            if self._client_ends:
                self._end(h2.errors.ErrorCodes.NO_ERROR)
                await self._send(Closed())
            else:
                await self._send(Updated(idle=True))

    def _wake_all(self) -> None:
        for stream in self._streams.values():
            stream.tell()

    # What goes out

    async def _write(self) -> None:
        """Send whatever there is, until the connection ends: a task that is cancelled never leaves half a frame."""
        line = self._line
        while True:
            farewell, self._farewell = self._farewell, b""
            if data := self._h2.data_to_send() + farewell:
                taken = line.unsent
                await self._send(RawData(data=data))
                line.unsent -= taken
                self._wake_all()
            elif self._closed:
                return
            else:
                await line.wait_output()

    def _end(self, code: h2.errors.ErrorCodes) -> None:
        if not self._closed:
            self._closed = True
            self._h2.close_connection(code, last_stream_id=self._last)  # never more than was said before
        self._line.wake()
