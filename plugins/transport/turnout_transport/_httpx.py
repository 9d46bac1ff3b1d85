"""The transport `httpx`: httpcore, the connections of httpx, under our rules, for upstreams best spoken to in HTTP/2.

Its pool breaks for good when requests are cancelled while it is full, so it is never full: it has no limit, and
ours stand in front of it. It looks at every connection for each request, so `pool` is better wherever HTTP/1.1 will do.
"""

import logging
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar, Protocol, Self, cast, final

import attrs
import httpcore
import httpx
import trio

from turnout import ByteCount, Credential, Seconds, Secret
from turnout.abc import PluginContext
from turnout_transport._addresses import is_written_out
from turnout_transport._dial import Connector, Opener, Resolver
from turnout_transport._failures import failure, mark_sent
from turnout_transport._httpcore import COURSE, PIECE, Course, Network, translated
from turnout_transport._limiters import CredentialLimiters, Holder, Places
from turnout_transport._lookups import Lookups
from turnout_transport._origins import Origin
from turnout_transport._requests import cleaned
from turnout_transport._resends import Resends
from turnout_transport._sockets import open_socket
from turnout_transport._tls import tls_context, usable_ca_file

try:
    from turnout_transport._http2 import Connections
except ImportError:  # without the extra `http2`
    from turnout_transport._http1 import Connections  # type: ignore[assignment]  # what it is a kind of

TALKATIVE = ("httpx", "httpcore", "h2", "hpack")
"""Loggers that print URLs and headers, secrets included."""

NO_PROXIES = "the transport `httpx` knows no proxies: use `pool`"


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
    max_header_bytes: ByteCount = attrs.field(default=ByteCount(64 * 1024), validator=attrs.validators.gt(ByteCount(0)))
    max_header_fields: int = attrs.field(default=256, validator=attrs.validators.gt(0))
    allow_private: bool = False
    ca_file: str = attrs.field(default="", validator=usable_ca_file)


DEFAULTS = HttpxSettings()


@final
class Httpx:
    """HTTP/2 and HTTP/1.1 by httpx, bound to origins, with our limits. Knows no proxies."""

    api: ClassVar[int] = 1
    Settings = HttpxSettings

    def __init__(
        self,
        settings: HttpxSettings = DEFAULTS,
        *,
        connect_limit: float = 5.0,
        open_stream: Opener = open_socket,
        resolve: Resolver | None = None,
    ) -> None:
        self._settings = settings
        self._connector = Connector(
            allow_private=settings.allow_private, open_stream=open_stream, resolve=resolve or Lookups()
        )
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

    @classmethod
    def proxy_flaw(cls, _proxy: Secret) -> str:
        """See `turnout.abc.ProxyJudge`."""
        return NO_PROXIES

    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
        """Connections bound to this credential's origin; raises ValueError when it has none, or a proxy."""
        if credential.proxy_url:
            raise ValueError(NO_PROXIES)
        line = self._lines.get(credential.origin)
        if line is None:
            line = self._lines[credential.origin] = self._line(Origin.parse(credential.origin))
        return BoundHttpx(line, self._limiters.of(credential.id))

    async def aclose(self) -> None:
        """Close every connection."""
        for line in self._lines.values():
            await line.pool.aclose()

    def _line(self, origin: Origin) -> "Line":
        settings = self._settings
        return Line(
            origin=origin,
            pool=Connections(
                ssl_context=self._tls,
                http2=settings.http2,
                max_connections=None,
                max_keepalive_connections=None,
                keepalive_expiry=settings.keepalive,
                network_backend=Network(self._connector, private=is_written_out(origin.host)),
            ),
            places=Places(settings.max_requests),
            settings=settings,
            connect_limit=self._connect_limit,
            resends=Resends(),
        )


@attrs.frozen(kw_only=True)
class Line:
    """Everything that requests to one origin share."""

    origin: Origin
    pool: httpcore.AsyncConnectionPool
    places: Places
    settings: HttpxSettings
    connect_limit: float
    resends: Resends


