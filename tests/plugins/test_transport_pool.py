"""The pool over real sockets on loopback: exchanges, faults, keeping and dropping connections."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from logging import getLogger
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from turnout import Credential, Seconds, Secret
from turnout.abc import Limits, PluginContext
from turnout_transport import OriginStatistics, Pool, PoolSettings

Serve = Callable[[trio.SocketStream], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'{"model": "m"}'


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[str]:
    """An upstream that plays `serve` on each connection; gives its origin."""

    async def guarded(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # we closed: what most of these tests want
            await serve(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, guarded, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@contextmanager
def pool_of(**settings: object) -> Iterator[Pool]:
    pool = Pool(PoolSettings(**settings))  # type: ignore[arg-type]  # the tests name real settings
    try:
        yield pool
    finally:
        pool.close()


def bound(pool: Pool, origin: str, id: str = "a", proxy: str = "") -> httpx.AsyncBaseTransport:
    proxy_url = Secret(proxy) if proxy else None
    return pool.for_credential(Credential(id=id, provider="p", origin=origin, proxy_url=proxy_url))


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


async def read_request(stream: trio.SocketStream) -> bytes:
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


def only(pool: Pool) -> OriginStatistics:
    (statistics,) = pool.statistics()
    return statistics


def reset(stream: trio.SocketStream) -> None:
    """Close with a reset instead of an end."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


# The plain way


async def test_requests_in_turn_share_one_connection() -> None:
    async with peer(always_ok) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            for _ in range(5):
                assert await call(transport, origin) == b"ok"

            statistics = only(pool)
            assert (statistics.connects, statistics.reuses, statistics.resends) == (1, 4, 0)
            assert (statistics.open, statistics.idle, statistics.in_use, statistics.waiting) == (1, 1, 0, 0)


async def test_credentials_of_one_origin_share_connections() -> None:
    async with peer(always_ok) as origin:
        with pool_of() as pool:
            for id in ("a", "b", "c"):
                assert await call(bound(pool, origin, id), origin) == b"ok"

            assert only(pool).connects == 1


async def test_leaving_the_block_closes_every_connection() -> None:
    ended = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await always_ok(stream)
        ended.set()

    context = PluginContext(
        key="pool",
        group="turnout.transports",
        limits=Limits(),
        now=lambda: 0.0,
        draw=lambda: 0.5,
        drain=60.0,
        log=getLogger("turnout.transports.pool"),
    )
    async with peer(serve) as origin:
        async with Pool.open(PoolSettings(), context) as pool:
            assert await call(bound(pool, origin), origin) == b"ok"
            assert only(pool).idle == 1
        assert only(pool).open == 0
        with trio.fail_after(2):
            await ended.wait()
        with pytest.raises(httpx.ConnectError, match="closed"):
            await call(bound(pool, origin), origin)


async def test_the_upstream_sees_exactly_what_was_asked() -> None:
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(OK)

    async with peer(serve) as origin:
        with pool_of() as pool:
            await call(bound(pool, origin), origin)

    host = origin.removeprefix("http://").encode()
    assert seen == [
        b"POST /v1/x HTTP/1.1\r\nHost: "
        + host
        + b"\r\nauthorization: Bearer canary\r\nContent-Length: 14\r\n\r\n"
        + BODY
    ]


async def test_a_streamed_request_body_arrives_whole() -> None:
    seen = bytearray()

    async def serve(stream: trio.SocketStream) -> None:
        while not seen.endswith(b"0\r\n\r\n"):
            seen.extend(await stream.receive_some())
        await stream.send_all(OK)
        await read_request(stream)

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two"):
            await trio.lowlevel.checkpoint()
            yield piece

    async with peer(serve) as origin:
        with pool_of() as pool:
            request = httpx.Request("POST", origin + "/", content=pieces())
            response = await bound(pool, origin).handle_async_request(request)
            assert await response.aread() == b"ok"
            assert only(pool).idle == 1

    assert bytes(seen).partition(b"\r\n\r\n")[2] == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_what_a_streamed_request_body_raises_comes_out_as_it_is() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield b"one"
        raise RuntimeError("mine")

    async with peer(always_ok) as origin:
        with pool_of() as pool:
            request = httpx.Request("POST", origin + "/", content=pieces())
            with pytest.raises(RuntimeError, match="mine"):
                await bound(pool, origin).handle_async_request(request)
            assert (only(pool).open, only(pool).in_use) == (0, 0)


