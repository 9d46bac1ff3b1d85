"""New connections: resolve, check the address, connect, pass a proxy, shake hands. One deadline over all of it.

Nothing of a request, and so no secret of a credential, is sent before all of this has succeeded.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

import attrs
import httpx
import trio

from turnout_transport._addresses import is_written_out, may_connect
from turnout_transport._failures import failure, is_shortage
from turnout_transport._origins import Origin
from turnout_transport._proxies import Proxy, open_tunnel
from turnout_transport._records import RecordStream
from turnout_transport._sockets import RawStream, SocketStream

STAGGER = 0.25
"""Seconds before the next address is tried beside one that has not answered (RFC 8305, section 5)."""

Opener: TypeAlias = Callable[[str, int], Awaitable[RawStream]]
"""Connects to an IP address and port; raises OSError."""

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the IP addresses of a host, best first; raises OSError."""


@attrs.frozen(kw_only=True)
class Wire:
    """A connection that is ready for requests.

    Attributes:
        raw: its bottom: what is closed.
        stream: its top, to talk on; the same object without TLS.
        records: what lies under TLS, None without.
    """

    raw: RawStream
    stream: trio.abc.Stream
    records: RecordStream | None = None

    def is_readable(self) -> bool:
        """Whether something has come that nobody has read: an end, an error, or bytes; does not wait."""
        if self.records is not None and self.records.holds_more:
            return True
        return isinstance(self.raw, SocketStream) and self.raw.is_readable()


@attrs.frozen(kw_only=True)
class Connector:
    """How a host is connected to: its name is resolved, what it resolves to is judged, and only then connected to.

    Attributes:
        allow_private: names may resolve to addresses that are not on the public internet.
    """

    allow_private: bool
    open_stream: Opener
    resolve: Resolver

    async def connect(self, host: str, port: int, *, private: bool) -> RawStream:
        """A connection to this host, which is `private` if it may be anywhere; waits without a limit.

        Raises OSError, UnicodeError, and ConnectError when the host has no address that may be connected to.
        """
        addresses = await self.resolve(host, port)
        private = private or self.allow_private
        allowed = [address for address in addresses if may_connect(address, private=private)]
        if not allowed:
            hint = "" if private else "; for one inside your own network set `allow_private = true`"
            text = f"{host} has no address that may be connected to{hint}"
            raise failure(httpx.ConnectError, text, sent=False)
        return await connect_first(allowed, port, self.open_stream)


@attrs.frozen(kw_only=True)
class Dialer:
    """How new connections to origins come about.

    Attributes:
        limit: seconds for resolving, connecting, a proxy's answer and TLS together.
    """

    tls: ssl.SSLContext
    limit: float
    connector: Connector

    async def dial(self, origin: Origin, proxy: Proxy | None) -> Wire:
        """A connection to this origin; raises as `dialling` does."""
        with dialling(origin, self.limit), ExitStack() as undo:
            wire = await self._dial(origin, proxy, undo)
            undo.pop_all()
        return wire

    async def _dial(self, origin: Origin, proxy: Proxy | None, undo: ExitStack) -> Wire:
        connect = self.connector.connect
        if proxy is None:
            raw = await connect(origin.host, origin.port, private=is_written_out(origin.host))
        else:
            # The operator named the proxy, wherever it stands. What lies behind it, it resolves itself.
            raw = await connect(proxy.host, proxy.port, private=True)
        undo.callback(raw.close)
        stream: trio.abc.Stream = raw
        if proxy is not None:
            if proxy.scheme == "https":
                stream = await shake_hands(stream, self.tls, proxy.host)
            await open_tunnel(stream, proxy, origin)
        if origin.scheme == "http":
            return Wire(raw=raw, stream=stream)
        records = RecordStream(stream)
        return Wire(raw=raw, stream=await shake_hands(records, self.tls, origin.host), records=records)


@contextmanager
def dialling(origin: object, limit: float) -> Iterator[None]:
    """One limit, in seconds, over all that makes a connection, and one name for each way in which that may fail.

    Raises ConnectTimeout when it has passed, PoolTimeout, as where all places are taken, when something is missing
    on our side (see `SHORTAGES`), and ConnectError otherwise.
    """
    try:
        with trio.fail_after(limit):
            yield
    except trio.TooSlowError as exc:
        text = f"no connection to {origin} within {limit:g} s"
        raise failure(httpx.ConnectTimeout, text, sent=False) from exc
    except (OSError, UnicodeError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        kind = httpx.PoolTimeout if is_shortage(exc) else httpx.ConnectError
        raise failure(kind, f"no connection to {origin}: {_reason(exc)}", sent=False) from exc


async def shake_hands(below: trio.abc.Stream, tls: ssl.SSLContext, host: str) -> trio.SSLStream[trio.abc.Stream]:
    """TLS on a stream, once the other side has proved that it is this host.

    Whoever ends without saying so (close_notify) has broken off: a reply that lasts until its connection is closed
    would otherwise be cut short by anybody on the way (RFC 9112, 9.8).
    """
    stream = trio.SSLStream(below, tls, server_hostname=host)
    await stream.do_handshake()
    return stream


async def connect_first(addresses: Sequence[str], port: int, open_stream: Opener) -> RawStream:
    """Connect to whichever address answers first, each tried a little after the one before; raises OSError.

    Of several, one that says what we lack: then it is not known whether that address would have answered.
    """
    if len(addresses) == 1:
        return await open_stream(addresses[0], port)
    opened: list[RawStream] = []
    failures: list[OSError] = []
    kept: RawStream | None = None
    try:
        async with trio.open_nursery() as nursery:

            async def attempt(address: str, over: trio.Event) -> None:
                try:
                    opened.append(await open_stream(address, port))
                    nursery.cancel_scope.cancel()
                except OSError as exc:
                    failures.append(exc)
                finally:
                    over.set()

            for address in addresses:
                over = trio.Event()
                nursery.start_soon(attempt, address, over)
                with trio.move_on_after(STAGGER):
                    await over.wait()
        if not opened:
            raise next(filter(is_shortage, failures), failures[0])
        kept = opened[0]
        return kept
    finally:
        for stream in opened:
            if stream is not kept:
                stream.close()


def _reason(exc: BaseException) -> str:
    """One line on why, from the exception that began it: trio wraps what OpenSSL says."""
    while isinstance(exc, trio.BrokenResourceError) and exc.__cause__ is not None:
        exc = exc.__cause__
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed: {exc.reason or type(exc).__name__}"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc) or type(exc).__name__
