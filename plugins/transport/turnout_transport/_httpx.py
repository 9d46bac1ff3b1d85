"""The transport `httpx`: httpx's own connections under our rules, for upstreams that are best spoken to in HTTP/2.

httpx's pool breaks for good when requests are cancelled while it is full, so it is never full: it has no limit, and
ours stand in front of it. It looks at every connection for each request, so `pool` is better wherever HTTP/1.1 will do.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self, cast, final

import attrs
import httpx
import trio

from turnout import Credential, Seconds
from turnout.abc import PluginContext
from turnout_transport._addresses import is_written_out, may_connect
from turnout_transport._failures import failure, mark_sent
from turnout_transport._limiters import CredentialLimiters, Holder
from turnout_transport._origins import Origin
from turnout_transport._requests import cleaned
from turnout_transport._tls import tls_context

TALKATIVE = ("httpx", "httpcore", "h2", "hpack")
"""Loggers that print URLs and headers, secrets included."""


@final
@attrs.frozen(kw_only=True)
class HttpxSettings:
    """The table `[transports.httpx]`. What has the name of a setting of `[transports.pool]` means the same.

    Attributes:
        http2: offer HTTP/2 to `https://` upstreams; needs the extra `turnout-transport[http2]`.
        max_requests: requests under way per origin.
    """

    http2: bool = True
    max_requests: int = attrs.field(default=1024, validator=attrs.validators.gt(0))
    max_per_credential: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    max_wait: Seconds = attrs.field(default=Seconds(30.0), validator=attrs.validators.gt(Seconds(0)))
    keepalive: Seconds = attrs.field(default=Seconds(30.0), validator=attrs.validators.gt(Seconds(0)))
    allow_private: bool = False
    ca_file: str = ""


DEFAULTS = HttpxSettings()


@final
class Httpx:
    """HTTP/2 and HTTP/1.1 by httpx, bound to origins, with our limits. Knows no proxies."""

    api: ClassVar[int] = 1
    Settings = HttpxSettings

    def __init__(self, settings: HttpxSettings = DEFAULTS, *, connect_limit: float = 5.0) -> None:
        self._settings = settings
        self._connect_limit = connect_limit
        self._tls = tls_context(settings.ca_file)
        self._limiters = CredentialLimiters(settings.max_per_credential)
        self._lines: dict[str, Line] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: HttpxSettings, context: PluginContext) -> AsyncIterator[Self]:
        """The transport, as long as the block runs; leaving closes every connection."""
        transport = cls(settings, connect_limit=context.limits.connect)
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            yield transport
        finally:
            await transport.aclose()

    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
        """Connections bound to this credential's origin; raises ValueError when it has none, or a proxy."""
        if credential.proxy_url:
            raise ValueError("the transport `httpx` knows no proxies: use `pool`")
        line = self._lines.get(credential.origin)
        if line is None:
            line = self._lines[credential.origin] = self._line(Origin.parse(credential.origin))
        return BoundHttpx(line, self._limiters.of(credential.id))

    async def aclose(self) -> None:
        """Close every connection."""
        for line in self._lines.values():
            await line.transport.aclose()

    def _line(self, origin: Origin) -> "Line":
        settings = self._settings
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=settings.keepalive)
        return Line(
            origin=origin,
            transport=httpx.AsyncHTTPTransport(verify=self._tls, http2=settings.http2, limits=limits, trust_env=False),
            limiter=trio.CapacityLimiter(settings.max_requests),
            max_wait=settings.max_wait,
            connect_limit=self._connect_limit,
            private=settings.allow_private or is_written_out(origin.host),
        )


@attrs.frozen(kw_only=True)
class Line:
    """Everything that requests to one origin share.

    Attributes:
        private: its host may have an address outside the public internet.
    """

    origin: Origin
    transport: httpx.AsyncHTTPTransport
    limiter: trio.CapacityLimiter
    max_wait: float
    connect_limit: float
    private: bool


class Course:
    """Follows one try through httpcore's trace: what was connected, what was sent, what came."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.fresh = False
        self.sent = False
        self.answered = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Take notice of an event; raises ConnectError when an address may not be connected to (S12)."""
        if event.endswith("connect_tcp.started"):
            self.fresh = True
        elif event.endswith("connect_tcp.complete"):
            await self._judge(info["return_value"])
        elif event.endswith("send_request_headers.started"):
            self.sent = True
        elif event.endswith("receive_response_headers.complete"):
            self.answered = True

    async def _judge(self, stream: Any) -> None:
        address, _ = stream.get_extra_info("server_addr")[:2]
        if not may_connect(address, private=self._line.private):
            await stream.aclose()
            text = f"{self._line.origin.host} has no address that may be connected to"
            raise failure(httpx.ConnectError, text, sent=False)


class BoundHttpx(httpx.AsyncBaseTransport):
    """Connections for one credential: to its origin and nowhere else."""

    def __init__(self, line: Line, limiter: trio.CapacityLimiter | None) -> None:
        self._line = line
        self._limiter = limiter

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and wait for the head of its reply; see `BoundTransport.handle_async_request`."""
        line = self._line
        request = cleaned(request, line.origin)
        if isinstance(request.stream, httpx.ByteStream):
            request.stream = Whole(b"".join(request.stream))
        holder = Holder()
        response = None
        try:
            if self._limiter is not None:
                await holder.borrow(self._limiter, line.max_wait, line.origin)
            await holder.borrow(line.limiter, line.max_wait, line.origin)
            response = await self._send(request)
        finally:
            if response is None:
                holder.release()
        body = HttpxBody(cast("httpx.AsyncByteStream", response.stream), holder)
        return httpx.Response(
            response.status_code, headers=response.headers, stream=body, extensions=response.extensions
        )

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._try(request)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            # As in `Place.send`: a kept connection that died unanswered was closed while our request was under way.
            course: Course = request.extensions["trace"]
            if course.fresh or course.answered or not isinstance(request.stream, Whole):
                raise
        try:
            return await self._try(request)
        except httpx.TransportError as exc:
            mark_sent(exc)
            raise

    async def _try(self, request: httpx.Request) -> httpx.Response:
        course = Course(self._line)
        request.extensions = {"trace": course, "timeout": {"connect": self._line.connect_limit}}
        try:
            return await self._line.transport.handle_async_request(request)
        except httpx.TransportError as exc:
            exc.request_sent = course.sent  # type: ignore[attr-defined]  # see `failure`
            raise


class Whole(httpx.AsyncByteStream):
    """The body of a request, which can be sent again; httpx's own is a generator, and complains when it is left."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._left = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        """From the beginning."""
        self._left = self._content
        return self

    async def __anext__(self) -> bytes:
        """All of it, once."""
        if not self._left:
            raise StopAsyncIteration
        content, self._left = self._left, b""
        return content


class HttpxBody(httpx.AsyncByteStream):
    """The body of a reply of httpx: bytes as they arrive, undecoded."""

    def __init__(self, stream: httpx.AsyncByteStream, holder: Holder) -> None:
        self._stream = stream
        self._pieces = stream.__aiter__()
        self._holder = holder

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself: there is one reader."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for more; raises ReadError or RemoteProtocolError when the rest does not come whole."""
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            await self.aclose()
            raise
        except httpx.TransportError as exc:
            mark_sent(exc)
            raise

    async def aclose(self) -> None:
        """Let go of the connection at once; may be called twice."""
        try:
            # httpx reads through a chain of asynchronous generators. Left in the middle, each would wait for the
            # garbage collector; a cancelled read runs through all of them and ends them.
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(self._pieces, None)
            await self._stream.aclose()
        finally:
            self._holder.release()
