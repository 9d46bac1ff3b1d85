"""One connection under hypercorn: reading, writing, deadlines and closing are ours (pitfalls H2, H3)."""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import final

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import parse_socket_addr

from turnout_http._gate import unmapped
from turnout_http._http2 import Address, Http2
from turnout_http._hypercorn_protocol import Protocol
from turnout_http._server import Asgi
from turnout_http._settings import ClientLimits
from turnout_http._silence import PROBE, wait_reset
from turnout_http._taking import TakenStream

Stream = TakenStream | trio.SSLStream[TakenStream]

MAX_RECV = 2**16

PIECE = 64 * 1024
"""Bytes that TLS encrypts at a time: a whole reply of many megabytes need not be in memory twice."""

HANDSHAKE = 10.0

LINGER = 1.0
"""Seconds in which unread bytes of a client are still taken after the last answer: closing over them would reset the
connection, and the client would lose the answer."""


@final
class Connection:
    """One connection: reading, writing, closing.

    One task reads for the connection's whole life, so that a client's leaving is noticed at once. Its scope's deadline
    is the only clock: for a head, for an idle connection, for the last unread bytes.
    """

    def __init__(self, app: Asgi, config: Config, context: WorkerContext, stream: Stream, limits: ClientLimits) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._stream = stream
        self._socket = (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
        self._limits = limits
        self._protocol: Protocol | Http2 | None = None
        self._greeting = trio.CancelScope(deadline=trio.current_time() + HANDSHAKE)
        self._reading = trio.CancelScope()
        self._send_lock = trio.Lock()
        self._broken = False
        self._closing = False
        self._eof = False
        self._answered = trio.Event()

    async def run(self) -> None:
        """Serve the connection to its end; raises whatever hypercorn raises."""
        if isinstance(self._stream, trio.SSLStream) and not await self._shake_hands(self._stream):
            return
        try:
            client = parse_socket_addr(self._socket.family, unmapped(self._socket.getpeername()))
        except OSError:  # the client has gone already
            return
        server = parse_socket_addr(self._socket.family, unmapped(self._socket.getsockname()))
        async with trio.open_nursery() as nursery:
            protocol = self._speak(nursery, client, server)
            self._protocol = protocol
            try:
                await self._read(protocol)
            finally:
                await protocol.handle(Closed())
        parts = self._closing or isinstance(self._protocol, Http2)  # which says goodbye, so that nothing else comes
        if isinstance(self._stream, trio.SSLStream) and parts and not self._broken:
            await _part(self._stream)

    def _speak(self, nursery: trio.Nursery, client: Address, server: Address) -> Protocol | Http2:
        """The protocol that both sides have agreed on."""
        tls, send = isinstance(self._stream, trio.SSLStream), self._protocol_send
        if isinstance(self._stream, trio.SSLStream) and self._stream.selected_alpn_protocol() == "h2":
            return Http2(self._limits, nursery, self._context, self._app, client=client, server=server, send=send)
        return Protocol(self._limits, nursery, self._config, self._context, self._app, tls, client, server, send)

    async def _shake_hands(self, stream: trio.SSLStream[TakenStream]) -> bool:
        with self._greeting:
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                return False
            return True
        return False

    async def _protocol_send(self, event: Event) -> None:
        """Write, or note what the protocol tells about itself."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._close()
        elif isinstance(event, Updated):
            self._set_idle(event.idle)

    async def _write(self, data: bytes) -> None:
        """Send, within the write limit and without a shield (H2). After a failure nothing is sent any more (H3)."""
        async with self._send_lock:
            if self._broken:
                return
            self._broken = True  # until all is out: a cancelled write has sent an unknown part
            try:
                for start in range(0, len(data), PIECE):
                    await self._stream.send_all(data[start : start + PIECE])
                self._broken = False
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass
        if self._broken:
            self._reading.cancel()

    async def _read(self, protocol: Protocol | Http2) -> None:
        self._reading.deadline = trio.current_time() + self._limits.header_timeout
        with self._reading:
            while data := await self._receive():
                if self._closing:
                    continue
                if not (protocol.busy or protocol.head_begun):
                    self._reading.deadline = trio.current_time() + self._limits.header_timeout
                await protocol.handle(RawData(data=data))
            self._eof = True
            if protocol.busy and not self._closing:
                await self._after_end_of_file(protocol)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(MAX_RECV))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _after_end_of_file(self, protocol: Protocol | Http2) -> None:
        """The client sends no more. A whole request is still answered for a while, if anybody is there (C-5)."""
        if not protocol.request_complete:
            await protocol.handle(RawData(data=b""))
            return
        if protocol.bears_probe:
            await self._write(PROBE)
        with trio.move_on_after(self._limits.half_close):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when, partial(wait_reset, self._socket), nursery.cancel_scope)
                await self._answered.wait()
                nursery.cancel_scope.cancel()

    def _set_idle(self, idle: bool) -> None:
        if not idle:
            self._reading.deadline = math.inf
        elif self._protocol is None or self._eof or self._context.terminated.is_set():
            self._reading.cancel()
        else:
            self._reading.deadline = trio.current_time() + self._protocol.patience

    @property
    def idle(self) -> bool:
        """No request is being served."""
        return self._protocol is None or not self._protocol.busy

    @property
    def due(self) -> float:
        """When it ends by itself, on Trio's clock."""
        return self._reading.deadline if self._protocol is not None else self._greeting.deadline

    def close_if_idle(self) -> None:
        """Close now unless a request is being served; its end will then close it. The client is told, if it can be."""
        if self.idle:
            self._greeting.cancel()
            self._reading.cancel()
        elif isinstance(self._protocol, Http2):
            self._protocol.take_leave()

    async def _close(self) -> None:
        """Say that no more comes, and let the reader take what is still on its way (see LINGER)."""
        self._closing = True
        self._answered.set()
        self._reading.deadline = trio.current_time() + LINGER
        if self._broken or self._eof or isinstance(self._stream, trio.SSLStream):
            self._reading.cancel()
            return
        if self._send_lock.locked():  # an answer is on its way out
            async with self._send_lock:
                pass
        # Without a checkpoint: the end of its stream cancels the call that has just sent the last of its answer, and
        # with it this, so that a client that reads to the end had to wait for the linger to be over.
        try:
            self._socket.shutdown(trio.socket.SHUT_WR)
        except OSError:
            self._reading.cancel()


async def _part(stream: trio.SSLStream[TakenStream]) -> None:
    """Say that no more comes, as TLS says it and as TCP does, and take what is still on its way (see LINGER)."""
    transport = stream.transport_stream
    with trio.move_on_after(LINGER):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.unwrap()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await transport.send_eof()
            while await transport.receive_some(MAX_RECV):
                pass


async def _cancel_when(wait: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()
