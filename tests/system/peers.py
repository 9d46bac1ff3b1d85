"""An upstream of raw bytes for the tests of transports, and a call to it."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
import trio

Serve = Callable[[trio.SocketStream], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'{"model": "m"}'

CONNECTS: Counter[str] = Counter()
"""Connections that each upstream has accepted, by its origin."""


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[str]:
    """An upstream that plays `serve` on each connection; gives its origin."""

    async def guarded(stream: trio.SocketStream) -> None:
        CONNECTS[origin] += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # we closed: what most of these tests want
            await serve(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, guarded, 0, host="127.0.0.1"))
        origin = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        CONNECTS[origin] = 0
        yield origin
        nursery.cancel_scope.cancel()


def ask(origin: str, body: bytes = BODY, path: str = "/v1/x") -> httpx.Request:
    return httpx.Request("POST", origin + path, content=body, headers={"authorization": "Bearer canary"})


async def call(transport: httpx.AsyncBaseTransport, origin: str, body: bytes = BODY) -> bytes:
    response = await transport.handle_async_request(ask(origin, body))
    try:
        return b"".join([chunk async for chunk in body_of(response)])
    finally:
        await response.aclose()


def body_of(response: httpx.Response) -> httpx.AsyncByteStream:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream


async def read_request(stream: trio.abc.ReceiveStream) -> bytes:
    """One whole request, or nothing when the client closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
    while len(body) < length:
        body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


def answering(*replies: bytes) -> Serve:
    """Answer each request of a connection with the next of these, then close."""

    async def serve(stream: trio.SocketStream) -> None:
        for reply in replies:
            if not await read_request(stream):
                return
            await stream.send_all(reply)

    return serve


async def always_ok(stream: trio.SocketStream) -> None:
    while await read_request(stream):
        await stream.send_all(OK)


def reset(stream: trio.SocketStream) -> None:
    """Close with a reset instead of an end."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


class Flight(trio.abc.HalfCloseableStream):
    """A connection that can hold what is sent back, so that it goes out in one piece."""

    def __init__(self, below: trio.SocketStream) -> None:
        self._below = below
        self._held: list[bytes] = []
        self.holds = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._held.append(bytes(data))
        if not self.holds:
            data, self._held = b"".join(self._held), []
            await self._below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._below.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._below.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._below.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._below.aclose()
