"""What holds for either transport, `pool` and `httpx`, over real sockets on loopback: rows of the acceptance tables."""

import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import httpx
import pytest
import trio
import trio.testing
import trustme
from peers import (
    BODY,
    CHUNKED,
    CONNECTS,
    OK,
    Flight,
    Serve,
    always_ok,
    answering,
    ask,
    body_of,
    call,
    peer,
    read_request,
    reset,
)

from turnout import Credential
from turnout_transport import Httpx, HttpxSettings, Pool, PoolSettings
from turnout_wire import verdict_of_exception


class Way(Protocol):
    """A transport under test, and what it holds.

    Attributes:
        open: connections that exist; `idle` of them wait for a request.
        in_use: requests that have a place.
    """

    def bound(self, origin: str) -> httpx.AsyncBaseTransport: ...
    @property
    def open(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def in_use(self) -> int: ...


class PoolWay:
    def __init__(self, ca_file: str = "", limit: float = 5.0) -> None:
        self.transport = Pool(PoolSettings(ca_file=ca_file), connect_limit=limit)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        async with self.transport.opened():
            yield self

    def bound(self, origin: str) -> httpx.AsyncBaseTransport:
        return self.transport.for_credential(Credential(id="a", provider="p", origin=origin))

    @property
    def open(self) -> int:
        return sum(each.open for each in self.transport.statistics())

    @property
    def idle(self) -> int:
        return sum(each.idle for each in self.transport.statistics())

    @property
    def in_use(self) -> int:
        return sum(each.in_use for each in self.transport.statistics())


class HttpxWay:
    def __init__(self, ca_file: str = "", limit: float = 5.0) -> None:
        self.transport = Httpx(HttpxSettings(ca_file=ca_file), connect_limit=limit)

    def bound(self, origin: str) -> httpx.AsyncBaseTransport:
        return self.transport.for_credential(Credential(id="a", provider="p", origin=origin))

    @property
    def open(self) -> int:
        return sum(len(line.pool.connections) for line in self.transport._lines.values())

    @property
    def idle(self) -> int:
        lines = self.transport._lines.values()
        return sum(each.is_idle() for line in lines for each in line.pool.connections)

    @property
    def in_use(self) -> int:
        return sum(line.places.taken for line in self.transport._lines.values())

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        try:
            yield self
        finally:
            await self.transport.aclose()


OpenWay = Callable[..., AbstractAsyncContextManager[Way]]


def open_any(
    make: type[PoolWay] | type[HttpxWay], *, ca_file: str = "", limit: float = 5.0
) -> AbstractAsyncContextManager[Way]:
    return make(ca_file, limit).opened()


@pytest.fixture(params=[PoolWay, HttpxWay], ids=["pool", "httpx"])
def open_way(request: pytest.FixtureRequest) -> OpenWay:
    return partial(open_any, request.param)


async def test_the_upstream_sees_exactly_what_was_asked(open_way: OpenWay) -> None:
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(OK)

    async with peer(serve) as origin, open_way() as way:
        await call(way.bound(origin), origin)

    host = origin.removeprefix("http://").encode()
    assert seen == [
        b"POST /v1/x HTTP/1.1\r\nHost: "
        + host
        + b"\r\nauthorization: Bearer canary\r\nContent-Length: 14\r\n\r\n"
        + BODY
    ]


async def test_a_streamed_request_body_arrives_whole(open_way: OpenWay) -> None:
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

    async with peer(serve) as origin, open_way() as way:
        request = httpx.Request("POST", origin + "/", content=pieces())
        response = await way.bound(origin).handle_async_request(request)
        assert await response.aread() == b"ok"
        assert way.idle == 1

    assert bytes(seen).partition(b"\r\n\r\n")[2] == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_what_a_streamed_request_body_raises_comes_out_as_it_is(open_way: OpenWay) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield b"one"
        raise RuntimeError("mine")

    async with peer(always_ok) as origin, open_way() as way:
        request = httpx.Request("POST", origin + "/", content=pieces())
        with pytest.raises(RuntimeError, match="mine"):
            await way.bound(origin).handle_async_request(request)
        assert (way.open, way.in_use) == (0, 0)


async def test_a_compressed_body_is_given_as_it_came(open_way: OpenWay) -> None:
    """B20: to inflate is for whoever caps it."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzi"
    async with peer(answering(reply)) as origin, open_way() as way:
        assert await call(way.bound(origin), origin) == b"nogzi"


async def test_nothing_is_read_that_nobody_asked_for(open_way: OpenWay) -> None:
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

    async with peer(serve) as origin, open_way() as way:
        response = await way.bound(origin).handle_async_request(ask(origin))
        with trio.fail_after(10):
            await stalled.wait()
        await response.aclose()

    assert sent < 32 * 1024 * 1024


async def test_closing_before_the_end_closes_the_connection_undrained(open_way: OpenWay) -> None:
    """C-2."""
    ended = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED + b"3\r\none\r\n")
        assert await stream.receive_some() == b""
        ended.set()

    async with peer(serve) as origin, open_way() as way:
        response = await way.bound(origin).handle_async_request(ask(origin))
        assert await anext(aiter(body_of(response))) == b"one"
        await response.aclose()
        await response.aclose()

        with trio.fail_after(1):
            await ended.wait()
        assert (way.open, way.in_use) == (0, 0)
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(body_of(response)))


@pytest.mark.parametrize("when", ["before the head", "in the head"])
async def test_a_cancelled_request_closes_its_connection(open_way: OpenWay, when: str) -> None:
    ended = trio.Event()
    waiting = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        if when == "in the head":
            await stream.send_all(b"HTTP/1.1 200 OK\r\nX-A")
        waiting.set()
        assert await stream.receive_some() == b""
        ended.set()

    async with peer(serve) as origin, open_way() as way:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, way.bound(origin), origin)
            await waiting.wait()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await ended.wait()

        assert (way.open, way.in_use) == (0, 0)


async def fails(
    open_way: OpenWay, serve: Serve, kind: type[httpx.TransportError], *, sent: bool = True, body: bytes = BODY
) -> None:
    async with peer(serve) as origin, open_way() as way:
        with trio.fail_after(10), pytest.raises(kind) as caught:
            await call(way.bound(origin), origin, body)

        assert caught.value.request_sent is sent  # type: ignore[attr-defined]
        assert "canary" not in str(caught.value)
        assert (way.open, way.in_use) == (0, 0)


async def test_a_refused_connection_is_told_at_once(open_way: OpenWay) -> None:
    """B1."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with open_way() as way:
            with trio.fail_after(5), pytest.raises(httpx.ConnectError) as caught:
                await call(way.bound(origin), origin)

        assert caught.value.request_sent is False  # type: ignore[attr-defined]


async def test_a_peer_that_closes_at_once_gave_no_answer(open_way: OpenWay) -> None:
    """B5."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with peer(serve) as origin, open_way() as way:
        with pytest.raises((httpx.RemoteProtocolError, httpx.NetworkError)):
            await call(way.bound(origin), origin)


async def test_a_reset_before_the_head_is_a_read_error(open_way: OpenWay) -> None:
    """B6."""

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        reset(stream)

    await fails(open_way, serve, httpx.ReadError)


async def test_a_reset_in_the_head_is_a_read_error(open_way: OpenWay) -> None:
    """B7."""

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nX-A")
        reset(stream)

    await fails(open_way, serve, httpx.ReadError)


async def test_a_reset_in_the_body_is_a_read_error(open_way: OpenWay) -> None:
    """B11."""

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED + b"3\r\none\r\n")
        reset(stream)

    await fails(open_way, serve, httpx.ReadError)


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
async def test_a_body_that_does_not_come_whole_is_an_error(open_way: OpenWay, reply: bytes) -> None:
    """B12, B13, B29."""
    await fails(open_way, answering(reply), httpx.RemoteProtocolError)


async def test_what_came_before_a_cut_is_given_before_the_error(open_way: OpenWay) -> None:
    """B12."""
    proceed = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED + b"3\r\none\r\n")
        await proceed.wait()

    async with peer(serve) as origin, open_way() as way:
        response = await way.bound(origin).handle_async_request(ask(origin))
        stream = aiter(body_of(response))
        assert await anext(stream) == b"one"
        proceed.set()
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(stream)
        assert (way.open, way.in_use) == (0, 0)


async def test_a_reply_longer_than_it_says_is_cut_and_its_connection_dropped(open_way: OpenWay) -> None:
    """B13."""
    async with peer(answering(OK + b"surplus")) as origin, open_way() as way:
        assert await call(way.bound(origin), origin) == b"ok"
        assert way.open == 0


async def test_bytes_that_come_to_an_idle_connection_are_never_taken_for_an_answer(open_way: OpenWay) -> None:
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

    async with peer(serve) as origin, open_way() as way:
        transport = way.bound(origin)
        assert await call(transport, origin) == b"ok"
        proceed.set()
        await poisoned.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await call(transport, origin) == b"ok"
        assert CONNECTS[origin] == 2


@pytest.mark.parametrize("way_of_coming", ["in one piece", "in one record of TLS", "in one flight of TLS"])
async def test_what_came_behind_a_reply_never_answers_the_next_request(
    open_way: OpenWay, tmp_path: Path, way_of_coming: str
) -> None:
    """B13, S50: the next request may be another client's."""
    ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    evil = OK.replace(b"ok", b"no")

    async def serve(stream: trio.SocketStream) -> None:
        flight = Flight(stream)
        wire = flight if way_of_coming == "in one piece" else trio.SSLStream(flight, context, server_side=True)
        await read_request(wire)
        if way_of_coming == "in one flight of TLS":
            flight.holds = True
            await wire.send_all(OK)
            flight.holds = False
            await wire.send_all(evil)
        else:
            await wire.send_all(OK + evil)
        await read_request(wire)

    async with peer(serve) as at, open_way(ca_file=str(tmp_path / "ca.pem")) as way:
        origin = at if way_of_coming == "in one piece" else at.replace("http://127.0.0.1", "https://localhost")
        transport = way.bound(origin)
        for _ in range(3):
            assert await call(transport, origin) == b"ok"
        assert CONNECTS[at] == 3


async def test_informational_replies_are_skipped_and_switching_is_refused(open_way: OpenWay) -> None:
    """B18."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with peer(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + hints * 7 + OK)) as origin, open_way() as way:
        assert await call(way.bound(origin), origin) == b"ok"
    for count in (9, 5000):
        await fails(open_way, answering(hints * count + OK), httpx.RemoteProtocolError)
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    await fails(open_way, answering(upgrade), httpx.RemoteProtocolError)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_reply_like_any_other(open_way: OpenWay, status: int) -> None:
    """B19."""
    reply = b"HTTP/1.1 %d X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n" % status
    async with peer(answering(reply)) as origin, open_way() as way:
        response = await way.bound(origin).handle_async_request(ask(origin))
        await response.aclose()

        assert response.status_code == status
        assert CONNECTS[origin] == 1


async def test_too_many_or_too_large_headers_are_refused(open_way: OpenWay) -> None:
    """B28."""
    many = b"".join(b"X-%d: a\r\n" % number for number in range(1500))
    await fails(
        open_way, answering(b"HTTP/1.1 200 OK\r\n" + many + b"Content-Length: 0\r\n\r\n"), httpx.RemoteProtocolError
    )
    large = b"X-A: " + b"a" * 100_000 + b"\r\n"
    await fails(
        open_way, answering(b"HTTP/1.1 200 OK\r\n" + large + b"Content-Length: 0\r\n\r\n"), httpx.RemoteProtocolError
    )


@pytest.mark.parametrize("requests", [100, pytest.param(1000, marks=pytest.mark.long)])
async def test_a_peer_that_closes_after_each_reply_causes_no_error(open_way: OpenWay, requests: int) -> None:
    """B30."""
    async with peer(answering(OK)) as origin, open_way() as way:
        transport = way.bound(origin)
        for _ in range(requests):
            assert await call(transport, origin) == b"ok"

        assert way.open <= 1


async def test_a_kept_connection_that_dies_unanswered_is_replaced_once(open_way: OpenWay) -> None:
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

    async with peer(serve) as origin, open_way() as way:
        transport = way.bound(origin)
        assert await call(transport, origin) == b"ok"
        assert await call(transport, origin) == b"ok"
        assert CONNECTS[origin] == 2


async def test_a_request_is_resent_only_once_and_says_that_it_may_have_arrived(open_way: OpenWay) -> None:
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await read_request(stream)
        if connections == 1:
            await stream.send_all(OK)
            await read_request(stream)

    async with peer(serve) as origin, open_way() as way:
        transport = way.bound(origin)
        assert await call(transport, origin) == b"ok"
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await call(transport, origin)

        assert caught.value.request_sent is True  # type: ignore[attr-defined]
        assert connections == 2


async def test_a_request_whose_resend_finds_nobody_may_still_have_arrived(open_way: OpenWay) -> None:
    """B6, B7: the kernel may try such a request elsewhere as often as `retry_unsafe` says, and no more."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    origin = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"

    async def serve() -> None:
        async with await listener.accept() as stream:
            await read_request(stream)
            await stream.send_all(OK)
            await read_request(stream)
            await listener.aclose()
            reset(stream)

    async with open_way() as way, trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        transport = way.bound(origin)
        assert await call(transport, origin) == b"ok"
        with pytest.raises(httpx.ConnectError) as caught:
            await call(transport, origin)

        assert caught.value.request_sent is True  # type: ignore[attr-defined]


async def test_nothing_is_resent_after_a_byte_of_the_answer(open_way: OpenWay) -> None:
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await read_request(stream)
        await stream.send_all(OK)
        await read_request(stream)
        await stream.send_all(b"H")

    async with peer(serve) as origin, open_way() as way:
        transport = way.bound(origin)
        assert await call(transport, origin) == b"ok"
        with pytest.raises(httpx.RemoteProtocolError):
            await call(transport, origin)

        assert connections == 1


async def test_a_body_that_cannot_be_replayed_is_not_resent(open_way: OpenWay) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield b"one"

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await read_request(stream)

    async with peer(serve) as origin, open_way() as way:
        transport = way.bound(origin)
        assert await call(transport, origin) == b"ok"
        with pytest.raises((httpx.RemoteProtocolError, httpx.NetworkError)):
            await transport.handle_async_request(httpx.Request("POST", origin + "/", content=pieces()))

        assert CONNECTS[origin] == 1


@pytest.mark.parametrize("then", ["keep", "close"])
async def test_a_reply_before_the_request_was_read_is_delivered(open_way: OpenWay, then: str) -> None:
    """B31."""
    got = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal got
        got += len(await stream.receive_some(1024))
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        if then == "keep":
            await trio.sleep_forever()

    async with peer(serve) as origin, open_way() as way:
        with trio.fail_after(10):
            response = await way.bound(origin).handle_async_request(ask(origin, b"x" * 32 * 1024 * 1024))

        assert response.status_code == 413
        assert b"".join([chunk async for chunk in body_of(response)]) == b"big"
        assert way.open == 0
    assert got <= 1024


@pytest.mark.parametrize("size", [20_000, 300_000, 8_000_000])
async def test_large_requests_arrive_whole(open_way: OpenWay, size: int) -> None:
    seen: list[int] = []

    async def serve(stream: trio.SocketStream) -> None:
        while data := await read_request(stream):
            seen.append(len(data.partition(b"\r\n\r\n")[2]))
            await stream.send_all(OK)

    async with peer(serve) as origin, open_way() as way:
        transport = way.bound(origin)
        for _ in range(3):
            assert await call(transport, origin, b"x" * size) == b"ok"

        assert CONNECTS[origin] == 1
    assert seen == [size] * 3


async def test_a_request_for_another_origin_is_refused_before_any_connect(open_way: OpenWay) -> None:
    """S11, S10."""
    async with peer(always_ok) as origin, peer(always_ok) as other, open_way() as way:
        transport = way.bound(origin)
        for url in (other, origin.replace("http:", "https:"), origin.replace("127.0.0.1", "localhost")):
            with pytest.raises(httpx.LocalProtocolError, match="bound to") as caught:
                await call(transport, url)
            assert caught.value.request_sent is False  # type: ignore[attr-defined]

        assert CONNECTS[origin] == 0


async def test_a_host_field_of_the_caller_does_not_count(open_way: OpenWay) -> None:
    """S10."""
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(OK)

    async with peer(serve) as origin, open_way() as way:
        request = httpx.Request("GET", origin + "/", headers={"Host": "evil.example"})
        await (await way.bound(origin).handle_async_request(request)).aclose()

    assert b"evil" not in seen[0]


async def test_kept_connections_that_keep_dying_are_not_resent_on_for_ever(open_way: OpenWay) -> None:
    """B32: an upstream that resets every other request is not asked twice for each of them."""
    seen = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal seen
        while await read_request(stream):
            seen += 1
            if seen % 2 == 0:
                reset(stream)
                return
            await stream.send_all(OK)

    requests = 200
    async with peer(serve) as origin, open_way() as way:
        for _ in range(requests):
            with suppress(httpx.TransportError):
                await call(way.bound(origin), origin)

    assert seen <= 1.1 * requests + 5


# TLS: never sent a key


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, fault: str, folder: Path) -> ssl.SSLContext:
    """The server's side, with a certificate that has this fault."""
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if fault == "self-signed":
        own = trustme.CA()
        file = folder / "own.pem"
        own.private_key_pem.write_to_path(str(file))
        own.cert_pem.write_to_path(str(file), append=True)
        context.load_cert_chain(file)
    elif fault == "unknown authority":
        trustme.CA().issue_cert("localhost").configure_cert(context)
    elif fault == "expired":
        authority.issue_cert("localhost", not_before=past, not_after=past).configure_cert(context)
    else:
        authority.issue_cert("other.example.com" if fault == "wrong host" else "localhost").configure_cert(context)
    return context


