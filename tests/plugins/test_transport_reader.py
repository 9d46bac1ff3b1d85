"""The task that reads for all plain connections of a pool: what comes while nobody waits for it, and who is told."""

import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from peers import CHUNKED, OK, always_ok, ask, body_of, call, peer, read_request
from trio.testing import wait_all_tasks_blocked

from turnout import Credential
from turnout_sockets import Readers
from turnout_transport import Pool
from turnout_transport._exchanges import ReplyBody
from turnout_transport._intakes import BUFFER, HELD, WatchedIntake
from turnout_transport._replies import ReplyParser
from turnout_transport._sockets import SocketStream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
PART = bytes(range(256)) * 256


def bound(pool: Pool, origin: str) -> httpx.AsyncBaseTransport:
    return pool.for_credential(Credential(id="a", provider="p", origin=origin))


def numbers(pool: Pool) -> tuple[int, int, int]:
    """Connections that are open and idle, and places in use."""
    (found,) = pool.statistics()
    return found.open, found.idle, found.in_use


async def until(what: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not what():  # noqa: ASYNC110  # it is the system that tells the reader
            await trio.sleep(0.001)


async def begun(pool: Pool, origin: str) -> ReplyBody:
    body = body_of(await bound(pool, origin).handle_async_request(ask(origin)))
    assert isinstance(body, ReplyBody)
    return body


@asynccontextmanager
async def unread(*pieces: bytes) -> AsyncIterator[tuple[Pool, ReplyBody]]:
    """A reply that has come whole, a read for each piece, before anybody reads it; an empty piece is an end."""

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        for piece in pieces:
            await wait_all_tasks_blocked()
            if piece:
                await stream.send_all(piece)
            else:
                await stream.send_eof()
        sent.set()
        await stream.receive_some()

    sent = trio.Event()
    async with peer(serve) as origin, Pool().opened() as pool:
        body = await begun(pool, origin)
        await sent.wait()
        await wait_all_tasks_blocked()
        yield pool, body


# While a connection is idle


@pytest.mark.parametrize("parting", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["an end", "bytes"])
async def test_an_idle_connection_on_which_something_comes_is_closed_at_once(parting: bytes) -> None:
    proceed = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await proceed.wait()
        if parting:
            await stream.send_all(parting)
            await stream.receive_some()

    async with peer(serve) as origin, Pool().opened() as pool:
        assert await call(bound(pool, origin), origin) == b"ok"
        assert numbers(pool) == (1, 1, 0)
        proceed.set()
        await until(lambda: numbers(pool) == (0, 0, 0))

        assert await call(bound(pool, origin), origin) == b"ok"
        (found,) = pool.statistics()
        assert (found.connects, found.resends) == (2, 0)


# While a reply waits


async def test_a_reply_that_comes_whole_while_nobody_waits_is_given_whole() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(CHUNKED)
        await wait_all_tasks_blocked()
        await stream.send_all(b"3\r\none\r\n")
        await wait_all_tasks_blocked()
        await stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")
        sent.set()
        await always_ok(stream)

    sent = trio.Event()
    async with peer(serve) as origin, Pool().opened() as pool:
        body = await begun(pool, origin)
        await sent.wait()
        await wait_all_tasks_blocked()

        assert numbers(pool) == (1, 0, 1)
        assert b"".join([piece async for piece in body]) == b"onetwo"
        assert numbers(pool) == (1, 1, 0)
        assert await call(bound(pool, origin), origin) == b"ok"
        (found,) = pool.statistics()
        assert found.connects == 1


@pytest.mark.parametrize("more", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["an end", "bytes"])
async def test_a_connection_on_which_something_follows_an_unread_reply_is_not_kept(more: bytes) -> None:
    async with unread(HEAD + b"one", b"more", more) as (pool, body):
        assert b"".join([piece async for piece in body]) == b"onemore"
        assert numbers(pool) == (0, 0, 0)


@pytest.mark.parametrize(
    ("rest", "reason"), [(b"", "middle"), (b"nonsense\r\n", "malformed")], ids=["an end", "garbage"]
)
async def test_what_came_before_a_reply_broke_is_given_before_it_is_told(rest: bytes, reason: str) -> None:
    async with unread(CHUNKED + b"3\r\none\r\n", b"3\r\ntwo\r\n", rest) as (pool, body):
        got = bytearray()
        with pytest.raises(httpx.RemoteProtocolError, match=reason):
            async for piece in body:
                got += piece
        assert got == b"onetwo"
        assert numbers(pool) == (0, 0, 0)


@asynccontextmanager
async def flood(parts: int) -> AsyncIterator[tuple[str, Callable[[], int]]]:
    """An upstream that sends so many parts as fast as they are taken; gives its origin and how many it has sent."""
    sent = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal sent
        while await read_request(stream):
            sent = 0
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (parts * len(PART)))
            for _ in range(parts):
                await stream.send_all(PART)
                sent += 1

    async with peer(serve) as origin:
        yield origin, lambda: sent