async def test_a_stream_is_given_as_it_arrives_and_its_connection_is_kept() -> None:
    proceed = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED + b"3\r\none\r\n")
        await proceed.wait()
        await stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")
        await always_ok(stream)

    async with peer(serve) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            response = await transport.handle_async_request(ask(origin))
            stream = aiter(body_of(response))
            assert await anext(stream) == b"one"
            assert only(pool).in_use == 1
            proceed.set()
            assert await anext(stream) == b"two"
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
            assert await call(transport, origin) == b"ok"

            assert only(pool).connects == 1


async def test_a_cancelled_read_loses_nothing() -> None:
    proceed = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED)
        await proceed.wait()
        await stream.send_all(b"3\r\none\r\n0\r\n\r\n")
        await read_request(stream)

    async with peer(serve) as origin:
        with pool_of() as pool:
            response = await bound(pool, origin).handle_async_request(ask(origin))
            stream = aiter(body_of(response))
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(stream)
            assert scope.cancelled_caught
            proceed.set()

            assert [chunk async for chunk in stream] == [b"one"]
            assert only(pool).idle == 1


async def test_a_compressed_body_is_given_as_it_came() -> None:
    """B20: to inflate is for whoever caps it."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzi"
    async with peer(answering(reply)) as origin:
        with pool_of() as pool:
            assert await call(bound(pool, origin), origin) == b"nogzi"


async def test_nothing_is_read_that_nobody_asked_for() -> None:
    """Back-pressure: an upstream that sends without end is held up by the socket, not kept in memory."""
    sent = 0
    stalled = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal sent
        await read_request(stream)
        await stream.send_all(CHUNKED)
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        while True:
            with trio.move_on_after(0.3) as scope:
                await stream.send_all(piece)
            if scope.cancelled_caught:
                stalled.set()
                return
            sent += len(piece)

    async with peer(serve) as origin:
        with pool_of() as pool:
            response = await bound(pool, origin).handle_async_request(ask(origin))
            with trio.fail_after(10):
                await stalled.wait()
            await response.aclose()

    assert sent < 32 * 1024 * 1024


# Leaving early


async def test_closing_before_the_end_closes_the_connection_undrained() -> None:
    """C-2."""
    ended = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED + b"3\r\none\r\n")
        assert await stream.receive_some() == b""
        ended.set()

    async with peer(serve) as origin:
        with pool_of() as pool:
            response = await bound(pool, origin).handle_async_request(ask(origin))
            assert await anext(aiter(body_of(response))) == b"one"
            await response.aclose()
            await response.aclose()

            with trio.fail_after(1):
                await ended.wait()
            assert (only(pool).open, only(pool).in_use) == (0, 0)
            with pytest.raises(StopAsyncIteration):
                await anext(aiter(body_of(response)))


@pytest.mark.parametrize("when", ["before the head", "in the head"])
async def test_a_cancelled_request_closes_its_connection(when: str) -> None:
    ended = trio.Event()
    waiting = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        if when == "in the head":
            await stream.send_all(b"HTTP/1.1 200 OK\r\nX-A")
        waiting.set()
        assert await stream.receive_some() == b""
        ended.set()

    async with peer(serve) as origin:
        with pool_of() as pool:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, bound(pool, origin), origin)
                await waiting.wait()
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            with trio.fail_after(1):
                await ended.wait()

            assert (only(pool).open, only(pool).in_use) == (0, 0)


async def ten_events(stream: trio.SocketStream) -> None:
    while await read_request(stream):
        await stream.send_all(CHUNKED)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
            await stream.send_all(b"8\r\ndata: x\n\r\n")
        await stream.send_all(b"0\r\n\r\n")


async def leave_after(pool: Pool, origin: str, events: int, by_cancel: bool) -> None:
    with trio.CancelScope() as scope:
        response = await bound(pool, origin).handle_async_request(ask(origin))
        try:
            stream = aiter(body_of(response))
            for _ in range(events):
                await anext(stream, b"")
            if by_cancel:
                scope.cancel()
                await anext(stream, b"")
        finally:
            await response.aclose()


async def test_a_thousand_streams_left_at_random_events_leave_nothing_behind() -> None:
    """C-2: over real sockets; the rest of the row is the leak fixture's."""
    draw = random.Random(3)  # noqa: S311  # a schedule, not a secret
    async with peer(ten_events) as origin:
        with pool_of(max_connections=20) as pool:
            for _ in range(20):
                async with trio.open_nursery() as nursery:
                    for _ in range(50):
                        nursery.start_soon(leave_after, pool, origin, draw.randrange(12), draw.random() < 0.5)
            assert (only(pool).in_use, only(pool).waiting) == (0, 0)
            assert only(pool).open == only(pool).idle
            for _ in range(100):
                assert len(await call(bound(pool, origin), origin)) == 80


