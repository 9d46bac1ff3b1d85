"""httpcore under a watch: where it connects to, how far a request got, and what comes before a reply's head.

httpcore tells neither whether a byte of an answer came, so that a request might be resent that was answered, nor how
many informational replies it has skipped, nor that a head has grown out of proportion (B6, B18, B28).
"""

import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, final

import httpcore
import httpx
import trio

from turnout_transport._dial import Connector, Wire, shake_hands
from turnout_transport._failures import failure
from turnout_transport._records import RecordStream
from turnout_transport._replies import MAX_INFORMATIONAL

KINDS: Mapping[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
    httpcore.WriteError: httpx.WriteError,
    httpcore.WriteTimeout: httpx.WriteTimeout,
}
"""Everything that httpcore raises, and what it is called in httpx, whose exceptions a transport promises."""

SMALL = 16 * 1024
"""Bytes that are sent before anything is read, see `_connections.SMALL`."""

PIECE = 256 * 1024
"""Bytes that are handed to TLS at once, see `_connections.PIECE`."""

_HINT = b"HTTP/1.1 1"


@final
class Course:
    """Follows one try of a request: what was connected, what was sent, what came.

    Attributes:
        fresh: a connection was made for it, and for others perhaps.
        sent: some of it may have arrived.
        answered: a byte of an answer came; over HTTP/2, whose frames are no answers yet, a head.
        refused: the upstream has said that it did not look at it, so that it counts as not sent.
    """

    def __init__(self, most_before_head: int) -> None:
        self.fresh = False
        self.sent = False
        self.answered = False
        self.refused = False
        self._most = most_before_head
        self._in_head = True
        self._before_head = 0
        self._hints = 0
        self._tail = b""

    async def __call__(self, event: str, _info: Mapping[str, Any]) -> None:
        """Take notice of an event of httpcore's trace."""
        if event.endswith("send_request_headers.started"):
            self.sent = True
        elif event.endswith("receive_response_headers.complete"):
            self.answered = True
            self._in_head = False

    def refuse(self) -> None:
        """The upstream refuses to look at it."""
        self.refused, self.sent = True, False

    def took(self, data: bytes) -> None:
        """Bytes were read over HTTP/1.1; raises RemoteProtocolError when a head does not come to its end."""
        if not self._in_head or not data:
            return
        self.answered = True
        if self._before_head > self._most:
            raise httpcore.RemoteProtocolError("the upstream sent a head without end")
        self._before_head += len(data)
        self._hints += (self._tail + data).count(_HINT)
        self._tail = data[1 - len(_HINT) :]
        if self._hints > MAX_INFORMATIONAL:
            raise httpcore.RemoteProtocolError(f"the upstream sent more than {MAX_INFORMATIONAL} informational replies")


COURSE: ContextVar[Course | None] = ContextVar("COURSE", default=None)
"""The try that the current task waits for: over HTTP/1.1 a connection is read by whoever has asked on it."""


@final
class Watched(httpcore.AsyncNetworkStream):
    """A connection whose reads are told to the try that waits for them."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._early: bytes | None = None
        self._told = not (isinstance(wire.stream, trio.SSLStream) and wire.stream.selected_alpn_protocol() == "h2")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  # httpcore's
        """Wait for bytes; raises ReadError, and RemoteProtocolError as `Course.took` does."""
        data, self._early = self._early, None
        if data is None:
            data = await self._receive(max_bytes)
        course = COURSE.get()
        if self._told and course is not None:
            course.took(data)
        return data

    async def _receive(self, max_bytes: int) -> bytes:
        try:
            return bytes(await self._wire.stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise httpcore.ReadError("the connection to the upstream broke") from exc

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  # httpcore's
        """Wait until all is sent; raises WriteError, also when an answer comes first, for httpcore to read (B31)."""
        if len(buffer) <= SMALL or not self._told:
            await self._send(buffer)
        else:
            await self._write_beside_reading(buffer)

    async def _send(self, data: bytes) -> None:
        try:
            await self._wire.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise httpcore.WriteError("the upstream closed while the request was sent") from exc

    async def _write_beside_reading(self, buffer: bytes) -> None:
        failed: Exception | None = httpcore.WriteError("the upstream answered before it had read the request")
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                try:
                    self._early = await self._receive(PIECE)
                except httpcore.ReadError:
                    self._early = b""
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            try:
                for start in range(0, len(buffer), PIECE):
                    await self._send(buffer[start : start + PIECE])
                failed = None
            except httpcore.WriteError as exc:
                failed = exc
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def aclose(self) -> None:
        """Close at once; does not wait."""
        self._wire.raw.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002  # see `_http1.Connection`
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands; raises BrokenResourceError. Failed or cancelled, it has closed the connection."""
        with ExitStack() as undo:
            undo.callback(self._wire.raw.close)
            records = RecordStream(self._wire.stream)
            stream = await shake_hands(records, ssl_context, server_hostname or "")
            undo.pop_all()
        return Watched(Wire(raw=self._wire.raw, stream=stream, records=records))

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks for: the TLS, and whether something has come that nobody has read."""
        if info == "ssl_object":
            return self._wire.stream if isinstance(self._wire.stream, trio.SSLStream) else None
        return self._wire.is_readable() if info == "is_readable" else None


@final
class Network(httpcore.AsyncNetworkBackend):
    """Connects as `pool` does.

    Attributes:
        private: the host may have an address outside the public internet.
    """

    def __init__(self, connector: Connector, *, private: bool) -> None:
        self.private = private
        self._connector = connector

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  # see `_http1.Connection`
        local_address: str | None = None,  # noqa: ARG002  # none is ever given, as with the options
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """A connection; raises as `Connector.connect` does."""
        raw = await self._connector.connect(host, port, private=self.private)
        return Watched(Wire(raw=raw, stream=raw))


@contextmanager
def translated(course: Course) -> Iterator[None]:
    """Turn what httpcore raises into httpx's exceptions, each with `request_sent`."""
    try:
        yield
    except tuple(KINDS) as exc:
        raise failure(KINDS[type(exc)], str(exc), sent=course.sent) from exc