async def test_an_upstream_is_read_no_further_than_somebody_takes() -> None:
    """C-3: a stream that nobody reads holds a bounded part of what was sent, and nothing is lost when it is read."""
    async with flood(400) as (origin, sent), Pool().opened() as pool:
        body = await begun(pool, origin)
        await wait_all_tasks_blocked(0.05)
        stuck = sent()
        assert stuck < 300

        held = body.read_nowait() or b""
        assert 0 < len(held) <= HELD + len(BUFFER)
        rest = b"".join([piece async for piece in body])
        assert held + rest == PART * 400
        assert await call(bound(pool, origin), origin) == PART * 400
        assert numbers(pool) == (1, 1, 0)


async def test_a_stream_that_is_left_while_it_is_held_back_is_closed() -> None:
    async with flood(400) as (origin, _), Pool().opened() as pool:
        body = await begun(pool, origin)
        await wait_all_tasks_blocked(0.05)
        await body.aclose()
        assert numbers(pool) == (0, 0, 0)


# Who waits


async def silent(stream: trio.SocketStream) -> None:
    await read_request(stream)
    await stream.send_all(HEAD + b"one")
    await stream.receive_some()


async def test_one_task_at_a_time_waits_for_a_reply() -> None:
    async with peer(silent) as origin, Pool().opened() as pool, trio.open_nursery() as nursery:
        body = await begun(pool, origin)
        assert await anext(body) == b"one"
        nursery.start_soon(body.wait)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await anext(body)
        nursery.cancel_scope.cancel()


async def test_whoever_waits_is_told_when_the_pool_closes_and_whoever_asks_later_too() -> None:
    async with peer(silent) as origin, Pool().opened() as pool, trio.open_nursery() as nursery:
        waited, late = await begun(pool, origin), await begun(pool, origin)
        assert await anext(waited) == await anext(late) == b"one"

        async def wait() -> None:
            with pytest.raises(httpx.ReadError, match="our side"):
                await anext(waited)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        pool.close()
        with pytest.raises(httpx.ReadError, match="our side"):
            await anext(late)


async def test_pools_side_by_side_read_their_own_connections() -> None:
    async with peer(always_ok) as origin, Pool().opened() as one:
        async with Pool().opened() as other:
            for pool in (one, other, one, other):
                assert await call(bound(pool, origin), origin) == b"ok"
        assert numbers(other) == (0, 0, 0)

        assert await call(bound(one, origin), origin) == b"ok"
        assert numbers(one) == (1, 1, 0)


async def test_what_a_block_raises_comes_out_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with Pool().opened():
            raise LookupError("mine")


# The reader itself, and who reads alone

BOTH = [pytest.param(0, id="alone"), pytest.param(10**9, id="by the reader")]


class Faulty(ReplyParser):
    """A parser with a bug."""

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        raise ZeroDivisionError(f"{len(data)} bytes")