FAULTS = ["wrong host", "expired", "unknown authority", "self-signed", "plain", "closing", "silent"]


@pytest.mark.parametrize("fault", [*FAULTS, "none"])
async def test_nothing_is_sent_before_the_other_side_has_proved_itself(
    open_way: OpenWay, authority: trustme.CA, tmp_path: Path, fault: str
) -> None:
    """B4, S57."""
    seen = bytearray()

    async def serve(stream: trio.SocketStream) -> None:
        if fault == "plain":
            seen.extend(await stream.receive_some())
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        elif fault == "silent":
            while data := await stream.receive_some():
                seen.extend(data)
        elif fault == "closing":
            seen.extend(await stream.receive_some())
        else:
            tls = trio.SSLStream(stream, server_context(authority, fault, tmp_path), server_side=True)
            seen.extend(await tls.receive_some())
            await tls.send_all(OK)
            await tls.receive_some()

    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    limit = 0.2 if fault == "silent" else 5.0
    async with peer(serve) as at, open_way(ca_file=str(tmp_path / "ca.pem"), limit=limit) as way:
        origin = at.replace("http://127.0.0.1", "https://localhost")
        if fault == "none":
            assert await call(way.bound(origin), origin) == b"ok"
        else:
            with trio.fail_after(10), pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)) as caught:
                await call(way.bound(origin), origin)
            assert caught.value.request_sent is False  # type: ignore[attr-defined]
        assert way.in_use == 0

    assert (b"canary" in seen) == (fault == "none")


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "said", "whole"),
    [
        (OK, False, True),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", False, True),
        (UNTIL_CLOSE + b"ok", True, True),
        (UNTIL_CLOSE + b"ok", False, False),
        (UNTIL_CLOSE, False, False),
        (OK[:-1], False, False),
        (OK[:-1], True, False),
        (CHUNKED + b"2\r\nok\r\n", False, False),
        (CHUNKED + b"2\r\nok\r\n", True, False),
    ],
)
async def test_over_tls_a_reply_is_whole_by_its_own_framing_or_when_its_end_is_said(
    open_way: OpenWay, authority: trustme.CA, tmp_path: Path, reply: bytes, said: bool, whole: bool
) -> None:
    """B12, B13: anybody on the way can close a connection, only the upstream can say that it does (RFC 9112, 9.8)."""

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server_context(authority, "none", tmp_path), server_side=True)
        await read_request(tls)
        await tls.send_all(reply)
        if said:
            await tls.aclose()

    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with peer(serve) as at, open_way(ca_file=str(tmp_path / "ca.pem")) as way:
        origin = at.replace("http://127.0.0.1", "https://localhost")
        if whole:
            assert await call(way.bound(origin), origin) == b"ok"
        else:
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)) as caught:
                await call(way.bound(origin), origin)
            assert verdict_of_exception(caught.value, answered=True).code == "upstream_protocol"
        assert way.in_use == 0
