"""HTTP/1.1 of httpcore, whose connections are not used again when more has come than was asked for.

httpcore keeps what comes behind a reply and takes it for the answer to the next request, which may be another client's.

Everything here overrides private parts of httpcore, which its version is bounded for.
"""

from typing import ClassVar

import httpcore


class Http1(httpcore.AsyncHTTP11Connection):
    """A connection with one call at a time."""

    def has_expired(self) -> bool:
        """Whether it must not be used again: also when something lies behind the last reply."""
        return super().has_expired() or (self.is_idle() and bool(self._h11_state.trailing_data[0]))


class Connection(httpcore.AsyncHTTPConnection):
    """A connection that is open once it is used."""

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """As httpcore's own, whose first call decides for classes of connections that it does not let anybody name."""
        try:
            async with self._request_lock:
                if self._connection is None:
                    self._connection = await self.speak(await self._connect(request))
        except BaseException:
            self._connect_failed = True
            raise
        return await self._connection.handle_async_request(request)

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