@contextmanager
def watched(readers: Readers, parser: type[ReplyParser]) -> Iterator[tuple[WatchedIntake, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        reply = parser(max_header_bytes=1000, max_header_fields=10)
        yield WatchedIntake(reply, SocketStream(near), readers), far


@asynccontextmanager
async def running(calm: int) -> AsyncIterator[Readers]:
    readers = Readers(calm=calm)
    with readers, trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers.run)
            yield readers
            assert readers.busy == 0
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("calm", BOTH)
async def test_a_fault_of_ours_fails_one_reply_and_not_the_reader(calm: int) -> None:
    async with running(calm) as readers:
        with watched(readers, Faulty) as (bad, bad_peer), watched(readers, ReplyParser) as (good, good_peer):
            bad_peer.send(HEAD)
            with pytest.raises(ZeroDivisionError):
                await bad.read_head()
            good_peer.send(HEAD + b"one")
            await good.read_head()
            assert good.read_nowait() == b"one"
            bad.close()
            good.close()


@pytest.mark.parametrize("calm", BOTH)
async def test_a_connection_that_is_closed_in_the_same_look_around_is_not_read(calm: int) -> None:
    async with running(calm) as readers:
        with watched(readers, ReplyParser) as (one, one_peer), watched(readers, ReplyParser) as (other, other_peer):
            closed = []
            for intake, its_rival in ((one, other), (other, one)):
                intake.reply.complete = True

                def spoilt(rival: WatchedIntake = its_rival) -> None:
                    closed.append(rival)
                    rival.close()

                intake.spoilt = spoilt
            one_peer.send(b"x")
            other_peer.send(b"x")
            await until(lambda: bool(closed))
            await wait_all_tasks_blocked()
            (rival,) = closed
            (one if rival is other else other).close()


# Who says what is enough to be woken


class Follower:
    """Takes what comes of a body in the reader's own task; is woken for what `wants` says."""

    def __init__(self, intake: WatchedIntake, wants: Callable[[bytes], bool]) -> None:
        self.intake, self.wants = intake, wants
        self.pieces: list[bytes] = []

    def enough(self) -> bool:
        piece = self.intake.read_nowait()
        if piece is None:
            return False
        self.pieces.append(piece)
        return self.wants(piece)

    async def follow(self) -> None:
        await self.intake.wait(self.enough)


CHUNKS = [b"%x\r\n%b\r\n" % (len(PART[:size]), PART[:size]) for size in (1, 300, 7000, 2)]
STREAMED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(CHUNKS) + b"0\r\n\r\n"
TOLD = b"".join(PART[:size] for size in (1, 300, 7000, 2))


@pytest.mark.parametrize("calm", BOTH)
@given(cuts=st.sets(st.integers(1, len(STREAMED) - 1), max_size=12))
async def test_however_a_body_is_cut_the_one_who_follows_it_gets_all_and_is_woken_once(
    cuts: set[int], calm: int
) -> None:
    """J4."""
    async with running(calm) as readers:
        with watched(readers, ReplyParser) as (intake, peer):
            follower = Follower(intake, lambda _piece: False)  # at the end it is woken nevertheless
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.follow)
                edges = [0, *sorted(cuts), len(STREAMED)]
                for start, end in itertools.pairwise(edges):
                    await wait_all_tasks_blocked()
                    peer.send(STREAMED[start:end])
            assert b"".join(follower.pieces) == TOLD
            assert intake.read_nowait() == b""
            intake.close()


@pytest.mark.parametrize("calm", BOTH)
async def test_a_fault_of_who_follows_a_reply_is_raised_to_him_and_the_reader_goes_on(calm: int) -> None:
    def fail(_piece: bytes) -> bool:
        raise ZeroDivisionError

    async with running(calm) as readers:
        with watched(readers, ReplyParser) as (bad, bad_peer), watched(readers, ReplyParser) as (good, good_peer):
            bad_peer.send(HEAD + b"one")
            await bad.wait(Follower(bad, fail).enough)
            with pytest.raises(ZeroDivisionError):
                bad.read_nowait()
            good_peer.send(HEAD + b"one")
            await good.read_head()
            assert good.read_nowait() == b"one"
            bad.close()
            good.close()


