"""The pool over real sockets on loopback: what it does beyond what holds for either transport."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from logging import getLogger
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing
from peers import CHUNKED, OK, Serve, always_ok, ask, body_of, call, peer, read_request

from turnout import Credential, Seconds, Secret
from turnout.abc import Limits, PluginContext
from turnout_transport import Httpx, HttpxSettings, OriginStatistics, Pool, PoolSettings


@asynccontextmanager
async def pool_of(**settings: object) -> AsyncIterator[Pool]:
    async with Pool(PoolSettings(**settings)).opened() as pool:  # type: ignore[arg-type]  # the tests name real settings
        yield pool


def bound(pool: Pool, origin: str, id: str = "a", proxy: str = "") -> httpx.AsyncBaseTransport:
    proxy_url = Secret(proxy) if proxy else None
    return pool.for_credential(Credential(id=id, provider="p", origin=origin, proxy_url=proxy_url))


def only(pool: Pool) -> OriginStatistics:
    (statistics,) = pool.statistics()
    return statistics


# The plain way


async def test_requests_in_turn_share_one_connection() -> None:
    async with peer(always_ok) as origin, pool_of() as pool:
        transport = bound(pool, origin)
        for _ in range(5):
            assert await call(transport, origin) == b"ok"

        statistics = only(pool)
        assert (statistics.connects, statistics.reuses, statistics.resends) == (1, 4, 0)
        assert (statistics.open, statistics.idle, statistics.in_use, statistics.waiting) == (1, 1, 0, 0)


async def test_credentials_of_one_origin_share_connections() -> None:
    async with peer(always_ok) as origin, pool_of() as pool:
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


async def test_a_stream_is_given_as_it_arrives_and_its_connection_is_kept() -> None:
    proceed = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED + b"3\r\none\r\n")
        await proceed.wait()
        await stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")
        await always_ok(stream)

    async with peer(serve) as origin, pool_of() as pool:
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

    async with peer(serve) as origin, pool_of() as pool:
        response = await bound(pool, origin).handle_async_request(ask(origin))
        stream = aiter(body_of(response))
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(stream)
        assert scope.cancelled_caught
        proceed.set()

        assert [chunk async for chunk in stream] == [b"one"]
        assert only(pool).idle == 1


# Leaving early


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
    async with peer(ten_events) as origin, pool_of(max_connections=20) as pool:
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(leave_after, pool, origin, draw.randrange(12), draw.random() < 0.5)
        assert (only(pool).in_use, only(pool).waiting) == (0, 0)
        assert only(pool).open == only(pool).idle
        for _ in range(100):
            assert len(await call(bound(pool, origin), origin)) == 80


# Where a secret may go


async def test_a_credential_without_a_usable_origin_is_refused() -> None:
    async with pool_of() as pool:
        with pytest.raises(ValueError, match="origin"):
            bound(pool, "")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_connections", 0),
        ("max_per_credential", -1),
        ("max_wait", 0.0),
        ("keepalive", -1.0),
        ("max_header_bytes", 0),
        ("max_header_fields", 0),
        ("proxy", Secret("socks4://canary@proxy")),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting) as caught:
        PoolSettings(**{setting: value})  # type: ignore[arg-type]  # the cases name real settings

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("settings", [PoolSettings, HttpxSettings])
def test_a_file_without_certificates_is_refused_by_name_before_anything_opens(
    tmp_path: Path, settings: type[PoolSettings] | type[HttpxSettings]
) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(ValueError, match=f"ca_file.*{name}"):
            settings(ca_file=str(tmp_path / name))


@pytest.mark.parametrize(
    ("proxy", "flaw"),
    [
        ("http://user:canary@proxy:8080", ""),
        ("https://proxy", ""),
        ("socks5h://user:canary@[::1]:1080", ""),
        ("socks4://user:canary@proxy", "a proxy is http://"),
        ("http://:canary@:8080", "a proxy is http://"),
        ("http://canary:canary@proxy:99999", "1 and 65535"),
        ("socks5://proxy:0", "1 and 65535"),
        ("http://canary:canary@proxy:canary", "not a URL"),
        ("socks5://canary@proxy", "a user and a password"),
    ],
)
def test_a_proxy_that_no_connection_could_use_is_told_without_showing_it(proxy: str, flaw: str) -> None:
    assert flaw in Pool.proxy_flaw(Secret(proxy))
    assert bool(flaw) == bool(Pool.proxy_flaw(Secret(proxy)))
    assert "canary" not in Pool.proxy_flaw(Secret(proxy))
    assert "no proxies" in Httpx.proxy_flaw(Secret(proxy))


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

    async with peer(serve) as origin, pool_of(max_connections=3) as pool:
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

    async with peer(serve) as origin, pool_of(max_per_credential=2) as pool:
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

    async with peer(serve) as origin, pool_of(max_connections=1, max_wait=Seconds(0.05)) as pool:
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
    async with peer(tunnelling(seen)) as proxy, pool_of() as pool:
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
    async with peer(tunnelling(seen, reply)) as proxy, pool_of() as pool:
        with pytest.raises(httpx.ConnectError, match="proxy") as caught:
            await call(bound(pool, "http://api.example.com", proxy=proxy), "http://api.example.com")

    assert caught.value.request_sent is False  # type: ignore[attr-defined]
    assert b"canary" not in b"".join(seen)


async def test_no_proxy_is_asked_for_a_metadata_address() -> None:
    """S12."""
    seen: list[bytes] = []
    async with peer(tunnelling(seen)) as proxy, pool_of() as pool:
        with pytest.raises(httpx.ConnectError, match="never"):
            await call(bound(pool, "http://169.254.169.254", proxy=proxy), "http://169.254.169.254")

    assert seen == []