# Faults, each with how far the request got


async def fails(
    serve: Serve, kind: type[httpx.TransportError], *, sent: bool = True, body: bytes = BODY, **settings: object
) -> None:
    async with peer(serve) as origin:
        with pool_of(**settings) as pool:
            with trio.fail_after(10), pytest.raises(kind) as caught:
                await call(bound(pool, origin), origin, body)

            assert caught.value.request_sent is sent  # type: ignore[attr-defined]
            assert "canary" not in str(caught.value)
            assert (only(pool).open, only(pool).in_use) == (0, 0)


async def test_a_refused_connection_is_told_at_once() -> None:
    """B1."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pool_of() as pool, trio.fail_after(1), pytest.raises(httpx.ConnectError, match="refused") as caught:
            await call(bound(pool, origin), origin)

        assert caught.value.request_sent is False  # type: ignore[attr-defined]


async def test_a_peer_that_closes_at_once_gave_no_answer() -> None:
    """B5."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with peer(serve) as origin:
        with pool_of() as pool, pytest.raises((httpx.RemoteProtocolError, httpx.NetworkError)):
            await call(bound(pool, origin), origin)


async def test_a_reset_before_the_head_is_a_read_error() -> None:
    """B6."""

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        reset(stream)

    await fails(serve, httpx.ReadError)


async def test_a_reset_in_the_head_is_a_read_error() -> None:
    """B7."""

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nX-A")
        reset(stream)

    await fails(serve, httpx.ReadError)


async def test_a_reset_in_the_body_is_a_read_error() -> None:
    """B11."""

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED + b"3\r\none\r\n")
        reset(stream)

    await fails(serve, httpx.ReadError)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        CHUNKED + b"3\r\none\r\n",
        CHUNKED + b"5\r\non",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"3\r\none\r\nzz\r\n",
    ],
)
async def test_a_body_that_does_not_come_whole_is_an_error(reply: bytes) -> None:
    """B12, B13, B29."""
    await fails(answering(reply), httpx.RemoteProtocolError)


async def test_what_came_before_a_cut_is_given_before_the_error() -> None:
    """B12."""
    proceed = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED + b"3\r\none\r\n")
        await proceed.wait()

    async with peer(serve) as origin:
        with pool_of() as pool:
            response = await bound(pool, origin).handle_async_request(ask(origin))
            stream = aiter(body_of(response))
            assert await anext(stream) == b"one"
            proceed.set()
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(stream)
            assert (only(pool).open, only(pool).in_use) == (0, 0)


async def test_a_reply_longer_than_it_says_is_cut_and_its_connection_dropped() -> None:
    """B13."""
    async with peer(answering(OK + b"surplus")) as origin:
        with pool_of() as pool:
            assert await call(bound(pool, origin), origin) == b"ok"
            assert only(pool).open == 0


async def test_bytes_that_come_to_an_idle_connection_are_never_taken_for_an_answer() -> None:
    proceed, poisoned = trio.Event(), trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await proceed.wait()
        proceed_again = not poisoned.is_set()
        if proceed_again:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            poisoned.set()
        await read_request(stream)

    async with peer(serve) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            assert await call(transport, origin) == b"ok"
            proceed.set()
            await poisoned.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await call(transport, origin) == b"ok"
            assert only(pool).connects == 2


