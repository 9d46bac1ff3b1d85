"""The laws that every transport keeps, checked over real sockets on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import trio

from turnout._values import Credential
from turnout.abc import Transport
from turnout.testing._hung import watching
from turnout.testing._law import Laws

if TYPE_CHECKING:
    import httpx

_law = Laws("Transport", "Transports")

OpenTransport = Callable[[], AbstractAsyncContextManager[Transport]]
"""Opens a transport with its settings as they are by default."""


class MakeRequest(Protocol):
    """Makes a request: `httpx.Request` itself. The kernel does not import httpx, so the caller hands it over."""

    def __call__(self, method: str, url: str, *, content: bytes) -> "httpx.Request": ...


Play = Callable[[trio.SocketStream], Awaitable[None]]

Check = Callable[["_Bench"], Awaitable[None]]

PATIENCE = 10
"""Seconds after which a check that should take milliseconds has failed."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OPENING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"


async def check_transport(open_transport: OpenTransport, request: MakeRequest) -> None:
    """Check that a transport keeps the laws of `turnout.abc.Transport`.

    Raises AssertionError that says which law was broken and where it is written.
    Needs loopback sockets, and so a real clock.
    """
    async with watching(_law) as hanging:
        for check in CHECKS:
            with hanging.ended(PATIENCE, str(check.__doc__)), trio.move_on_after(PATIENCE) as scope:
                async with open_transport() as transport:
                    await _checked(check, _Bench(transport, request))
            _law(not scope.cancelled_caught, f"{check.__doc__} (took longer than {PATIENCE} s)")


async def _checked(check: "Check", bench: "_Bench") -> None:
    try:
        await check(bench)
    except Exception as error:
        exc = error
        while isinstance(
            exc, ExceptionGroup
        ):  # from the nursery of a peer: the caller wants the law, not the way it came
            exc = exc.exceptions[0]
        if isinstance(exc, AssertionError):
            raise exc from error
        _law(False, f"{str(check.__doc__).rstrip('.')} (it raised {type(exc).__name__})", exc)


class _Bench:
    """A transport, and what the laws need to try it."""

    def __init__(self, transport: Transport, request: MakeRequest) -> None:
        self.transport = transport
        self._request = request

    async def ask(self, origin: str, *, bound_to: str = "", body: bytes = b"{}") -> "httpx.Response":
        credential = Credential(id="a", provider="p", origin=bound_to or origin)
        request = self._request("POST", origin + "/v1", content=body)
        return await self.transport.for_credential(credential).handle_async_request(request)

    async def call(self, origin: str) -> bytes:
        """The whole reply's body."""
        response = await self.ask(origin)
        try:
            return b"".join([chunk async for chunk in _body(response)])
        finally:
            await response.aclose()

    async def failure(self, origin: str, *, bound_to: str = "") -> Exception | None:
        """How a call fails; None when it does not."""
        try:
            response = await self.ask(origin, bound_to=bound_to)
            try:
                async for _ in _body(response):
                    pass
            finally:
                await response.aclose()
        except Exception as exc:  # noqa: BLE001  # any way to fail is judged by the law that asked
            return exc
        return None


def _body(response: "httpx.Response") -> AsyncIterator[bytes]:
    return cast("httpx.AsyncByteStream", response.stream).__aiter__()


