"""One task that reads many sockets, and tasks that read for themselves while nobody else is under way."""

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest
import trio
from peers import OK, peer, read_request
from steps import Steps
from trio.testing import wait_all_tasks_blocked

from turnout import Credential, Seconds
from turnout_http import ClientLimits
from turnout_http._llhttp_connection import Connection
from turnout_http._llhttp_shared import Shared
from turnout_http._visit import Receive, Scope, Send
from turnout_sockets import AT_ONCE, CALM, Look, Readers, Selected
from turnout_sockets._readers import EPOLL
from turnout_transport import Pool
from turnout_transport._exchanges import BoundTransport
from turnout_wire.exchange import Posting

LOOKS = [pytest.param(EPOLL, id="epoll"), pytest.param(Selected, id="selectors")]


class Socket:
    """One that is read from, and what came."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.fd = near.fileno()
        self.came: list[bytes] = []

    def take(self) -> None:
        self.came.append(self.near.recv(100))


@contextmanager
def sockets(count: int) -> Iterator[list[Socket]]:
    pairs = [socket.socketpair() for _ in range(count)]
    try:
        for near, _ in pairs:
            near.setblocking(False)
        yield [Socket(*pair) for pair in pairs]
    finally:
        for near, far in pairs:
            near.close()
            far.close()


@asynccontextmanager
async def running(readers: Readers) -> AsyncIterator[trio.lowlevel.Task]:
    """The task that reads."""
    with readers, trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers.run)
            await wait_all_tasks_blocked()
            (task,) = nursery.child_tasks
            yield task
            nursery.cancel_scope.cancel()


# --- the reader ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", LOOKS)
async def test_what_comes_is_taken_until_the_socket_is_removed(look: Callable[[], Look]) -> None:
    readers = Readers(look)
    with sockets(2) as (one, other):
        async with running(readers):
            for each in (one, other):
                readers.add(each.fd, each.take)
            one.far.send(b"1")
            await wait_all_tasks_blocked()
            one.far.send(b"2")
            other.far.send(b"3")
            await wait_all_tasks_blocked()
            for _ in range(2):
                readers.remove(one.fd)
            one.far.send(b"4")
            other.far.close()
            await until(lambda: other.came[-1:] == [b""])
            readers.remove(other.fd)
        assert (one.came, other.came) == ([b"1", b"2"], [b"3", *[b""] * (len(other.came) - 1)])
        assert not readers.open


@pytest.mark.parametrize("look", LOOKS)
async def test_sockets_may_be_removed_and_taken_back_after_the_end_of_the_reader(look: Callable[[], Look]) -> None:
    readers = Readers(look)
    with sockets(2) as (one, other):
        async with running(readers):
            readers.add(one.fd, one.take)
            readers.add(other.fd, other.take)
            readers.pause(other.fd)
        readers.remove(one.fd)
        readers.resume(other.fd)


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not true():
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("look", LOOKS)
async def test_a_socket_that_is_paused_is_left_to_somebody_and_is_read_again_afterwards(
    look: Callable[[], Look],
) -> None:
    readers = Readers(look)
    with sockets(1) as (one,):
        async with running(readers) as task:
            readers.add(one.fd, one.take)
            readers.pause(one.fd)
            with Steps(task) as steps:
                one.far.send(b"mine")
                await trio.lowlevel.wait_readable(one.fd)
                assert one.near.recv(100) == b"mine"
                await wait_all_tasks_blocked()
                assert (steps.count, one.came) == (0, [])
                one.far.send(b"yours")
                readers.resume(one.fd)
                await wait_all_tasks_blocked()
            assert (steps.count, one.came) == (1, [b"yours"])
            readers.resume(one.fd)  # once more, for nothing


@pytest.mark.parametrize("look", LOOKS)
async def test_a_socket_that_is_removed_while_it_is_paused_is_not_read_again(look: Callable[[], Look]) -> None:
    readers = Readers(look)
    with sockets(1) as (one,):
        async with running(readers):
            readers.add(one.fd, one.take)
            readers.pause(one.fd)
            readers.remove(one.fd)
            readers.resume(one.fd)
            one.far.send(b"1")
            await wait_all_tasks_blocked()
            assert one.came == []
            readers.add(one.fd, one.take)
            await wait_all_tasks_blocked()
            assert one.came == [b"1"]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("what", ["pause", "remove"])
async def test_a_socket_that_somebody_else_has_taken_since_the_look_is_not_read(
    look: Callable[[], Look], what: str
) -> None:
    """Otherwise what he waits for would be gone, and he would wait for ever."""
    readers = Readers(look)
    with sockets(2) as (one, other):

        def take(its: Socket, rival: Socket) -> None:
            its.take()
            getattr(readers, what)(rival.fd)

        async with running(readers):
            readers.add(one.fd, lambda: take(one, other))
            readers.add(other.fd, lambda: take(other, one))
            one.far.send(b"1")
            other.far.send(b"2")
            await wait_all_tasks_blocked()
        assert sorted([one.came, other.came]) in ([[], [b"1"]], [[], [b"2"]])


async def test_others_get_their_turn_while_many_sockets_are_read() -> None:
    readers = Readers()
    count = 2 * AT_ONCE + 1
    with sockets(count) as many:
        async with running(readers) as task:
            for each in many:
                readers.add(each.fd, each.take)
                each.far.send(b"x")
            with Steps(task) as steps:
                await until(lambda: all(each.came for each in many))
    assert steps.count == 3


def tasks(root: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    """A task and all below it."""
    assert root is not None
    yield root
    for nursery in root.child_nurseries:
        for child in nursery.child_tasks:
            yield from tasks(child)


# --- who is alone ----------------------------------------------------------------------------------------------------


async def test_who_waits_is_alone_when_nothing_else_was_under_way_for_a_while() -> None:
    readers = Readers(calm=3)
    with sockets(1) as (one,), readers:
        readers.add(one.fd, one.take)
        assert [readers.alone(one.fd) for _ in range(5)] == [False, False, False, True, True]
        readers.busy = 1
        assert not readers.alone(one.fd)
        readers.busy = 0
        assert [readers.alone(one.fd) for _ in range(5)] == [False, False, False, True, True]
        readers.pause(one.fd)
        assert not readers.alone(one.fd)
        readers.resume(one.fd)
        assert readers.alone(one.fd)
        readers.remove(one.fd)
        assert not readers.alone(one.fd)


async def send_answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


async def test_a_client_that_is_alone_is_read_by_its_own_task() -> None:
    readers = Readers()
    shared = Shared(ClientLimits(), readers)
    steps: dict[int, list[int]] = {0: [], 1: []}
    with sockets(1) as (one,):
        one.far.setblocking(False)
        async with running(readers) as task, trio.open_nursery() as nursery:
            connection = Connection(send_answer, one.near, ("127.0.0.1", 1), shared)
            nursery.start_soon(connection.run)
            for busy in (0, 1, 0):
                readers.busy = busy  # with others
                for number in range(2 * CALM + 4):
                    with Steps(task) as counted:
                        for part in (REQUEST[:20], REQUEST[20:]) if number % 3 == 0 else (REQUEST,):
                            one.far.send(part)
                            await wait_all_tasks_blocked()
                    assert one.far.recv(1000).endswith(b"\r\n\r\nok")
                    if number > CALM + 1:
                        steps[busy].append(counted.count)
            assert (readers.busy, set(steps[0])) == (0, {0})
            assert min(steps[1]) >= 1
            one.far.close()
            with trio.fail_after(5):
                while nursery.child_tasks:
                    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_was_alone_and_leaves_during_its_request_is_noticed(reset: bool) -> None:
    """C-5: whoever is served is watched by the reader."""
    begun, left = trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/slow":
            await send_answer(scope, receive, send)
            return
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            left.set()

    readers = Readers(calm=0)
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        near, _ = listener.accept()
        near.setblocking(False)
        with near:
            async with running(readers), trio.open_nursery() as nursery:
                connection = Connection(
                    app, near, ("127.0.0.1", 1), Shared(ClientLimits(half_close=Seconds(0.01)), readers)
                )
                nursery.start_soon(connection.run)
                client.send(REQUEST)
                await wait_all_tasks_blocked()
                client.send(REQUEST.replace(b"/ ", b"/slow "))
                await begun.wait()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
                client.close()
                with trio.fail_after(5):
                    await left.wait()
            assert readers.busy == 0


async def test_an_idle_client_that_was_alone_is_closed_with_the_server() -> None:
    readers = Readers(calm=0)
    with sockets(1) as (one,):
        async with running(readers), trio.open_nursery() as nursery:
            connection = Connection(send_answer, one.near, ("127.0.0.1", 1), Shared(ClientLimits(), readers))
            nursery.start_soon(connection.run)
            one.far.send(REQUEST)
            await wait_all_tasks_blocked()
            connection.close_if_idle()


async def test_a_request_that_is_alone_reads_its_own_reply_and_the_idle_connection_is_watched() -> None:
    leave = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, stream, nursery)
            await leave.wait()
            nursery.cancel_scope.cancel()

    async def answer(stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        while await read_request(stream):
            await stream.send_all(OK)
        nursery.cancel_scope.cancel()

    async with peer(serve) as origin, Pool().opened() as pool:
        to = pool.for_credential(Credential(id="a", provider="p", origin=origin))
        assert isinstance(to, BoundTransport)
        readers = to.pool.terms.readers
        (reader,) = (task for task in tasks(trio.lowlevel.current_root_task()) if task.name.endswith("Readers.run"))
        again, steps = Posting(httpx.URL(origin + "/v1"), httpx.Headers()), []
        for _ in range(CALM + 10):
            with Steps(reader) as counted:
                await to.post(again, b"{}")
            steps.append(counted.count)
        assert (steps[2], set(steps[-8:]), readers.busy) == (1, {0}, 0)
        (numbers,) = pool.statistics()
        assert (numbers.open, numbers.idle, numbers.connects) == (1, 1, 1)
        leave.set()
        await until(lambda: pool.statistics()[0].open == 0)
