"""httpcore under a watch: where it connects to, how far a request got, and what comes before a reply's head.

httpcore tells neither whether a byte of an answer came, so that a request might be resent that was answered, nor how
many informational replies it has skipped, nor that a head has grown out of proportion (B6, B18, B28).
"""

import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, final

import httpcore
import httpx
import trio

from turnout_transport._addresses import may_connect
from turnout_transport._failures import failure
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
        fresh: a connection was made for it.
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
        if event.endswith("connect_tcp.started"):
            self.fresh = True
        elif event.endswith("send_request_headers.started"):
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

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._early: bytes | None = None
        tls = stream.get_extra_info("ssl_object")
        self._told = tls is None or tls.selected_alpn_protocol() != "h2"

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for bytes; raises ReadError, and RemoteProtocolError as `Course.took` does."""
        data, self._early = self._early, None
        if data is None:
            data = await self._stream.read(max_bytes, timeout)
        course = COURSE.get()
        if self._told and course is not None:
            course.took(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Wait until all is sent; raises WriteError, also when an answer comes first, for httpcore to read (B31)."""
        if len(buffer) <= SMALL or not self._told:
            await self._stream.write(buffer, timeout)
        else:
            await self._write_beside_reading(buffer, timeout)

    async def _write_beside_reading(self, buffer: bytes, timeout: float | None) -> None:
        failed: Exception | None = httpcore.WriteError("the upstream answered before it had read the request")
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                try:
                    self._early = await self._stream.read(PIECE)
                except httpcore.ReadError:
                    self._early = b""
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            try:
                for start in range(0, len(buffer), PIECE):
                    await self._stream.write(buffer[start : start + PIECE], timeout)
                failed = None
            except (httpcore.WriteError, httpcore.WriteTimeout) as exc:
                failed = exc
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands; raises ConnectError."""
        return Watched(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """What the connection beneath knows of itself; what TLS holds that nobody has read counts as readable."""
        return (info == "is_readable" and self._holds_more) or self._stream.get_extra_info(info)

    @property
    def _holds_more(self) -> bool:
        """Whether records of TLS have come behind the one that was read last: trio reads as many as there are."""
        stream = getattr(self._stream, "_stream", None)
        return isinstance(stream, trio.SSLStream) and bool(stream._incoming.pending)  # noqa: SLF001  # told by no other


@final
class Network(httpcore.AsyncNetworkBackend):
    """Connects where it may: what a name resolves to is judged before anything is sent (S12).

    Attributes:
        private: the host may have an address outside the public internet.
    """

    def __init__(self, *, private: bool, backend: httpcore.AsyncNetworkBackend | None = None) -> None:
        """`backend` makes the connections; Trio's own unless given."""
        self.private = private
        self._backend = backend or httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection; raises ConnectError, ConnectTimeout."""
        stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        if not may_connect(stream.get_extra_info("server_addr")[0], private=self.private):
            await stream.aclose()
            raise httpcore.ConnectError(f"{host} has no address that may be connected to")
        return Watched(stream)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)


@contextmanager
def translated(course: Course) -> Iterator[None]:
    """Turn what httpcore raises into httpx's exceptions, each with `request_sent`."""
    try:
        yield
    except tuple(KINDS) as exc:
        raise failure(KINDS[type(exc)], str(exc), sent=course.sent) from exc
