"""The pool under cancellation and mock time, over memory streams: nothing that is stopped anywhere may damage it."""

import random
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.testing

from turnout import Credential, Seconds
from turnout_transport import OriginStatistics, Pool, PoolSettings, RawStream

ORIGIN = "http://127.0.0.1:8000"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Half = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]
TraceFunction = Callable[[FrameType, str, Any], Any]
Serve = Callable[["Line"], Awaitable[None]]


class Line(RawStream):
    """One end of a connection in memory."""

    def __init__(self, half: Half) -> None:
        self._half = half

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._half.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._half.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._half.receive_some(max_bytes))

    def close(self) -> None:
        self._half.send_stream.close()
        self._half.receive_stream.close()


@attrs.define
class Network:
    """Connections in memory to a scripted upstream; opening one takes `delay` seconds."""

    nursery: trio.Nursery
    serve: Serve
    delay: float = 0.0
    open: int = 0

    async def open_stream(self, address: str, port: int) -> RawStream:
        await trio.sleep(self.delay)
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._run, Line(theirs))
        return Line(ours)

    async def _run(self, line: Line) -> None:
        self.open += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.serve(line)
        line.close()
        self.open -= 1


async def numeric(host: str, port: int) -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    return [host]


def pool_on(network: Network, **settings: object) -> Pool:
    return Pool(PoolSettings(**settings), open_stream=network.open_stream, resolve=numeric)  # type: ignore[arg-type]


def only(pool: Pool) -> OriginStatistics:
    (statistics,) = pool.statistics()
    return statistics


def bound(pool: Pool, id: str = "a") -> httpx.AsyncBaseTransport:
    return pool.for_credential(Credential(id=id, provider="p", origin=ORIGIN))


async def call(pool: Pool, id: str = "a", body: bytes = b"{}") -> bytes:
    response = await bound(pool, id).handle_async_request(httpx.Request("POST", ORIGIN, content=body))
    try:
        return await response.aread()
    finally:
        await response.aclose()


async def wait_request(line: Line) -> bool:
    data = b""
    while not data.partition(b"\r\n\r\n")[2].endswith(b"}"):
        more = await line.receive_some()
        if not more:
            return False
        data += more
    return True


