"""What is ready at nearly the same time goes out together: answers and requests to others on this host."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import httpx
import pytest
import trio
from peers import OK, always_ok, peer, read_request
from steps import Steps
from trio.testing import MockClock

from turnout import Credential, Secret
from turnout_http._llhttp_connection import Connection
from turnout_http._llhttp_exchange import Exchange
from turnout_http._llhttp_outlet import Outlet
from turnout_http._llhttp_shared import Shared
from turnout_http._settings import ClientLimits
from turnout_http._visit import DONE
from turnout_sockets import CLOSE, Burst, Readers
from turnout_transport import Pool
from turnout_transport._exchanges import BoundTransport
from turnout_transport._origins import is_local
from turnout_wire.exchange import Posting


async def test_a_burst_goes_on_as_long_as_one_comes_close_after_another(autojump_clock: MockClock) -> None:
    burst = Burst()
    found = []
    for pause in (0.0, CLOSE / 2, CLOSE / 2, CLOSE * 2, 0.0):
        await trio.sleep(pause)
        found.append(burst.goes_on())
    assert found == [False, True, True, False, True]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("api.example", False),
    ],
)
def test_only_names_of_this_host_are_local(host: str, local: bool) -> None:
    assert is_local(host) is local


def bound(pool: Pool, origin: str, proxy: str = "") -> BoundTransport:
    secret = Secret(proxy) if proxy else None
    found = pool.for_credential(Credential(id="a", provider="p", origin=origin, proxy_url=secret))
    assert isinstance(found, BoundTransport)
    return found


@contextmanager
def answering(burst: Burst | None, busy: int = 2) -> Iterator[tuple[Exchange, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs, Readers() as readers:
        ours.setblocking(False)
        theirs.setblocking(False)
        readers.busy = busy  # with the one that is answered
        out = Outlet(ours, ClientLimits(), trio.CancelScope(), burst)
        exchange = Exchange({"method": "POST"}, out, Shared(ClientLimits(), readers), keep=True, expects=False)
        exchange.complete = True
        yield exchange, theirs


def came(sock: socket.socket) -> bytes:
    try:
        return sock.recv(4096)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("burst", [True, False])
async def test_the_first_answer_goes_out_at_once_and_so_does_any_to_another_host(
    burst: bool, autojump_clock: MockClock
) -> None:
    with answering(Burst() if burst else None) as (exchange, client):
        assert exchange.answer(200, b"", b"ok", close=False) is DONE
        assert came(client).endswith(b"\r\n\r\nok")
        if not burst:
            assert exchange.answer(200, b"", b"ok", close=False) is DONE


async def test_an_answer_while_nobody_else_is_served_waits_for_nobody(autojump_clock: MockClock) -> None:
    with answering(Burst(), busy=1) as (exchange, client):
        for number in range(1, 4):
            assert exchange.answer(200, b"", b"ok", close=False) is DONE
            assert came(client).count(b"\r\n\r\nok") == 1, number


async def test_an_answer_in_a_burst_goes_out_in_the_next_pass(autojump_clock: MockClock) -> None:
    burst = Burst()
    assert not burst.goes_on()
    order: list[str] = []
    with answering(burst) as (exchange, client):

        async def answer() -> None:
            burst.goes_on()
            order.append("ready")
            await exchange.answer(200, b"", b"ok", close=False)
            order.append("sent")

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(answer)
        assert order == ["ready"] * 3 + ["sent"] * 3
        assert exchange.ended
        assert came(client).count(b"\r\n\r\nok") == 3


async def test_an_answer_whose_client_has_left_meanwhile_is_not_sent(autojump_clock: MockClock) -> None:
    """C-5: it never says that it has begun, either."""
    burst = Burst()
    burst.goes_on()
    with answering(burst) as (exchange, client):
        with trio.CancelScope() as left:
            left.cancel()
            await exchange.answer(200, b"", b"ok", close=False)
        assert left.cancelled_caught
        assert (came(client), exchange.begun, exchange.ended) == (b"", False, False)


class Endless:
    """A burst that goes on, however slow the machine is."""

    def goes_on(self) -> bool:
        return True


async def test_requests_of_a_burst_are_sent_one_after_the_other_once_all_are_ready() -> None:
    """And one that is cancelled in that pass is not sent, and holds no place."""
    seen: list[bytes] = []
    in_use: list[int] = []

    async def serve(stream: trio.SocketStream) -> None:
        while request := await read_request(stream):
            seen.append(request)
            await stream.send_all(OK)

    async with peer(serve) as origin, Pool().opened() as pool:
        bound_one, again = bound(pool, origin), Posting(httpx.URL(f"{origin}/v1"), httpx.Headers())
        assert isinstance(bound_one.pool.burst, Burst)
        await bound_one.post(again, b"{}")
        bound_one.pool.burst = cast(Burst, Endless())
        assert bound_one.pool.places.take_nowait()  # another request is under way from here on
        with trio.CancelScope() as left:
            left.cancel()
            await bound_one.post(again, b"never")
        assert left.cancelled_caught
        (numbers,) = pool.statistics()
        assert (numbers.in_use, numbers.idle) == (1, 1)

        async def post(body: bytes) -> None:
            in_use.append(pool.statistics()[0].in_use)
            await bound_one.post(again, body)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(post, b"%d" % number)
    assert in_use == [1, 1, 1]
    assert sorted(request.rpartition(b"\r\n")[2] for request in seen) == [b"0", b"1", b"2", b"{}"]


async def test_a_request_that_is_alone_waits_for_nobody() -> None:
    found = []
    async with peer(always_ok) as origin, Pool().opened() as pool:
        to, again = bound(pool, origin), Posting(httpx.URL(f"{origin}/v1"), httpx.Headers())
        await to.post(again, b"{}")
        for burst, others in ((None, 0), (Endless(), 0), (Endless(), 1)):
            to.pool.burst = cast(Burst | None, burst)
            to.pool.places.taken = others
            with Steps(trio.lowlevel.current_task()) as steps:
                await to.post(again, b"{}")
            found.append(steps.count)
    assert found == [1, 1, 2]


async def test_an_upstream_on_another_host_or_behind_a_proxy_has_no_bursts() -> None:
    async with Pool().opened() as pool:
        assert bound(pool, "https://api.example").pool.burst is None
        assert bound(pool, "http://127.0.0.1:9", "http://127.0.0.1:8").pool.burst is None


async def test_a_client_on_another_host_has_no_bursts() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Readers() as readers:
        shared = Shared(ClientLimits(), readers)
        for address, burst in (("10.0.0.9", None), ("2001:db8::1", None), ("127.0.0.1", shared.burst)):
            connection = Connection(nobody, ours, (address, 9), shared)
            assert connection._requests._out.burst is burst


async def nobody(*_: object) -> None:
    raise AssertionError("nothing is asked here")