async def test_informational_replies_are_skipped_and_switching_is_refused() -> None:
    """B18."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with peer(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK)) as origin:
        with pool_of() as pool:
            assert await call(bound(pool, origin), origin) == b"ok"
    await fails(answering(hints * 5000 + OK), httpx.RemoteProtocolError)
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    await fails(answering(upgrade), httpx.RemoteProtocolError)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_reply_like_any_other(status: int) -> None:
    """B19."""
    reply = b"HTTP/1.1 %d X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n" % status
    async with peer(answering(reply)) as origin:
        with pool_of() as pool:
            response = await bound(pool, origin).handle_async_request(ask(origin))

            assert response.status_code == status
            assert len(pool.statistics()) == 1


async def test_too_many_or_too_large_headers_are_refused() -> None:
    """B28."""
    many = b"".join(b"X-%d: a\r\n" % number for number in range(1500))
    await fails(answering(b"HTTP/1.1 200 OK\r\n" + many + b"Content-Length: 0\r\n\r\n"), httpx.RemoteProtocolError)
    large = b"X-A: " + b"a" * 100_000 + b"\r\n"
    await fails(answering(b"HTTP/1.1 200 OK\r\n" + large + b"Content-Length: 0\r\n\r\n"), httpx.RemoteProtocolError)


# A kept connection that has died


async def test_a_peer_that_closes_after_each_reply_causes_no_error() -> None:
    """B30."""
    async with peer(answering(OK)) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            for _ in range(1000):
                assert await call(transport, origin) == b"ok"

            assert only(pool).open <= 1


async def test_a_kept_connection_that_dies_unanswered_is_replaced_once() -> None:
    """B30, B6: the peer takes the second request and closes without a word; a fresh connection serves it."""
    first = True

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal first
        await read_request(stream)
        await stream.send_all(OK)
        if first:
            first = False
            assert await read_request(stream)
            reset(stream)
        else:
            await always_ok(stream)

    async with peer(serve) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            assert await call(transport, origin) == b"ok"
            assert await call(transport, origin) == b"ok"
            assert (only(pool).connects, only(pool).resends) == (2, 1)


async def test_a_request_is_resent_only_once_and_says_that_it_may_have_arrived() -> None:
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await read_request(stream)
        if connections == 1:
            await stream.send_all(OK)
            await read_request(stream)

    async with peer(serve) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            assert await call(transport, origin) == b"ok"
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await call(transport, origin)

            assert caught.value.request_sent is True  # type: ignore[attr-defined]
            assert connections == 2


async def test_nothing_is_resent_after_a_byte_of_the_answer() -> None:
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await read_request(stream)
        await stream.send_all(OK)
        await read_request(stream)
        await stream.send_all(b"H")

    async with peer(serve) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            assert await call(transport, origin) == b"ok"
            with pytest.raises(httpx.RemoteProtocolError):
                await call(transport, origin)

            assert connections == 1


async def test_a_body_that_cannot_be_replayed_is_not_resent() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield b"one"

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await read_request(stream)

    async with peer(serve) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            assert await call(transport, origin) == b"ok"
            with pytest.raises((httpx.RemoteProtocolError, httpx.NetworkError)):
                await transport.handle_async_request(httpx.Request("POST", origin + "/", content=pieces()))

            assert only(pool).connects == 1


# Early replies


@pytest.mark.parametrize("then", ["keep", "close"])
async def test_a_reply_before_the_request_was_read_is_delivered(then: str) -> None:
    """B31."""
    got = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal got
        got += len(await stream.receive_some(1024))
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        if then == "keep":
            await trio.sleep_forever()

    async with peer(serve) as origin:
        with pool_of() as pool, trio.fail_after(10):
            response = await bound(pool, origin).handle_async_request(ask(origin, b"x" * 32 * 1024 * 1024))

            assert response.status_code == 413
            assert b"".join([chunk async for chunk in body_of(response)]) == b"big"
            assert only(pool).open == 0
    assert got == 1024


@pytest.mark.parametrize("size", [20_000, 300_000, 8_000_000])
async def test_large_requests_arrive_whole(size: int) -> None:
    seen: list[int] = []

    async def serve(stream: trio.SocketStream) -> None:
        while data := await read_request(stream):
            seen.append(len(data.partition(b"\r\n\r\n")[2]))
            await stream.send_all(OK)

    async with peer(serve) as origin:
        with pool_of() as pool:
            transport = bound(pool, origin)
            for _ in range(3):
                assert await call(transport, origin, b"x" * size) == b"ok"

            assert only(pool).connects == 1
    assert seen == [size] * 3


# Where a secret may go


async def test_a_request_for_another_origin_is_refused_before_any_connect() -> None:
    """S11, S10."""
    async with peer(always_ok) as origin, peer(always_ok) as other:
        with pool_of() as pool:
            transport = bound(pool, origin)
            for url in (other, origin.replace("http:", "https:"), origin.replace("127.0.0.1", "localhost")):
                with pytest.raises(httpx.LocalProtocolError, match="bound to") as caught:
                    await call(transport, url)
                assert caught.value.request_sent is False  # type: ignore[attr-defined]

            assert only(pool).connects == 0


def test_a_credential_without_a_usable_origin_is_refused() -> None:
    with pool_of() as pool, pytest.raises(ValueError, match="origin"):
        bound(pool, "")


async def test_a_host_field_of_the_caller_does_not_count() -> None:
    """S10."""
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(OK)

    async with peer(serve) as origin:
        with pool_of() as pool:
            request = httpx.Request("GET", origin + "/", headers={"Host": "evil.example"})
            await bound(pool, origin).handle_async_request(request)

    assert b"evil" not in seen[0]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_connections", 0),
        ("max_per_credential", -1),
        ("max_wait", 0.0),
        ("keepalive", -1.0),
        ("max_header_bytes", 0),
        ("max_header_fields", 0),
        ("proxy", Secret("socks5://canary@proxy")),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting) as caught:
        PoolSettings(**{setting: value})  # type: ignore[arg-type]  # the cases name real settings

    assert "canary" not in str(caught.value)


def test_a_file_without_certificates_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(ValueError, match=f"ca_file.*{name}"):
            Pool(PoolSettings(ca_file=str(tmp_path / name)))


# Limits


async def test_connections_are_capped_per_origin_and_the_next_in_line_gets_the_place() -> None:
    release = trio.Event()
    served = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal served
        while await read_request(stream):
            await release.wait()
            served += 1
            await stream.send_all(OK)

    async with peer(serve) as origin:
        with pool_of(max_connections=3) as pool:
            transport = bound(pool, origin)
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(call, transport, origin)
                while only(pool).waiting < 7:
                    await trio.lowlevel.checkpoint()
                assert (only(pool).in_use, only(pool).waiting) == (3, 7)
                release.set()

            assert served == 10
            assert (only(pool).connects, only(pool).idle, only(pool).in_use) == (3, 3, 0)


async def test_one_credential_has_a_limit_of_its_own() -> None:
    release = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        while await read_request(stream):
            await release.wait()
            await stream.send_all(OK)

    async with peer(serve) as origin:
        with pool_of(max_per_credential=2) as pool:
            async with trio.open_nursery() as nursery:
                for id in ("a", "a", "a", "a", "b"):
                    nursery.start_soon(call, bound(pool, origin, id), origin)
                while only(pool).in_use < 3:
                    await trio.lowlevel.checkpoint()
                assert only(pool).in_use == 3
                release.set()
            assert only(pool).in_use == 0


async def test_waiting_for_a_place_ends_in_time() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await trio.sleep_forever()

    async with peer(serve) as origin:
        with pool_of(max_connections=1, max_wait=Seconds(0.05)) as pool:
            transport = bound(pool, origin)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, transport, origin)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(httpx.PoolTimeout) as caught:
                    await call(transport, origin)
                assert caught.value.request_sent is False  # type: ignore[attr-defined]
                nursery.cancel_scope.cancel()

            assert (only(pool).in_use, only(pool).waiting) == (0, 0)


# Proxies


def tunnelling(seen: list[bytes], reply: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await stream.receive_some(1)
        seen.append(head)
        await stream.send_all(reply)
        await always_ok(stream)

    return serve


async def test_a_proxy_tunnels_and_never_sees_the_request_in_the_open() -> None:
    seen: list[bytes] = []
    async with peer(tunnelling(seen)) as proxy:
        with pool_of() as pool:
            url = proxy.replace("http://", "http://user:pass@")
            transport = bound(pool, "http://a.example", proxy=url)
            for _ in range(3):
                assert await call(transport, "http://a.example") == b"ok"

            assert only(pool).connects == 1
    assert seen == [
        b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
    ]


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nsurplus",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_a_proxy_that_refuses_is_a_connect_error_and_sees_no_secret(reply: bytes) -> None:
    seen: list[bytes] = []
    async with peer(tunnelling(seen, reply)) as proxy:
        with pool_of() as pool, pytest.raises(httpx.ConnectError, match="proxy") as caught:
            await call(bound(pool, "http://api.example.com", proxy=proxy), "http://api.example.com")

    assert caught.value.request_sent is False  # type: ignore[attr-defined]
    assert b"canary" not in b"".join(seen)


async def test_no_proxy_is_asked_for_a_metadata_address() -> None:
    """S12."""
    seen: list[bytes] = []
    async with peer(tunnelling(seen)) as proxy:
        with pool_of() as pool, pytest.raises(httpx.ConnectError, match="never"):
            await call(bound(pool, "http://169.254.169.254", proxy=proxy), "http://169.254.169.254")

    assert seen == []