@asynccontextmanager
async def _peer(play: Play) -> AsyncIterator[str]:
    """An upstream that plays this on each connection; gives its origin."""

    async def guarded(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await play(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, guarded, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _wait_request(stream: trio.SocketStream) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n{}"):
        more = await stream.receive_some()
        if not more:
            return b""
        data += more
    return data


async def _serve_ok(stream: trio.SocketStream) -> None:
    while await _wait_request(stream):
        await stream.send_all(OK)


def _reply_once(reply: bytes) -> Play:
    async def play(stream: trio.SocketStream) -> None:
        if await _wait_request(stream):
            await stream.send_all(reply)

    return play


async def _replies(bench: _Bench) -> None:
    """A reply is given whole, and a connection serves more than one request."""
    connections = 0

    async def play(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await _serve_ok(stream)

    async with _peer(play) as origin:
        for _ in range(5):
            _law(
                await bench.call(origin) == b"ok",
                "a reply is given whole, and a connection serves more than one request",
            )
    _law(connections == 1, "a reply is given whole, and a connection serves more than one request")


async def _bound(bench: _Bench) -> None:
    """A credential goes to its own origin and nowhere else (S11)."""
    connected = trio.Event()

    async def play(stream: trio.SocketStream) -> None:
        connected.set()
        await _serve_ok(stream)

    async with _peer(play) as origin:
        for elsewhere in ("http://127.0.0.1:1", origin.replace("127.0.0.1", "localhost"), "https" + origin[4:]):
            exc = await bench.failure(origin, bound_to=elsewhere)
            _law(exc is not None, "a credential goes to its own origin and nowhere else (S11)")
            _law(getattr(exc, "request_sent", None) is False, "a refusal says that nothing was sent")
    _law(not connected.is_set(), "a credential goes to its own origin and nowhere else (S11)")


async def _streams(bench: _Bench) -> None:
    """A body is given as it arrives."""
    proceed = trio.Event()

    async def play(stream: trio.SocketStream) -> None:
        await _wait_request(stream)
        await stream.send_all(OPENING)
        await proceed.wait()
        await stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")
        await _wait_request(stream)

    async with _peer(play) as origin:
        response = await bench.ask(origin)
        body = _body(response)
        _law(await anext(body) == b"one", "a body is given as it arrives")
        proceed.set()
        _law(b"".join([chunk async for chunk in body]) == b"two", "a body is given as it arrives")
        await response.aclose()


async def _leaves(bench: _Bench) -> None:
    """Closing a reply before its end closes its connection within a second, undrained."""
    left = trio.Event()

    async def play(stream: trio.SocketStream) -> None:
        await _wait_request(stream)
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(OPENING if not left.is_set() else b"")
                with trio.move_on_after(0.05):
                    if not await stream.receive_some():
                        break
        left.set()

    async with _peer(play) as origin:
        response = await bench.ask(origin)
        await anext(_body(response))
        await response.aclose()
        with trio.move_on_after(1):
            await left.wait()
        _law(left.is_set(), "closing a reply before its end closes its connection within a second, undrained")


async def _survives_cancels(bench: _Bench) -> None:
    """Calls that are cancelled while they wait leave the transport as good as it was."""

    async def silent(stream: trio.SocketStream) -> None:
        await _wait_request(stream)
        await stream.receive_some()

    async with _peer(silent) as origin:
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(bench.call, origin)
                await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
    async with _peer(_serve_ok) as origin, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(bench.call, origin)


async def _truncated(bench: _Bench) -> None:
    """A reply that is cut off is an error, never a short reply."""
    for reply in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        OPENING,
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ):
        async with _peer(_reply_once(reply)) as origin:
            _law(await bench.failure(origin) is not None, "a reply that is cut off is an error, never a short reply")


async def _unreachable(bench: _Bench) -> None:
    """A connection that is refused says that nothing was sent."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        exc = await bench.failure(f"http://127.0.0.1:{unused.getsockname()[1]}")
    _law(exc is not None, "a connection that is refused says that nothing was sent")
    _law(getattr(exc, "request_sent", None) is False, "a connection that is refused says that nothing was sent")


async def _redirects(bench: _Bench) -> None:
    """A redirect is a reply like any other (B19)."""
    reply = b"HTTP/1.1 307 X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with _peer(_reply_once(reply)) as origin:
        response = await bench.ask(origin)
        await response.aclose()
        _law(response.status_code == 307, "a redirect is a reply like any other (B19)")


async def _replaces(bench: _Bench) -> None:
    """A peer that closes after each reply causes no error (B30)."""
    async with _peer(_reply_once(OK)) as origin:
        for _ in range(50):
            _law(await bench.call(origin) == b"ok", "a peer that closes after each reply causes no error (B30)")


CHECKS = (
    _replies,
    _bound,
    _streams,
    _leaves,
    _survives_cancels,
    _truncated,
    _unreachable,
    _redirects,
    _replaces,
)