class BoundHttpx(httpx.AsyncBaseTransport):
    """Connections for one credential: to its origin and nowhere else."""

    def __init__(self, line: Line, limiter: Places | None) -> None:
        self._line = line
        self._limiter = limiter

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and wait for the head of its reply; see `BoundTransport.handle_async_request`."""
        line = self._line
        max_wait = line.settings.max_wait
        request = cleaned(request, line.origin)
        if isinstance(request.stream, httpx.ByteStream):
            request.stream = Whole(b"".join(request.stream))
        holder = Holder()
        response = None
        try:
            if self._limiter is not None:
                await holder.take(self._limiter, max_wait, line.origin)
            await holder.take(line.places, max_wait, line.origin)
            course, found = await self._send(request)
            line.resends.served()
            body = HttpxBody(cast("Body", found.stream), course, holder)
            await self._judge_head(found, body)
            response = httpx.Response(
                found.status, headers=found.headers, stream=body, extensions=dict(found.extensions)
            )
        finally:
            if response is None:
                holder.release()
        return response

    async def _send(self, request: httpx.Request) -> tuple[Course, httpcore.Response]:
        course = self._course()
        try:
            return course, await self._try(request, course)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            # As in `Place.send`: a kept connection that died unanswered was closed while our request was under way.
            # One that refuses a request has said goodbye, or has all streams open that it takes.
            lost = not (course.fresh or course.answered) and self._line.resends.allowed
            if not isinstance(request.stream, Whole) or not (lost or course.refused):
                raise
            if not course.refused:
                self._line.resends.resent()
        first, course = course, self._course()
        try:
            return course, await self._try(request, course)
        except httpx.TransportError as exc:
            if first.sent:
                mark_sent(exc)
            raise

    def _course(self) -> Course:
        return Course(self._line.settings.max_header_bytes)

    async def _try(self, request: httpx.Request, course: Course) -> httpcore.Response:
        url = request.url
        wanted = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast("AsyncIterable[bytes]", request.stream),
            extensions={"trace": course, "timeout": {"connect": self._line.connect_limit}},
        )
        waiting = COURSE.set(course)
        try:
            with translated(course):
                return await self._line.pool.handle_async_request(wanted)
        finally:
            COURSE.reset(waiting)

    async def _judge_head(self, found: httpcore.Response, body: "HttpxBody") -> None:
        """Raise RemoteProtocolError for a head that is larger than may be, and for one that switches protocols."""
        settings = self._line.settings
        fault = ""
        if found.status < 200:
            fault = "switched protocols unasked (101)"
        elif (
            len(found.headers) > settings.max_header_fields
            or sum(len(name) + len(value) + 4 for name, value in found.headers) > settings.max_header_bytes
        ):
            fault = f"sent more than {settings.max_header_fields} header fields or {settings.max_header_bytes:d} bytes"
        if fault:
            await body.aclose()
            raise failure(httpx.RemoteProtocolError, f"the upstream {fault}", sent=True)


class Body(Protocol):
    """The body of a reply of httpcore."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class Whole(httpx.AsyncByteStream):
    """The body of a request, which can be sent again; httpx's own is a generator, and complains when it is left."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        """From the beginning."""
        self._sent = 0
        return self

    async def __anext__(self) -> bytes:
        """The next piece: over HTTP/2, httpcore copies what is left of one for every 16 KB of it."""
        if self._sent >= len(self._content):
            raise StopAsyncIteration
        piece = self._content[self._sent : self._sent + PIECE]
        self._sent += PIECE
        return piece


class HttpxBody(httpx.AsyncByteStream):
    """The body of a reply of httpcore: bytes as they arrive, undecoded."""

    def __init__(self, stream: Body, course: Course, holder: Holder) -> None:
        self._stream = stream
        self._course = course
        self._pieces = stream.__aiter__()
        self._holder = holder

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself: there is one reader."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for more; raises ReadError or RemoteProtocolError when the rest does not come whole."""
        try:
            with translated(self._course):
                return await anext(self._pieces)
        except (StopAsyncIteration, httpx.TransportError):
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Let go of the connection at once; may be called twice."""
        try:
            # httpcore reads through a chain of asynchronous generators. Left in the middle, each would wait for the
            # garbage collector; a cancelled read runs through all of them and ends them, once what came already
            # is out: that needs no wait, so nothing is cancelled before.
            with trio.CancelScope() as scope:
                scope.cancel()
                while await anext(self._pieces, None) is not None:
                    pass
            await self._stream.aclose()
        finally:
            self._holder.release()