async def slow_stream(line: Line) -> None:
    """Reply to each request with five events, each thing taking up to a second."""
    draw = random.Random(7)  # noqa: S311  # a schedule, not a secret
    while await wait_request(line):
        await trio.sleep(draw.random())
        await line.send_all(b"HTTP/1.1 200 OK\r\n")
        await trio.sleep(draw.random())
        await line.send_all(b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            await trio.sleep(draw.random())
            await line.send_all(b"8\r\ndata: x\n\r\n")
        await trio.sleep(draw.random())
        await line.send_all(b"0\r\n\r\n")


async def instant(line: Line) -> None:
    while await wait_request(line):
        await line.send_all(OK)


@pytest.mark.parametrize("size", [2, 40_000], ids=["small", "beside reading"])
async def test_a_thousand_cancels_at_random_points_leave_every_place_usable(
    autojump_clock: trio.testing.MockClock, size: int
) -> None:
    """C-2, X2: the pool canary."""
    draw = random.Random(1)  # noqa: S311  # a schedule, not a secret
    body = b"{" + b" " * (size - 2) + b"}"
    ended = 0

    async with trio.open_nursery() as nursery:
        network = Network(nursery, slow_stream, delay=0.5)
        pool = pool_on(network, max_connections=10, max_per_credential=4, max_wait=Seconds(60))

        async def one(seconds: float, id: str) -> None:
            nonlocal ended
            with trio.move_on_after(seconds):
                assert len(await call(pool, id, body)) == 40
            ended += 1

        async with trio.open_nursery() as clients:
            for number in range(1000):
                clients.start_soon(one, draw.random() * 8, f"c{number % 5}")
                await trio.sleep(draw.random() * 0.2)
                assert only(pool).open <= 10
        assert ended == 1000

        await trio.sleep(2)  # until the far ends have noticed
        statistics = only(pool)
        assert (statistics.in_use, statistics.waiting) == (0, 0)
        assert statistics.open == statistics.idle == network.open

        async with trio.open_nursery() as clients:
            for number in range(100):
                clients.start_soon(call, pool, f"c{number % 5}", body)
        assert only(pool).in_use == 0
        pool.close()
        assert only(pool).open == 0
        await trio.sleep(2)
        assert network.open == 0


async def test_a_cancel_at_any_checkpoint_of_an_exchange_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """X2: cancelled at the first wait, at the second, and so on until the exchange comes through."""
    async with trio.open_nursery() as nursery:
        network = Network(nursery, slow_stream, delay=0.25)
        pool = pool_on(network, max_connections=1)
        finished = False
        cuts = 0
        while not finished:
            with trio.move_on_after(cuts * 0.05):
                await call(pool)
                finished = True
            cuts += 1
            statistics = only(pool)
            assert statistics.in_use == 0
            assert statistics.open == statistics.idle <= 1
        pool.close()
    assert cuts > 20


async def test_idle_connections_go_when_their_time_is_over(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        network = Network(nursery, instant)
        pool = pool_on(network, keepalive=Seconds(10))
        async with trio.open_nursery() as clients:
            for _ in range(5):
                clients.start_soon(call, pool)
        assert only(pool).idle == 5
        await trio.sleep(6)
        await call(pool)
        await trio.sleep(6)
        await call(pool)

        await trio.testing.wait_all_tasks_blocked()
        assert (only(pool).idle, only(pool).connects, network.open) == (1, 5, 1)
        await trio.sleep(11)
        await call(pool)
        assert only(pool).connects == 6
        pool.close()


async def test_one_origin_clears_what_another_left(autojump_clock: trio.testing.MockClock) -> None:
    other = "http://127.0.0.2:8000"
    async with trio.open_nursery() as nursery:
        network = Network(nursery, instant)
        pool = pool_on(network, keepalive=Seconds(10))
        await call(pool)
        await trio.sleep(11)
        transport = pool.for_credential(Credential(id="b", provider="p", origin=other))
        await transport.handle_async_request(httpx.Request("POST", other, content=b"{}"))

        assert [each.idle for each in pool.statistics()] == [0, 1]
        pool.close()


async def test_limits_of_a_credential_that_is_gone_are_forgotten() -> None:
    async with trio.open_nursery() as nursery:
        network = Network(nursery, instant)
        pool = pool_on(network, max_per_credential=1)
        for number in range(100):
            await call(pool, f"c{number}")

        assert len(pool._limiters) == 0
        pool.close()


async def test_closing_ends_exchanges_under_way_and_those_that_wait(autojump_clock: trio.testing.MockClock) -> None:
    async def silent(line: Line) -> None:
        await wait_request(line)
        await line.receive_some()

    async with trio.open_nursery() as nursery:
        network = Network(nursery, silent, delay=1)
        pool = pool_on(network, max_connections=2)
        failures: list[type[BaseException]] = []

        async def one(after: float) -> None:
            await trio.sleep(after)
            with pytest.raises(httpx.TransportError) as caught:
                await call(pool)
            failures.append(caught.type)

        async with trio.open_nursery() as clients:
            for after in (0, 1.5, 1.6, 1.7):  # one in its exchange, one dialling, two waiting
                clients.start_soon(one, after)
            await trio.sleep(2)
            assert (only(pool).in_use, only(pool).waiting) == (2, 2)
            pool.close()

        assert sorted(kind.__name__ for kind in failures) == ["ConnectError"] * 3 + ["ReadError"]
        assert (only(pool).open, only(pool).in_use, only(pool).waiting) == (0, 0, 0)


@contextmanager
def counting_lines() -> Iterator[list[int]]:
    """The numbers of the lines of the transport that run inside the block."""
    lines: list[int] = []

    def trace(frame: FrameType, event: str, arg: object) -> TraceFunction | None:
        if "turnout_transport" not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


async def test_a_thousand_connections_cost_a_request_no_more_than_one(autojump_clock: trio.testing.MockClock) -> None:
    """X1: what is done per request does not grow with the number of connections, idle or busy."""

    async def counted(width: int) -> int:
        async with trio.open_nursery() as nursery:
            network = Network(nursery, instant)
            pool = pool_on(network, max_connections=2000)
            async with trio.open_nursery() as clients:
                for _ in range(width):
                    clients.start_soon(call, pool)
            assert only(pool).idle == width
            with counting_lines() as count:
                await call(pool)
            pool.close()
            return len(count)

    few, many = await counted(1), await counted(1000)

    assert few > 50
    assert many <= few * 1.1
