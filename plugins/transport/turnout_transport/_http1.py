"""HTTP/1.1 of httpcore, whose connections are not used again when more has come than was asked for.

httpcore keeps what comes behind a reply and takes it for the answer to the next request, which may be another client's.

Everything here overrides private parts of httpcore, which its version is bounded for.
"""

from typing import ClassVar, cast

import httpcore
import httpx

from turnout_transport._dial import dialling
from turnout_transport._failures import failure
from turnout_transport._httpcore import COURSE


class Http1(httpcore.AsyncHTTP11Connection):
    """A connection with one call at a time."""

    def has_expired(self) -> bool:
        """Whether it must not be used again: also when something lies behind the last reply."""
        return super().has_expired() or (self.is_idle() and bool(self._h11_state.trailing_data[0]))


class Connection(httpcore.AsyncHTTPConnection):
    """A connection that is open once it is used.

    Where HTTP/2 may be spoken, all requests that come while it is made wait for it, and share its fate.
    """

    _refusal: httpx.TransportError | None = None

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request, as soon as there is a connection; raises as `dialling` does.

        httpcore's own lets nobody name the classes of connections, and has a limit for connecting and another for TLS,
        both anew for each that waits.
        """
        if course := COURSE.get():
            course.fresh = self._connection is None
        if self._connection is None:
            async with self._request_lock:
                await self._be_open(request)
        return await cast("httpcore.AsyncConnectionInterface", self._connection).handle_async_request(request)

    async def _be_open(self, request: httpcore.Request) -> None:
        if self._refusal is not None:
            raise failure(type(self._refusal), str(self._refusal), sent=False) from self._refusal
        if self._connect_failed:  # by who was cancelled: nothing is known, and the pool has let go of it
            raise httpcore.ConnectionNotAvailable
        if self._connection is not None:
            return
        try:
            with dialling(self._origin, request.extensions["timeout"]["connect"]):
                self._connection = await self.speak(await self._connect(request))
        except httpx.TransportError as exc:
            self._refusal = exc
            raise
        finally:
            self._connect_failed = self._connection is None

    async def speak(self, stream: httpcore.AsyncNetworkStream) -> httpcore.AsyncConnectionInterface:
        """Begin to speak HTTP/1.1."""
        return Http1(self._origin, stream, self._keepalive_expiry)


class Connections(httpcore.AsyncConnectionPool):
    """A pool of these."""

    kind: ClassVar[type[Connection]] = Connection

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """A connection to this origin that is not open yet."""
        return self.kind(
            origin=origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=self._keepalive_expiry,
            http2=self._http2,
            network_backend=self._network_backend,
        )