@pytest.mark.parametrize("calm", BOTH)
@pytest.mark.parametrize("wants", [True, False])
async def test_who_is_cancelled_by_what_he_follows_may_wait_again(wants: bool, calm: int) -> None:
    """A client that turns out to have gone while a piece is sent to it ends the task that waits for the next one."""
    async with running(calm) as readers:
        with watched(readers, ReplyParser) as (intake, peer):
            peer.send(HEAD)
            await intake.read_head()

            def cancel(_piece: bytes) -> bool:
                scope.cancel()
                return wants

            with trio.CancelScope() as scope:
                peer.send(b"one")
                follower = Follower(intake, cancel)
                await follower.follow()
            assert scope.cancelled_caught
            peer.send(b"two")
            await wait_all_tasks_blocked()
            assert follower.pieces == [b"one"]  # what comes now is not for one who has gone
            assert intake.read_nowait() == b"two"
            intake.close()


@pytest.mark.parametrize("calm", BOTH)
@pytest.mark.parametrize("wants", [True, False])
async def test_who_closes_a_connection_from_what_he_follows_is_woken_once(wants: bool, calm: int) -> None:
    async with running(calm) as readers:
        with watched(readers, ReplyParser) as (intake, peer):
            peer.send(HEAD + b"one")

            def close(_piece: bytes) -> bool:
                intake.close()
                return wants

            follower = Follower(intake, close)
            with trio.fail_after(5):
                await follower.follow()
            assert follower.pieces == [b"one"]
            with pytest.raises(httpx.ReadError, match="our side"):
                intake.read_nowait()


@pytest.mark.parametrize("calm", BOTH)
async def test_a_connection_that_is_closed_under_him_wakes_who_follows_it_and_asks_him_nothing(calm: int) -> None:
    async with running(calm) as readers:
        with watched(readers, ReplyParser) as (intake, _):
            asked: list[bool] = []

            def enough() -> bool:
                asked.append(True)
                return False

            async def follow() -> None:
                await intake.wait(enough)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                await wait_all_tasks_blocked()
                intake.close()
            assert asked == []


@pytest.mark.parametrize("calm", BOTH)
async def test_who_takes_nothing_of_what_he_follows_is_woken_once_no_more_is_read(calm: int) -> None:
    """C-3: what waits of a body is bounded."""
    async with running(calm) as readers:
        with watched(readers, ReplyParser) as (intake, peer):
            peer.send(LONG)
            await intake.read_head()
            peer.setblocking(False)

            async def fill() -> None:
                while intake.reply.held() <= HELD:
                    with suppress(BlockingIOError):
                        peer.send(PART)
                    await trio.lowlevel.checkpoint()
                peer.send(PART)

            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fill)
                    await intake.wait(lambda: False)
            held = intake.reply.held()
            assert HELD < held <= HELD + len(BUFFER)
            assert len(intake.read_nowait() or b"") > HELD - 100
            await intake.wait()
            assert intake.read_nowait(), "it goes on"
            intake.close()


async def test_one_reply_is_read_alone_and_by_the_reader_in_turns() -> None:
    async with running(0) as readers:
        with watched(readers, ReplyParser) as (intake, peer):
            peer.send(LONG)
            await intake.read_head()

            async def wait() -> None:
                await intake.wait()

            for number in range(6):
                readers.busy = number % 2
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait)
                    await wait_all_tasks_blocked()
                    with trio.fail_after(5):
                        peer.send(b"%d" % number)
                        while nursery.child_tasks:
                            await trio.lowlevel.checkpoint()
                assert intake.read_nowait() == b"%d" % number
            readers.busy = 0
            intake.close()
