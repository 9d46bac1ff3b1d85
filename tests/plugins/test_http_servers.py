"""Both servers of the HTTP frontend on real sockets, raw bytes in and out: one suite, so that either can serve."""

import gc
import gzip
import logging
import os
import random
import resource
import socket
import ssl
import struct
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
import trustme
from http_context import http_context
from mutations import mutated

from turnout import Ask, ByteCount, Chunk, Reply, Seconds, Secret
from turnout.testing._scripted_switch import ScriptedSwitch
from turnout_http import ClientLimits, Http, Settings
from turnout_http._addresses import bind, bound_address, parse_address
from turnout_http._answering import header_lines
from turnout_http._descriptors import Descriptors
from turnout_http._llhttp_again import LastHead
from turnout_http._llhttp_connection import Connection
from turnout_http._llhttp_requests import MISSES
from turnout_http._llhttp_shared import Shared
from turnout_http._servers import choose
from turnout_http._visit import HEAD as REMEMBERED
from turnout_http._visit import Receive, Scope, Send
from turnout_sockets import Readers

KEY = "k7-Qd2mX9vLw4TzR8"
HEAD = b"Host: 127.0.0.1\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"

SERVERS = ("hypercorn", "llhttp")


def post(body: bytes = b'{"model":"fast"}', *, more: bytes = b"", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"POST /v1/chat/completions HTTP/1.1\r\n" + HEAD + more + b"Content-Length: %d\r\n\r\n" % size + body


GET = b"GET /v1/models HTTP/1.1\r\n" + HEAD + b"\r\n"
STREAM = post(b'{"model":"fast","stream":true}')


def nothing_to_change(**_settings: object) -> None:
    raise AssertionError("this house has no settings")


@attrs.define
class House:
    """A frontend that is being served."""

    port: int
    switch: ScriptedSwitch
    addresses: list[str]
    change: Callable[..., None] = attrs.field(default=nothing_to_change)

    async def connect(self, source: str = "127.0.0.1") -> trio.SocketStream:
        sock = trio.socket.socket()
        try:
            await sock.bind((source, 0))
            await sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def talk(self, data: bytes, *, eof: bool = False) -> bytes:
        """Send, and read to the end of the connection."""
        async with await self.connect() as stream:
            await stream.send_all(data)
            if eof:
                await stream.send_eof()
            return await read_all(stream)

    async def settled(self) -> None:
        """Wait until no call is running."""
        with trio.fail_after(5):
            while self.switch.open:  # noqa: ASYNC110  # observed from outside
                await trio.sleep(0.005)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    pieces = []
    with trio.fail_after(20):
        try:
            while piece := await stream.receive_some():
                pieces.append(bytes(piece))
        except trio.BrokenResourceError:
            pieces.append(b"<reset>")
    return b"".join(pieces)


async def read_until(stream: trio.abc.ReceiveStream, mark: bytes) -> bytes:
    seen = b""
    with trio.fail_after(20):
        while mark not in seen:
            piece = await stream.receive_some()
            assert piece, f"the connection ended after {seen!r}"
            seen += piece
    return seen


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def dechunk(answer: bytes) -> bytes:
    """The body of a chunked answer; fails unless it ended properly."""
    rest, body = answer.partition(b"\r\n\r\n")[2], b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            assert rest == b"\r\n"
            return body
        body, rest = body + rest[:count], rest[count + 2 :]


Serve = Callable[..., Any]


@asynccontextmanager
async def open_house(
    server: str, switch: ScriptedSwitch | None = None, *, drain: float = 1.0, grace: float = 1.0, **settings: Any
) -> AsyncIterator[House]:
    """Serve a scripted switch and, at the end, drain and prove that everything came home."""
    switch = switch or ScriptedSwitch()
    limits = ClientLimits(**settings.pop("limits", {}))
    own = Settings(
        listen=settings.pop("listen", ("127.0.0.1:0",)),
        keys=settings.pop("keys", (Secret(KEY),)),
        server=settings.pop("server", server),
        limits=limits,
        drain_grace=Seconds(grace),
        **settings,
    )
    context = http_context(drain=drain)
    async with trio.open_nursery() as nursery, Http.open(own, context) as http:
        addresses = await nursery.start(partial(http.serve, switch))
        port = int(addresses[0].rpartition(":")[2])
        yield House(port, switch, list(addresses), lambda **new: http.reconfigure(attrs.evolve(own, **new)))
        switch.drain(drain)
    assert switch.open == 0


@pytest.fixture(params=SERVERS)
def serve(request: pytest.FixtureRequest) -> Serve:
    return partial(open_house, request.param)


async def test_port_zero_is_reported_as_what_it_became(serve: Serve) -> None:
    async with serve() as house:
        assert house.addresses == [f"http://127.0.0.1:{house.port}"]
        assert house.port > 0


async def test_a_connection_serves_one_request_after_another(serve: Serve) -> None:
    async with serve() as house, await house.connect() as stream:
        for _ in range(3):
            await stream.send_all(post())
            answer = await read_until(stream, b'"chat.completion"}')
            assert status(answer) == 200
            assert b"server:" not in answer.lower()
        await stream.send_all(GET)
        assert b'"fast"' in await read_until(stream, b'"list"')


async def test_a_stream_arrives_chunk_by_chunk_and_leaves_the_connection_usable(serve: Serve) -> None:
    async with serve() as house, await house.connect() as stream:
        for _ in range(2):
            await stream.send_all(STREAM)
            answer = await read_until(stream, b"0\r\n\r\n")
            assert dechunk(answer) == b'data: {"n":1}\n\ndata: [DONE]\n\n'


async def test_a_client_of_http_1_0_gets_its_answer_and_the_end(serve: Serve) -> None:
    async with serve() as house:
        answer = await house.talk(STREAM.replace(b"HTTP/1.1", b"HTTP/1.0"))

    assert answer.partition(b"\r\n\r\n")[2] == b'data: {"n":1}\n\ndata: [DONE]\n\n'


async def test_a_client_of_http_1_0_that_would_keep_its_connection_is_told_the_end(serve: Serve) -> None:
    """RFC 9112, 9.3."""
    wishing = MODELS.replace(b"HTTP/1.1", b"HTTP/1.0") + HEAD + b"Connection: keep-alive\r\n\r\n"
    async with serve() as house:
        answer = await house.talk(wishing)

    assert status(answer) == 200
    assert b"connection: close" in answer.lower()


async def test_head_has_no_body(serve: Serve) -> None:
    async with serve() as house, await house.connect() as stream:
        await stream.send_all(GET.replace(b"GET", b"HEAD"))
        assert (await read_until(stream, b"\r\n\r\n")).endswith(b"\r\n\r\n")
        await stream.send_all(GET)
        assert (await read_until(stream, b'"list"')).startswith(b"HTTP/1.1 200")


async def endless(_ask: Ask) -> AsyncGenerator[Chunk, None]:
    while True:
        yield Chunk(b"data: 1\n\n")
        await trio.sleep(0.01)


H1_REQUESTS = {
    "h2c upgrade with bad settings": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n",
    "clear-text h2 with a strange path": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    b"\x00\x00\x0b\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/\xff\x41\x03a.b",
    "clear-text h2 CONNECT": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    b"\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x02\x07CONNECT\x41\x03a.b",
}


@pytest.mark.parametrize("times", [30, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.parametrize("request_bytes", H1_REQUESTS.values(), ids=H1_REQUESTS.keys())
async def test_a_request_that_ends_a_plain_hypercorn_ends_only_its_connection(
    serve: Serve, request_bytes: bytes, times: int
) -> None:
    """A1, S50."""
    async with serve(ScriptedSwitch(on_stream=endless)) as house, await house.connect() as parallel:
        await parallel.send_all(STREAM)
        for _ in range(times):
            assert status(await house.talk(request_bytes)) in {400, 405, 501}
        await read_until(parallel, b"data: 1\n\n")
        await trio.aclose_forcefully(parallel)
        await house.settled()


async def test_a_bug_is_a_500_on_the_wire_and_the_connection_goes_on(serve: Serve) -> None:
    """A2."""

    async def fail(_ask: Ask) -> Reply:
        raise ExceptionGroup("canary-text", [MemoryError("canary-text")])

    async with serve(ScriptedSwitch(on_execute=fail)) as house, await house.connect() as stream:
        for _ in range(2):
            await stream.send_all(post())
            answer = await read_until(stream, b'"request_id":"req-')
            assert status(answer) == 500
            assert b"canary" not in answer


async def test_a_bug_in_mid_stream_is_told_in_band_and_the_body_ends_well_formed(serve: Serve) -> None:
    """A3."""

    async def break_off(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(b"data: 1\n\n")
        raise KeyError("canary-text")

    async with serve(ScriptedSwitch(on_stream=break_off)) as house, await house.connect() as stream:
        await stream.send_all(STREAM)
        body = dechunk(await read_until(stream, b"0\r\n\r\n"))

    assert b'"internal"' in body
    assert b"DONE" not in body
    assert b"canary" not in body


async def never(_ask: Ask) -> Reply:
    await trio.sleep_forever()
    raise AssertionError


def reset(stream: trio.SocketStream) -> None:
    """Make closing send a reset instead of an end of file."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_client_that_leaves_before_the_answer_cancels_the_call_at_once(serve: Serve, rudely: bool) -> None:
    """C-1."""
    switch = ScriptedSwitch(on_execute=never)
    async with serve(switch) as house:
        stream = await house.connect()
        await stream.send_all(post())
        await arrived(switch)
        if rudely:
            reset(stream)
        await stream.aclose()
        with trio.fail_after(1):
            await house.settled()

    assert switch.cancelled == 1


async def arrived(switch: ScriptedSwitch, calls: int = 1) -> None:
    with trio.fail_after(5):
        while switch.open < calls:  # noqa: ASYNC110  # observed from outside
            await trio.sleep(0.002)


async def test_many_clients_that_leave_in_mid_stream_leave_nothing_behind(serve: Serve) -> None:
    """C-2, in its short form."""
    switch = ScriptedSwitch(on_stream=endless)
    async with serve(switch) as house:
        for number in range(60):
            stream = await house.connect()
            await stream.send_all(STREAM)
            for _ in range(1 + number % 2):
                await read_until(stream, b"data: 1\n\n")
            if number % 3 == 0:
                reset(stream)
            await stream.aclose()
        await house.settled()
        assert status(await house.talk(post(more=b"Connection: close\r\n"))) == 200


async def test_a_silent_stream_whose_client_leaves_is_cancelled_at_its_next_event_or_soon(serve: Serve) -> None:
    """C-2, C-5: in mid-stream nothing can be asked; the half-close limit ends it."""

    async def silent(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(b"data: 1\n\n")
        await trio.sleep_forever()

    async with serve(ScriptedSwitch(on_stream=silent), limits={"half_close": 0.2}) as house:
        stream = await house.connect()
        await stream.send_all(STREAM)
        await read_until(stream, b"data: 1\n\n")
        await stream.aclose()
        await house.settled()


async def test_clients_that_stop_reading_hold_back_the_upstream_and_are_cut(serve: Serve) -> None:
    """C-3, in its short form: back-pressure, bounded memory, the write limit."""
    sent = 0

    async def flood(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        nonlocal sent
        while True:
            sent += 1
            yield Chunk(b"x" * 65536)

    clients = 100
    async with serve(
        ScriptedSwitch(on_stream=flood), limits={"write_stall": 0.5, "requests": 200, "per_key": 200}
    ) as house:
        streams = [await house.connect() for _ in range(clients)]
        for stream in streams:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            await stream.send_all(STREAM)
        with trio.fail_after(20):
            while len(house.switch.asks) < clients:  # noqa: ASYNC110  # observed from outside
                await trio.sleep(0.02)
        await house.settled()
        for stream in streams:
            await trio.aclose_forcefully(stream)

    assert sent < clients * 128  # 8 MiB each: what the kernels' socket buffers take, not what the stream would give


async def test_a_client_that_reads_a_large_answer_slowly_gets_all_of_it(serve: Serve) -> None:
    """C-4: the write limit is for those who take nothing, however long the whole answer takes."""
    size = 16 * 1024 * 1024

    async def large(_ask: Ask) -> Reply:
        return Reply(body=b"x" * size)

    switch = ScriptedSwitch(on_execute=large)
    async with serve(switch, limits={"write_stall": 1.0}) as house, await house.connect() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await stream.send_all(post(more=b"Connection: close\r\n"))
        got = 0
        while piece := await stream.receive_some(256 * 1024):
            got += len(piece)
            await trio.sleep(0.08 * len(piece) / (512 * 1024))

    assert got > size


async def test_a_client_that_takes_a_little_at_a_time_gets_all_of_it(serve: Serve) -> None:
    """C-4: the system's queue holds more than it takes within the limit, so that nothing can be written meanwhile."""
    size = 8 * 1024 * 1024

    async def large(_ask: Ask) -> Reply:
        return Reply(body=b"x" * size)

    switch = ScriptedSwitch(on_execute=large)
    async with serve(switch, limits={"write_stall": 0.6}) as house, await house.connect() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await stream.send_all(post(more=b"Connection: close\r\n"))
        begun = trio.current_time()
        got = 0
        while piece := await stream.receive_some(32 * 1024):
            got += len(piece)
            if trio.current_time() < begun + 2:
                await trio.sleep(0.05)

    assert got > size


async def test_a_client_that_only_half_closes_still_gets_its_answer(serve: Serve) -> None:
    """C-5."""

    async def slow(_ask: Ask) -> Reply:
        await trio.sleep(0.3)
        return Reply(body=b'{"late":true}')

    async with serve(ScriptedSwitch(on_execute=slow)) as house:
        answer = await house.talk(post(), eof=True)

    assert answer.endswith(b'{"late":true}')


async def test_a_client_of_http_1_0_that_half_closes_gets_its_answer_and_no_interim_one(serve: Serve) -> None:
    """C-5; RFC 9110, 15.2."""

    async def slow(_ask: Ask) -> Reply:
        await trio.sleep(0.3)
        return Reply(body=b'{"late":true}')

    async with serve(ScriptedSwitch(on_execute=slow)) as house:
        answer = await house.talk(post().replace(b"HTTP/1.1", b"HTTP/1.0"), eof=True)

    assert status(answer) == 200
    assert answer.endswith(b'{"late":true}')


async def test_a_half_closed_client_does_not_wait_for_ever(serve: Serve) -> None:
    """C-5."""
    switch = ScriptedSwitch(on_execute=never)
    async with serve(switch, limits={"half_close": 0.2}) as house:
        answer = await house.talk(post(), eof=True)

    assert b"200" not in answer
    assert switch.cancelled == 1


async def test_a_request_sent_ahead_of_its_turn_is_never_run(serve: Serve) -> None:
    """C-6."""

    async def slow(_ask: Ask) -> Reply:
        await trio.sleep(0.1)
        return Reply(body=b'{"first":true}')

    switch = ScriptedSwitch(on_execute=slow)
    async with serve(switch) as house:
        answer = await house.talk(post() + post() + GET)

    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.endswith(b'{"first":true}')
    assert len(switch.asks) == 1


async def test_a_client_that_pipelines_and_leaves_is_noticed(serve: Serve) -> None:
    """C-6."""
    switch = ScriptedSwitch(on_execute=never)
    async with serve(switch) as house:
        stream = await house.connect()
        await stream.send_all(post() + post())
        await arrived(switch)
        await trio.sleep(0.05)
        await stream.aclose()
        with trio.fail_after(1):
            await house.settled()

    assert len(switch.asks) == 1


CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

BAD_BODIES: dict[str, tuple[bytes, bool, int]] = {
    "shorter than announced, then the end": (post(b'{"model":', length=50), True, 400),
    "never sent": (post(b"", length=50), False, 408),
    "half sent": (post(b'{"model":', length=50), False, 408),
    "longer than allowed": (post(b"{}", length=2000), False, 413),
    "longer than allowed, in chunks": (CHUNKED + (b"190\r\n" + b" " * 400 + b"\r\n") * 4, False, 413),
    "longer than announced": (post(b'{"model":"fast"}', length=9), False, 400),
    "broken chunk": (CHUNKED + b"zz\r\n", False, 400),
}


@pytest.mark.parametrize(("data", "eof", "expected"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_body_that_is_not_what_it_says_never_becomes_a_call(
    serve: Serve, data: bytes, eof: bool, expected: int
) -> None:
    """C-7."""
    switch = ScriptedSwitch()
    async with serve(switch, limits={"body_idle": 0.3, "body_bytes": 1000}) as house:
        answer = await house.talk(data, eof=eof)

    assert status(answer) == expected
    assert not switch.asks


async def test_a_body_that_drips_is_cut(serve: Serve) -> None:
    """C-7."""
    async with serve(limits={"body_idle": 0.3}) as house, await house.connect() as stream:
        await stream.send_all(post(b"", length=5000))
        answers: list[bytes] = []
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                answers.append(await read_until(stream, b"\r\n\r\n"))
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            for _ in range(100):
                await stream.send_all(b" ")
                await trio.sleep(0.02)

    assert status(answers[0]) == 408


async def test_a_chunk_that_is_none_is_not_told_as_a_body_that_is_too_short() -> None:
    async with open_house("llhttp") as house:
        answer = await house.talk(CHUNKED + b"zz\r\n", eof=False)

    assert b"its framing is malformed" in answer


async def test_a_chunked_body_is_put_together(serve: Serve) -> None:
    switch = ScriptedSwitch()
    async with serve(switch) as house, await house.connect() as stream:
        await stream.send_all(CHUNKED + b'8\r\n{"model"\r\n')
        await trio.sleep(0.02)
        await stream.send_all(b'8\r\n:"fast"}\r\n0\r\n\r\n')
        await read_until(stream, b"chat.completion")

    assert switch.asks[0].payload == b'{"model":"fast"}'


# --- the same head again ---------------------------------------------------------------------------------------------


def asking(text: str) -> bytes:
    return b'{"model":"fast","user":"%b"}' % text.encode()


async def answered(stream: trio.SocketStream, request: bytes) -> bytes:
    await stream.send_all(request)
    return await read_until(stream, b"}")


async def test_each_request_with_the_same_head_is_served_with_its_own_body() -> None:
    bodies = [asking(text) for text in ("one", "two", "three", "o" * 90, "t" * 90, "one", "x" * 2000, "y" * 3000)]
    async with open_house("llhttp") as house, await house.connect() as stream:
        for body in bodies:
            assert status(await answered(stream, post(body))) == 200

    assert [ask.payload for ask in house.switch.asks] == bodies
    assert [ask.affinity for ask in house.switch.asks] == [body[24:-2].decode() for body in bodies]
    assert len({ask.id for ask in house.switch.asks}) == len(bodies)


OTHERS = {
    "another key": post().replace(KEY.encode(), KEY[:-1].encode() + b"9"),
    "another host": post().replace(b"127.0.0.1", b"127.0.0.2"),
    "another path": post().replace(b"/v1/chat/completions", b"/v1/chat/completionz"),
    "another method": post().replace(b"POST", b"HEAD"),
    "another version": post().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two lengths": post(more=b"Content-Length: 16\r\n"),
    "a length of no number": post().replace(b"Length: 16", b"Length: -6"),
    "a length with a sign": post().replace(b"Length: 16", b"Length: +6"),
    "a foreign origin": post(more=b"Origin: https://evil.example\r\n"),
    "a broken line": post().replace(b"\r\nAuth", b"\n\rAuth"),
    "an escape in a name": post().replace(b"Host:", b"Host :"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
async def test_a_later_request_is_judged_as_a_first_one_would_be(other: bytes) -> None:
    """S1, S5, S35, S36, S50: whatever the head before was."""
    async with open_house("llhttp") as house:
        async with await house.connect() as stream:
            await stream.send_all(other)
            first = status(await read_until(stream, b"\r\n"))
        await house.settled()
        served = len(house.switch.asks)
        async with await house.connect() as stream:
            for _ in range(2):
                assert status(await answered(stream, post())) == 200
            await stream.send_all(other)
            later = status(await read_until(stream, b"\r\n"))

    assert later == first
    assert len(house.switch.asks) == 2 + 2 * served


@pytest.mark.parametrize("behind", [b"G", GET, post()], ids=["a byte", "another request", "the same request"])
async def test_what_comes_behind_a_request_with_the_same_head_is_never_run(behind: bytes) -> None:
    """F4."""
    async with open_house("llhttp") as house, await house.connect() as stream:
        for _ in range(2):
            assert status(await answered(stream, post())) == 200
        await stream.send_all(post() + behind)
        with suppress(trio.BrokenResourceError):
            await read_all(stream)

    assert len(house.switch.asks) == 3


async def test_a_request_with_the_same_head_may_come_in_pieces() -> None:
    async with open_house("llhttp") as house, await house.connect() as stream:
        for cut in (0, 1, 40, len(post()) - 16, len(post()) - 1):
            await stream.send_all(post()[:cut])
            await trio.testing.wait_all_tasks_blocked(0.005)
            assert status(await answered(stream, post()[cut:])) == 200

    assert [ask.payload for ask in house.switch.asks] == [b'{"model":"fast"}'] * 5


async def test_the_same_head_within_another_request_begins_none() -> None:
    """S50."""
    async with open_house("llhttp") as house, await house.connect() as stream:
        for _ in range(2):
            assert status(await answered(stream, post())) == 200
        await stream.send_all(b"GET /v1/models HTTP/1.1\r\nX-Text: ")
        await trio.testing.wait_all_tasks_blocked(0.005)
        assert b'"list"' in await answered(stream, post())

    assert len(house.switch.asks) == 2


async def test_a_line_end_behind_a_request_does_not_move_the_end_of_its_head() -> None:
    """S50: RFC 9112, 2.2 has a server ignore it, and a body may begin with one as well."""
    body = b'\r\n{"model":"fast"}'
    async with open_house("llhttp") as house, await house.connect() as stream:
        assert status(await answered(stream, post(body) + b"\r\n")) == 200
        await stream.send_all(post(body) + b"GE")
        with suppress(trio.BrokenResourceError):
            assert status(await read_all(stream)) == 200

    assert [ask.payload for ask in house.switch.asks] == [body, body]


async def test_the_same_head_ahead_of_its_turn_is_never_run() -> None:
    """C-6."""
    go_on = trio.Event()

    async def wait(_ask: Ask) -> Reply:
        await go_on.wait()
        return Reply(body=b"{}")

    switch = ScriptedSwitch()
    async with open_house("llhttp", switch) as house, await house.connect() as stream:
        assert status(await answered(stream, post())) == 200
        switch.on_execute = wait
        await stream.send_all(post())
        await arrived(switch)
        await stream.send_all(post())
        await trio.testing.wait_all_tasks_blocked(0.005)
        go_on.set()
        assert (await read_all(stream)).count(b"HTTP/1.1 200") == 1

    assert len(switch.asks) == 2


async def test_the_same_head_keeps_no_connection_that_has_ended() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    here, there = socket.socketpair()
    here.setblocking(False)
    with here, Readers() as readers:
        shared = Shared(ClientLimits(), readers)
        client = trio.SocketStream(trio.socket.from_stdlib_socket(there))
        connection = Connection(app, here, ("127.0.0.1", 1), shared)
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(readers.run)
            nursery.start_soon(connection.run)
            assert status(await answered(client, post())) == 200
            shared.closing = True
            assert status(await answered(client, post())) == 200
            await client.send_all(post())
            await trio.testing.wait_all_tasks_blocked(0.005)
            assert connection.due < trio.current_time() + 2
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("alike", [1, 2])
async def test_heads_are_no_longer_remembered_for_a_client_that_never_repeats_one(alike: int) -> None:
    remembered: list[bool] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        remembered.append(REMEMBERED in scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    here, there = socket.socketpair()
    here.setblocking(False)
    with here, Readers() as readers:
        client = trio.SocketStream(trio.socket.from_stdlib_socket(there))
        connection = Connection(app, here, ("127.0.0.1", 1), Shared(ClientLimits(), readers))
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(readers.run)
            nursery.start_soon(connection.run)
            for number in range(2 * MISSES):
                more = b"X-Number: %d\r\n" % (number // alike)
                assert status(await answered(client, post(more=more))) == 200
            nursery.cancel_scope.cancel()

    assert remembered == [number < MISSES or alike == 2 for number in range(2 * MISSES)]


async def test_a_key_that_is_gone_is_refused_on_the_connection_that_was_let_in_with_it() -> None:
    """S4."""
    async with open_house("llhttp") as house, await house.connect() as stream:
        for _ in range(2):
            assert status(await answered(stream, post())) == 200
        house.change(keys=(Secret("another-key-0123456789"),))
        await stream.send_all(post())
        assert status(await read_all(stream)) == 401

    assert len(house.switch.asks) == 2


async def test_limits_that_change_hold_for_a_head_that_was_let_in_before() -> None:
    """C-7, C-12: of a body, and of calls in flight."""
    go_on = trio.Event()

    async def waits(_ask: Ask) -> Reply:
        await go_on.wait()
        return Reply(body=b"{}")

    switch = ScriptedSwitch()
    async with open_house("llhttp", switch) as house, await house.connect() as one, await house.connect() as other:
        for stream in (one, other):
            for _ in range(2):
                assert status(await answered(stream, post())) == 200
        switch.on_execute = waits
        house.change(limits=ClientLimits(body_bytes=ByteCount(5), per_key=1))
        assert status(await answered(other, post())) == 413
        house.change(limits=ClientLimits(per_key=1))
        await one.send_all(post())
        await arrived(switch)
        async with await house.connect() as third:
            assert status(await answered(third, post())) == 429
        go_on.set()
        assert status(await read_until(one, b"}")) == 200


async def test_a_host_that_is_served_no_more_is_refused_on_the_connection_that_used_it() -> None:
    """S35."""
    request = post().replace(b"127.0.0.1", b"turnout.example")
    async with open_house("llhttp", hosts=("turnout.example",)) as house, await house.connect() as stream:
        for _ in range(2):
            assert status(await answered(stream, request)) == 200
        house.change(hosts=())
        await stream.send_all(request)
        assert status(await read_all(stream)) == 421


def last_head(request: bytes, *headers: tuple[bytes, bytes]) -> LastHead | None:
    head, _, body = request.partition(b"\r\n\r\n")
    scope = {"headers": [(b"host", b"127.0.0.1"), (b"content-length", b"%d" % len(body)), *headers]}
    return LastHead.of(head + b"\r\n\r\n", len(body), scope)


def test_a_head_is_known_again_by_its_bytes_alone() -> None:
    last = last_head(post(b"x" * 20))
    assert last is not None
    buffer = bytearray(1000)

    def body(data: bytes) -> bytes | None:
        buffer[: len(data)] = data
        found = last.body(buffer, len(data))
        return None if found is None else bytes(found)

    assert body(post(b"x" * 20)) == b"x" * 20
    assert body(post(b"y" * 99)) == b"y" * 99
    assert last.scope()["headers"] == [(b"host", b"127.0.0.1"), (b"content-length", b"99")]
    assert body(post(b"z" * 21)[:-1]) is None, "the byte of the request before that is still in the buffer"
    assert body(post(b"z" * 21) + b"z") is None
    assert body(post(b"z" * 100)) is None
    assert body(post(b"z" * 9)) is None
    assert body(post(b"z" * 20, length=21)) is None
    assert body(post(b"z" * 100, length=101)) is None, "its last byte is on its way"
    assert body(post(b"", length=-6)) is None
    assert body(post(b"", length=-6)[:-6]) is None, "the end of the request before that is still in the buffer"
    assert body(post(b"")[:-4]) is None
    assert body(b"") is None
    assert body(post(b"x" * 20)) == b"x" * 20


@pytest.mark.parametrize(
    ("request_bytes", "headers"),
    [
        (GET, ()),
        (b"\r\n" + post(), ()),
        (post().replace(b"Content-Length: 16", b"Content-Length: 016"), ()),
        (post(more=b"Content-Length: 16\r\n"), ()),
        (post(), ((b"transfer-encoding", b"chunked"),)),
        (post(), ((b"expect", b"100-continue"),)),
        (post(), ((b"upgrade", b"websocket"),)),
    ],
)
def test_a_head_that_does_not_say_all_is_not_compared(
    request_bytes: bytes, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert last_head(request_bytes, *headers) is None


async def test_a_large_body_arrives_whole(serve: Serve) -> None:
    switch = ScriptedSwitch()
    body = b'{"model":"fast","text":"' + b"x" * 3_000_000 + b'"}'
    async with serve(switch) as house, await house.connect() as stream:
        await stream.send_all(post(body))
        await read_until(stream, b"chat.completion")

    assert switch.asks[0].payload == body


async def test_an_answer_reaches_a_client_whose_body_nobody_reads(serve: Serve) -> None:
    """S1: refused by its head; the rest of the body must not turn the answer into a reset."""
    async with serve() as house:
        request = post(b"x" * 2_000_000).replace(KEY.encode(), b"wrong-key-wrong-key")
        async with await house.connect() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(send_quietly, stream, request)
            answer = await read_all(stream)
            nursery.cancel_scope.cancel()

    assert status(answer) == 401
    assert not answer.endswith(b"<reset>")


RUDE_HEADERS = {
    "content-type": "text/html",
    "server": "upstream/1",
    "set-cookie": "a=b",
    "transfer-encoding": "chunked",
    "content-length": "1",
    "connection": "upgrade",
    "x-bad": "a\r\nx-split: 1",
    "x-good": "1",
}


@pytest.mark.parametrize(("request_bytes", "kind"), [(post(), b"application/json"), (STREAM, b"text/event-stream")])
async def test_the_head_of_an_answer_is_ours_whatever_the_upstream_sent(
    serve: Serve, request_bytes: bytes, kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S51, S53, B28: on the wire, where a server may have a shorter way for whole answers."""

    async def whole(_ask: Ask) -> Reply:
        return Reply(body=b'{"whole":true}', headers=RUDE_HEADERS)

    monkeypatch.setattr("turnout.testing._scripted_switch.EMPTY", RUDE_HEADERS)
    async with serve(ScriptedSwitch(on_execute=whole)) as house, await house.connect() as stream:
        await stream.send_all(request_bytes)
        head = (await read_until(stream, b"\r\n\r\n")).partition(b"\r\n\r\n")[0].lower()

    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    names = [name for name, _, _ in lines]
    found = {name: value.strip() for name, _, value in lines}
    assert len(names) == len(set(names))
    assert found[b"content-type"].startswith(kind)
    assert found[b"x-content-type-options"] == b"nosniff"
    assert found[b"x-good"] == b"1"
    assert len({b"content-length", b"transfer-encoding"} & set(names)) == 1
    assert not {b"server", b"set-cookie", b"x-bad", b"x-split"} & set(names)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """32 KiB of gzip that would be one byte more than the 32 MiB that a body may have."""
    return gzip.compress(b" " * (32 * 1024 * 1024 + 1))


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"br", b"identity, gzip", b"gzip, gzip"])
async def test_a_compressed_body_is_refused_and_never_unpacked(serve: Serve, bomb: bytes, coding: bytes) -> None:
    """C-8."""
    switch = ScriptedSwitch()
    async with serve(switch) as house:
        answer = await house.talk(post(bomb, more=b"Content-Encoding: " + coding + b"\r\n"))

    assert status(answer) == 415
    assert not switch.asks


GAMES = {
    "//v1/chat/completions": 404,
    "/v1//chat/completions": 404,
    "/./v1/chat/completions": 404,
    "/v1/x/../chat/completions": 404,
    "/healthz/..;/v1/chat/completions": 404,
    "/v1/chat%2fcompletions": 200,
    "/%76%31/chat/completions": 200,
    "/healthz%2f%2e%2e%2fmetrics": 404,
    "/V1/chat/completions": 404,
    "/v1/chat/completions.": 404,
    "/v1/chat/completions/": 404,
    "/v1/chat/completions%": 400,
    "/v1/chat/completions%zz": 400,
    "http://127.0.0.1/v1/chat/completions": 400,
    "v1/chat/completions": 400,
    "*": 400,
}


@pytest.mark.parametrize(("path", "expected"), GAMES.items())
async def test_a_path_with_another_spelling_is_judged_as_what_it_says_and_never_without_a_key(
    serve: Serve, path: str, expected: int
) -> None:
    """S5: no game with a path is another way in; one that is spelled with escapes is that page, for who has a key."""
    asked = post(more=b"Connection: close\r\n").replace(b"/v1/chat/completions", path.encode())
    switch = ScriptedSwitch()
    async with serve(switch) as house:
        with_key = await house.talk(asked)
        without = await house.talk(asked.replace(KEY.encode(), b"a-wrong-key-of-nobody"))

    assert status(with_key) == expected
    assert status(without) == (400 if expected == 400 else 401)
    assert len(switch.asks) == (expected == 200)


async def test_a_greedy_client_is_told_so_and_others_are_served_at_once(serve: Serve) -> None:
    """C-12, with the default limits: 64 of one key in flight, and 36 too many."""
    other = b"other-key-0123456789abcdef"
    go_on = trio.Event()

    async def waits(ask: Ask) -> Reply:
        if ask.model == "slow":
            await go_on.wait()
        return Reply(body=b"{}")

    answers: list[int] = []
    switch = ScriptedSwitch(on_execute=waits)
    async with serve(switch, keys=(Secret(KEY), Secret(other.decode()))) as house, trio.open_nursery() as nursery:

        async def greedy() -> None:
            answers.append(status(await house.talk(post(b'{"model":"slow"}', more=b"Connection: close\r\n"))))
            if len(answers) == 36:
                full.set()

        full = trio.Event()
        for _ in range(100):
            nursery.start_soon(greedy)
        with trio.fail_after(20):
            await full.wait()
        assert answers == [429] * 36
        for _ in range(3):
            asked = post(more=b"Connection: close\r\n").replace(KEY.encode(), other)
            assert status(await house.talk(asked)) == 200
        go_on.set()

    assert sorted(answers) == [200] * 64 + [429] * 36


async def send_quietly(stream: trio.SocketStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        return


async def test_a_body_is_asked_for_only_when_it_is_wanted(serve: Serve) -> None:
    """A7."""
    expecting = b"Expect: 100-continue\r\n"
    async with serve(limits={"body_bytes": 1000}) as house:
        too_large = await house.talk(post(b"", more=expecting, length=2000))
        async with await house.connect() as stream:
            await stream.send_all(post(b"", more=expecting, length=16))
            asked = await read_until(stream, b"\r\n\r\n")
            await stream.send_all(b'{"model":"fast"}')
            answer = await read_until(stream, b"chat.completion")

    assert status(too_large) == 413
    assert status(asked) == 100
    assert status(answer) == 200


async def test_a_client_of_http_1_0_is_never_told_to_continue(serve: Serve) -> None:
    """RFC 9110, 10.1.1: it would take that for the answer."""
    request = post(more=b"Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    async with serve() as house, await house.connect() as stream:
        head, _, body = request.partition(b"\r\n\r\n")
        await stream.send_all(head + b"\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        await stream.send_all(body)
        answer = await read_all(stream)

    assert status(answer) == 200
    assert answer.count(b"HTTP/1.1 ") == 1


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
MODELS = b"GET /v1/models HTTP/1.1\r\n"

SOUND_CHUNKS = b'10\r\n{"model":"fast"}\r\n0\r\n\r\n'

SMUGGLING: dict[str, tuple[bytes, set[int]]] = {
    "length and chunked": (
        b"POST /v1/chat/completions HTTP/1.1\r\n"
        + HEAD
        + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {400},
    ),
    "two lengths": (post(more=b"Content-Length: 5\r\n"), {400}),
    "two lengths that agree": (post(more=b"Content-Length: 16\r\n"), {400}),
    "list of lengths that agree": (post().replace(b"Length: 16", b"Length: 16, 16"), {400}),
    "signed length": (post(b"").replace(b"Length: 0", b"Length: +5"), {400}),
    "list of lengths": (post(b"").replace(b"Length: 0", b"Length: 0, 5"), {400}),
    "unknown coding": (CHUNKED.replace(b"chunked", b"xchunked"), {400, 501}),
    "chunked not last": (CHUNKED.replace(b"chunked", b"chunked, identity"), {400, 501}),
    "chunked behind another coding": (CHUNKED.replace(b"chunked", b"gzip, chunked") + SOUND_CHUNKS, {400, 501}),
    "chunked behind nothing": (CHUNKED.replace(b"chunked", b", chunked") + SOUND_CHUNKS, {400, 501}),
    "chunked in HTTP/1.0": (CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + SOUND_CHUNKS, {400}),
    "chunked twice": (CHUNKED.replace(b"chunked", b"chunked, chunked"), {400, 501}),
    "folded header": (MODELS + HEAD + b"X-A: 1\r\n b\r\n\r\n", {400}),
    "folded coding": (CHUNKED.replace(b" chunked", b"\r\n chunked"), {400}),
    "bare line feed": (MODELS + HEAD + b"X-A: 1\n\r\n", {400}),
    "bare line feeds only": ((MODELS + HEAD + b"\r\n").replace(b"\r\n", b"\n"), {400}),
    "bare carriage return": (MODELS + HEAD + b"X-A: 1\rX-B: 2\r\n\r\n", {400}),
    "space before colon": (MODELS + HEAD + b"X-A : 1\r\n\r\n", {400}),
    "space before length's colon": (post(b"").replace(b"Length:", b"Length :"), {400}),
    "nul in a value": (MODELS + HEAD + b"X-A: a\x00b\r\n\r\n", {400}),
    "control character in a value": (MODELS + HEAD + b"X-A: a\x01b\r\n\r\n", {400}),
    "delete in a value": (MODELS + HEAD + b"X-A: a\x7fb\r\n\r\n", {400}),
    "method in lower case": (MODELS.replace(b"GET", b"get") + HEAD + b"\r\n", {400, 405}),
    "nul in the path": (b"GET /v1/mo\x00dels HTTP/1.1\r\n" + HEAD + b"\r\n", {400}),
    "CONNECT": (b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n" + HEAD + b"\r\n", {400, 405, 501}),
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HEAD + b"\r\n", {400, 405, 501}),
    "HTTP/9.9": (b"GET /v1/models HTTP/9.9\r\n" + HEAD + b"\r\n", {400}),
    "HTTP/1.10": (b"GET /v1/models HTTP/1.10\r\n" + HEAD + b"\r\n", {400}),
    "HTTP/0.9": (b"GET /v1/models\r\n\r\n", {400}),
    "RTSP": (b"GET /v1/models RTSP/1.0\r\n" + HEAD + b"\r\n", {400}),
    "ICE": (b"SOURCE /v1/models ICE/1.0\r\n" + HEAD + b"\r\n", {400}),
    "two blanks before the target": (b"GET  /v1/models HTTP/1.1\r\n" + HEAD + b"\r\n", {400}),
    "two blanks behind the target": (b"GET /v1/models  HTTP/1.1\r\n" + HEAD + b"\r\n", {400}),
    "bare line feed before the request": (b"\n" + MODELS + HEAD + b"\r\n", {400}),
    "bare carriage return before the request": (b"\r\r\n" + MODELS + HEAD + b"\r\n", {400}),
    "h2c upgrade": (MODELS + HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", {400}),
    "websocket upgrade": (
        MODELS + HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        {400},
    ),
    "clear-text h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 501}),
    "absolute form": (b"GET http://127.0.0.1/v1/models HTTP/1.1\r\n" + HEAD + b"\r\n", {400}),
    "no host": (MODELS + b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n", {400}),
    "two hosts": (MODELS + b"Host: 127.0.0.1\r\n" + HEAD + b"\r\n", {400}),
    "chunk size with a sign": (CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk size in hex notation": (CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk size too large": (CHUNKED + b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n", {400, 408, 413}),
    "chunk longer than it says": (CHUNKED + b"1\r\n{}\r\n0\r\n\r\n", {400}),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
}


@pytest.mark.parametrize(("data", "expected"), SMUGGLING.values(), ids=SMUGGLING.keys())
async def test_a_request_with_two_readings_is_refused_and_what_follows_never_runs(
    serve: Serve, data: bytes, expected: set[int]
) -> None:
    """S50: refused, closed, and the bytes after it are no request."""
    switch = ScriptedSwitch()
    async with serve(switch, limits={"body_idle": 0.3}) as house:
        answer = await house.talk(data + SMUGGLED)

    assert status(answer) in expected
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not switch.asks


@pytest.mark.parametrize("line", [b"GET  /v1/models HTTP/1.1", b"GET /v1/models RTSP/1.0"])
async def test_a_request_line_with_two_readings_is_refused_in_pieces_too(serve: Serve, line: bytes) -> None:
    """S50."""
    async with serve() as house, await house.connect() as stream:
        for octet in line + b"\r\n":
            await stream.send_all(bytes([octet]))
            await trio.testing.wait_all_tasks_blocked()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(HEAD + b"\r\n")
        answer = await read_all(stream)

    assert status(answer) == 400


async def test_a_request_in_pieces_is_served(serve: Serve) -> None:
    async with serve() as house, await house.connect() as stream:
        for _ in range(2):
            for octet in post():
                await stream.send_all(bytes([octet]))
                await trio.testing.wait_all_tasks_blocked()
            assert status(await read_until(stream, b"chat.completion")) == 200


ODD_CHUNKS = {
    "space behind the size": b'10 \r\n{"model":"fast"}\r\n0\r\n\r\n',
    "carriage return in an extension": b'10;a\rb\r\n{"model":"fast"}\r\n0\r\n\r\n',
    "nul in an extension": b'10;\x00\r\n{"model":"fast"}\r\n0\r\n\r\n',
    "bare line feed behind a trailer": b'10\r\n{"model":"fast"}\r\n0\r\nX-A: a\n\n',
    "folded trailer": b'10\r\n{"model":"fast"}\r\n0\r\nX-A: a\r\n b\r\n\r\n',
}


@pytest.mark.parametrize("chunks", ODD_CHUNKS.values(), ids=ODD_CHUNKS.keys())
async def test_what_comes_late_behind_odd_chunks_is_never_a_request(serve: Serve, chunks: bytes) -> None:
    """S50: whoever reads such a body another way may still be sending it when we have answered."""
    async with serve() as house, await house.connect() as stream:
        await stream.send_all(CHUNKED + chunks)
        answer = await read_until(stream, b"\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            await stream.send_all(SMUGGLED)
        answer += await read_all(stream)

    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("begun", [b"0\r\nx: ", b"0\r\n" + b"y: z\r\n" * 900 + b"x: ", b"1;x="])
async def test_trailers_and_what_chunks_say_of_themselves_are_limited_as_a_head_is(serve: Serve, begun: bytes) -> None:
    """S50, A6: they are no body, so that no other limit counts them."""
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    async with serve() as house, await house.connect() as stream:
        await stream.send_all(chunked + b'10\r\n{"model":"fast"}\r\n' + begun)
        with trio.fail_after(10), suppress(trio.BrokenResourceError):
            for _ in range(8):
                await stream.send_all(b"x" * 8192)
                await trio.sleep(0.02)
            answer = await read_all(stream)
            assert status(answer) in {400, 431}
        assert not house.switch.asks


async def test_trailers_of_an_allowed_size_in_pieces_pass(serve: Serve) -> None:
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    async with serve() as house, await house.connect() as stream:
        await stream.send_all(chunked + b'10\r\n{"model":"fast"}\r\n0\r\n')
        for piece in (b"x: ", b"x" * 8000, b"x" * 2000, b"\r\n\r\n"):
            await stream.send_all(piece)
            await trio.sleep(0.02)
        assert status(await read_until(stream, b"\r\n\r\n")) == 200


async def test_a_coding_in_a_trailer_changes_nothing(serve: Serve) -> None:
    """S50: bytes after the body are never run."""
    switch = ScriptedSwitch()
    trailer = b'10\r\n{"model":"fast"}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n'
    async with serve(switch) as house:
        answer = await house.talk(CHUNKED + trailer + SMUGGLED)

    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(switch.asks) <= 1


@pytest.mark.parametrize(
    "lines", [b"X-A: " + b"a" * 20_000 + b"\r\n", b"X-A: a\r\n" * 101, b"X-" + b"a" * 20_000 + b": a\r\n"]
)
async def test_a_head_that_is_too_large_is_refused(serve: Serve, lines: bytes) -> None:
    """Section 4: 16 KiB, 100 fields."""
    async with serve() as house:
        assert status(await house.talk(MODELS + HEAD + lines + b"\r\n")) == 431


async def test_a_slow_head_and_an_idle_connection_are_cut(serve: Serve) -> None:
    """A6, in its short form."""
    async with serve(limits={"header_timeout": 0.2, "keep_alive": 0.3}) as house:
        began = trio.current_time()
        assert await house.talk(b"") == b""
        silent = trio.current_time()
        slow = await house.talk(b"GET /v1/mo")
        cut = trio.current_time()
        async with await house.connect() as stream:
            await stream.send_all(GET)
            rest = await read_all(stream)
        idle = trio.current_time()

    assert slow == b"" or status(slow) == 408
    assert b"200" in rest
    assert 0.15 < silent - began < 2
    assert 0.15 < cut - silent < 2
    assert 0.25 < idle - cut < 2


async def test_a_head_that_begins_before_the_connection_is_idle_has_no_longer_than_any_other(bare: Serve) -> None:
    """A6: a client that has the last byte of an answer may go on before we know that it was sent."""
    begun = trio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"fine"})
        await begun.wait()

    async with bare(app, header_timeout=0.5, keep_alive=60) as house, await house.connect() as stream:
        await stream.send_all(GET)
        await read_until(stream, b"fine")
        await stream.send_all(b"GET /v1/mo")
        await trio.testing.wait_all_tasks_blocked(0.02)
        begun.set()
        assert await read_all(stream) == b""


async def test_quick_clients_that_begin_a_head_and_stop_are_cut_by_the_limit_of_a_head(serve: Serve) -> None:
    """A6: of many at once, some begin before the server has noticed that it had answered."""
    ended: list[bytes] = []
    async with serve(limits={"header_timeout": 0.5, "keep_alive": 60}) as house:

        async def begin() -> None:
            async with await house.connect() as stream:
                await stream.send_all(GET)
                await read_until(stream, b'"list"')
                await stream.send_all(b"GET /v1/mo")
                ended.append(await read_all(stream))

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(begin)

    assert all(answer == b"" or status(answer) == 408 for answer in ended)


async def test_a_long_answer_outlives_the_limits_of_an_idle_connection(serve: Serve) -> None:
    async def slow(_ask: Ask) -> Reply:
        await trio.sleep(0.6)
        return Reply(body=b'{"late":true}')

    limits = {"header_timeout": 0.2, "keep_alive": 0.2, "body_idle": 0.2, "write_stall": 0.2}
    async with serve(ScriptedSwitch(on_execute=slow), limits=limits) as house:
        assert (await house.talk(post(more=b"Connection: close\r\n"))).endswith(b'{"late":true}')


LAST = GET.replace(b"Host", b"Connection: close\r\nHost")


async def test_connections_beyond_the_limit_are_closed_and_places_come_back(serve: Serve) -> None:
    """A4: while every connection that may be open is being served."""
    switch = ScriptedSwitch(on_execute=never)
    async with serve(switch, limits={"connections": 5}) as house:
        held = [await house.connect() for _ in range(5)]
        for stream in held:
            await stream.send_all(post())
        await arrived(switch, 5)
        assert b"HTTP" not in await house.talk(LAST)
        for stream in held:
            await stream.aclose()
        await house.settled()
        assert status(await house.talk(LAST)) == 200


async def test_a_socket_for_both_families_knows_addresses_of_ipv4_as_such(serve: Serve) -> None:
    """A4, S35: its own address is a good name, and loopback has no limit per address."""
    async with (
        serve(listen=("[::]:0",), insecure_lan=True, limits={"per_address": 1}) as house,
        await house.connect(),
        await trio.open_tcp_stream("127.0.0.2", house.port) as stream,
    ):
        await stream.send_all(LAST.replace(b"Host: 127.0.0.1", b"Host: 127.0.0.2"))
        answer = await read_all(stream)

    assert status(answer) == 200


async def test_who_only_connects_keeps_nobody_out(serve: Serve) -> None:
    """A4: the idle connection that would be cut first makes room, whatever it said; a call under way stays."""
    go_on = trio.Event()

    async def waits(_ask: Ask) -> Reply:
        await go_on.wait()
        return Reply(body=b'{"late":true}')

    switch = ScriptedSwitch(on_execute=waits)
    limits = {"connections": 4, "header_timeout": 50, "keep_alive": 60}
    async with serve(switch, limits=limits) as house, AsyncExitStack() as clients:

        async def connect() -> trio.SocketStream:
            return await clients.enter_async_context(await house.connect())

        busy, silent, half, kept = [await connect() for _ in range(4)]
        await busy.send_all(post())
        await arrived(switch)
        await half.send_all(b"GET /v1/mo")
        await kept.send_all(GET)
        await read_until(kept, b'"list"')
        for ended in (silent, half, kept):
            newcomer = await connect()
            await newcomer.send_all(GET)
            await read_until(newcomer, b'"list"')
            if ended is not kept:
                assert await read_all(ended) == b""
        go_on.set()
        assert b"late" in await read_until(busy, b"late")


async def test_health_is_answered_while_every_place_is_taken(serve: Serve) -> None:
    """A9."""
    switch = ScriptedSwitch(on_execute=never)
    async with serve(switch, limits={"requests": 2, "queue": 2}, drain=0.1) as house:
        streams = [await house.connect() for _ in range(4)]
        for stream in streams:
            await stream.send_all(post())
        await arrived(switch, 2)
        for path in (b"/healthz", b"/readyz"):
            answer = await house.talk(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert status(answer) == 200
            assert KEY.encode() not in answer
        for stream in streams:
            await trio.aclose_forcefully(stream)


async def test_three_times_the_load_leaves_four_fifths_of_the_answers_and_refuses_the_rest_at_once(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    """I6, in its short form: eight calls of 50 ms at a time are 160 a second, and 480 come."""
    places, takes, seconds = 8, 0.05, 0.5
    capacity = places / takes
    waits: dict[int, list[float]] = {200: [], 503: []}

    async def slow(_ask: Ask) -> Reply:
        await trio.sleep(takes)
        return Reply(body=b"{}")

    async def client(house: House) -> None:
        began = trio.current_time()
        answer = await house.talk(post(more=b"Connection: close\r\n"))
        assert status(answer) == 200 or b"retry-after: " in answer.lower()
        waits[status(answer)].append(trio.current_time() - began)

    limits = {"requests": places, "queue": places, "per_key": 512}
    async with serve(ScriptedSwitch(on_execute=slow), limits=limits) as house:
        async with trio.open_nursery() as nursery:
            for _ in range(int(3 * capacity * seconds)):
                nursery.start_soon(client, house)
                await trio.sleep(1 / (3 * capacity))
        began = trio.current_time()
        await client(house)
        after = trio.current_time() - began

    assert len(waits[200]) >= 0.8 * capacity * seconds
    assert len(waits[503]) >= capacity * seconds
    assert max(waits[503]) < takes
    assert max(waits[200]) < 4 * takes
    assert after < 2 * takes


async def test_draining_lets_calls_end_tells_the_rest_and_does_not_wait_for_who_does_not_read(serve: Serve) -> None:
    """H4, in its short form."""

    async def ends_soon(_ask: Ask) -> Reply:
        await trio.sleep(0.3)
        return Reply(body=b'{"done":true}')

    async def flood(ask: Ask) -> AsyncGenerator[Chunk, None]:
        while ask.model == "flood":
            yield Chunk(b"x" * 65536)
        while True:
            yield Chunk(b"data: 1\n\n")
            await trio.sleep(0.05)

    answers: dict[str, bytes] = {}

    async def ask(house: House, name: str, request: bytes) -> None:
        answers[name] = await house.talk(request)

    async with trio.open_nursery() as nursery:
        switch = ScriptedSwitch(on_execute=ends_soon, on_stream=flood)
        async with serve(switch, drain=0.6, grace=0.5) as house:
            idle = await house.connect()
            await idle.send_all(GET)
            await read_until(idle, b'"list"')
            deaf = [await house.connect() for _ in range(5)]
            for stream in deaf:
                await stream.send_all(post(b'{"model":"flood","stream":true}'))
            nursery.start_soon(ask, house, "short", post())
            nursery.start_soon(ask, house, "stream", STREAM)
            await arrived(switch, 7)
            began = trio.current_time()
            switch.drain(0.6)
            assert await idle.receive_some() == b""
            with pytest.raises(OSError, match="refused"):
                await house.connect()
            assert trio.current_time() - began < 0.3
        assert trio.current_time() - began < 2.5
        for stream in [*deaf, idle]:
            await trio.aclose_forcefully(stream)

    assert answers["short"].endswith(b'{"done":true}')
    assert b"connection: close" in answers["short"].lower()
    assert b'"draining"' in dechunk(answers["stream"])
    assert b"DONE" not in answers["stream"]


async def test_a_cancelled_frontend_leaves_at_once(serve: Serve) -> None:
    """H5: the frontend's part."""
    switch = ScriptedSwitch(on_stream=endless)
    with trio.move_on_after(0.5) as scope:
        async with serve(switch, drain=60) as house:
            stream = await house.connect()
            await stream.send_all(STREAM)
            await read_until(stream, b"data: 1\n\n")
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await trio.aclose_forcefully(stream)

    assert switch.open == 0


@attrs.frozen
class Tls:
    """A certificate for the server, and clients that trust it."""

    serve: Serve
    trusting: ssl.SSLContext

    async def connect(self, house: House) -> trio.SSLStream[trio.SocketStream]:
        stream = trio.SSLStream(await house.connect(), self.trusting, server_hostname="127.0.0.1")
        await stream.do_handshake()
        return stream


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return Tls(partial(open_house, "auto", tls_certificate=str(certificate), tls_key=str(key)), trusting)


async def test_over_tls_calls_and_streams_work_and_a_hello_in_clear_text_is_turned_away(tls: Tls) -> None:
    async with tls.serve() as house:
        assert house.addresses == [f"https://127.0.0.1:{house.port}"]
        assert b"HTTP" not in await house.talk(GET)
        async with await tls.connect(house) as stream:
            await stream.send_all(STREAM)
            assert dechunk(await read_until(stream, b"0\r\n\r\n")) == b'data: {"n":1}\n\ndata: [DONE]\n\n'
            await stream.send_all(GET)
            assert status(await read_until(stream, b'"list"')) == 200


async def test_over_tls_an_answer_reaches_a_client_whose_body_nobody_reads(tls: Tls) -> None:
    """S1: it is not lost in a reset."""
    refused = post(b"x" * 3_000_000).replace(KEY.encode(), b"a-wrong-key-of-somebody")
    async with tls.serve() as house:
        stream = await tls.connect(house)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(refused)
        answer = await read_all(stream)
        await trio.aclose_forcefully(stream)

    assert status(answer) == 401
    assert b"unauthorized" in answer


async def test_over_tls_the_end_of_an_answer_is_told_as_tls_tells_it(tls: Tls) -> None:
    """A client of HTTP/1.0 knows by it that a stream is whole; anybody can end a connection beneath."""
    async with tls.serve() as house:
        stream = await tls.connect(house)
        await stream.send_all(STREAM.replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await read_all(stream)
        await trio.aclose_forcefully(stream)

    assert answer.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "sent", [post(b'{"model":', length=50), STREAM, GET[:30]], ids=["in a body", "in an answer", "in a head"]
)
async def test_over_tls_a_client_that_is_cut_off_leaves_nothing_behind(tls: Tls, sent: bytes) -> None:
    """C-1, C-2, C-7: an end that TLS did not announce is the end."""
    switch = ScriptedSwitch(on_stream=endless)
    async with tls.serve(switch) as house:
        stream = await tls.connect(house)
        await stream.send_all(sent)
        if sent is STREAM:
            await read_until(stream, b"data: 1\n\n")
        await trio.aclose_forcefully(stream)
        await house.settled()

    assert len(switch.asks) == (sent is STREAM)


@pytest.mark.parametrize("rudely", [False, True])
async def test_over_tls_a_client_that_leaves_before_the_answer_cancels_the_call_at_once(tls: Tls, rudely: bool) -> None:
    """C-1: whether TLS announces the end or not."""
    switch = ScriptedSwitch(on_execute=never)
    async with tls.serve(switch) as house:
        stream = await tls.connect(house)
        await stream.send_all(post())
        await arrived(switch)
        if rudely:
            await trio.aclose_forcefully(stream)
        else:
            await stream.aclose()
        with trio.fail_after(2):
            await house.settled()

    assert switch.cancelled == 1


async def test_a_handshake_that_hangs_is_cut(tls: Tls, autojump_clock: trio.testing.MockClock) -> None:
    """A6, at the door."""
    async with tls.serve() as house:
        began = trio.current_time()
        assert await house.talk(b"\x16\x03\x01") == b""
        assert trio.current_time() - began < 20


@pytest.fixture(params=SERVERS)
def bare(request: pytest.FixtureRequest) -> Serve:
    """A server alone, with an ASGI application of the test's own: the seam itself."""

    @asynccontextmanager
    async def serving(app: Any, **limits: Any) -> AsyncIterator[House]:
        own = Settings(keys=(Secret(KEY),), server=request.param, limits=ClientLimits(**limits))
        log = logging.getLogger("turnout.frontends.http")
        server = choose(own, log, Descriptors(log))
        with bind(parse_address("127.0.0.1:0"), write_stall=30) as sock:
            port = bound_address(sock).port
            async with trio.open_nursery() as nursery:
                closing = trio.Event()
                await nursery.start(server.serve, app, [sock], closing)
                yield House(port, ScriptedSwitch(), [])
                closing.set()

    return serving


async def test_a_fault_of_a_connection_ends_only_that_one_and_is_logged_once_a_second(
    bare: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A1, S41: whatever it is that went wrong inside."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/bad":
            raise ValueError("canary-text")
        await send({"type": "http.response.body", "body": b"fine"})

    async with bare(app) as house, await house.connect() as good:
        for _ in range(5):
            assert b"fine" not in await house.talk(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
        await good.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status(await read_until(good, b"fine")) == 200

    assert caplog.text.count("a connection failed") == 1
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


async def test_a_large_answer_arrives_whole_and_in_order(bare: Serve) -> None:
    body = bytes(range(256)) * 4096

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        length = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    async with bare(app) as house:
        answer = await house.talk(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

    assert answer.partition(b"\r\n\r\n")[2] == body


async def test_a_header_that_would_split_the_answer_never_leaves(bare: Serve) -> None:
    """S51."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1\r\nx-b: 2")]})
        await send({"type": "http.response.body", "body": b""})

    async with bare(app) as house:
        assert b"x-b" not in await house.talk(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")


def test_a_header_that_would_be_read_as_two_is_refused_on_the_short_way_of_an_answer_too() -> None:
    """S51."""
    assert header_lines([(b"x-a", b"1"), (b"x-b", b"2")]) == b"x-a: 1\r\nx-b: 2\r\n"
    for split in ((b"x-a", b"1\r\nx-b: 2"), (b"x-a: 1\nx-b", b"2")):
        with pytest.raises(ValueError, match="line feed"):
            header_lines([split])


SEEDS = (GET, post(), STREAM, CHUNKED + b'10\r\n{"model":"fast"}\r\n0\r\n\r\n', *H1_REQUESTS.values())


@pytest.mark.parametrize("rounds", [300, pytest.param(10_000, marks=pytest.mark.long)])
async def test_mutated_requests_never_end_the_server_nor_show_its_inside(
    serve: Serve, rounds: int, caplog: pytest.LogCaptureFixture
) -> None:
    """J1: seeded, so that a failure can be repeated; the short form runs always."""
    draw = random.Random(20261123)  # noqa: S311  # mutations, not secrets
    limits = {"body_idle": 0.5, "half_close": 0.5}
    async with serve(limits=limits) as house:
        for _ in range(rounds):
            answer = await house.talk(mutated(draw.choice(SEEDS), SEEDS, draw), eof=True)
            assert b"Traceback" not in answer
            assert not answer.startswith(b"HTTP/1.1 5") or status(answer) == 501
        assert status(await house.talk(GET.replace(b"Host", b"Connection: close\r\nHost"))) == 200

    assert "a connection failed" not in caplog.text


async def test_a_client_that_has_gone_before_it_was_taken_is_no_fault(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A1: nobody is told of it, however many do so."""
    async with serve() as house:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", house.port)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert status(await house.talk(LAST)) == 200

    assert "failed" not in caplog.text


async def test_when_descriptors_run_out_accepting_pauses_and_goes_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A5, in its short form."""
    async with serve() as house:
        held = [await house.connect() for _ in range(4)]
        waiting = [socket.socket() for _ in range(8)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(sock.fileno() for sock in waiting) + 3, hard))
            for sock in waiting:
                sock.setblocking(True)
                sock.connect(("127.0.0.1", house.port))
            await trio.sleep(0.3)
            assert caplog.records, "descriptors ran out"
            for stream in held:
                await stream.aclose()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await trio.sleep(0.3)
        for sock in waiting:
            sock.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            await stream.send_all(GET)
            assert status(await read_until(stream, b'"list"')) == 200
            await stream.aclose()


async def test_when_others_have_taken_every_descriptor_accepting_goes_on_once_there_is_one(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A5: whoever holds them, upstreams or files, and however few of them are clients'."""
    async with serve() as house, AsyncExitStack() as clients:
        stream = await clients.enter_async_context(await house.connect())
        await stream.send_all(GET)
        await read_until(stream, b'"list"')
        sock = socket.socket()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken: list[int] = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (sock.fileno() + 50, hard))
            with suppress(OSError):
                while True:
                    taken.append(os.dup(sock.fileno()))
            sock.connect(("127.0.0.1", house.port))
            with trio.fail_after(10):
                while not caplog.records:  # noqa: ASYNC110  # observed from outside
                    await trio.sleep(0.01)
            await stream.send_all(GET)
            assert status(await read_until(stream, b'"list"')) == 200
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        sock.setblocking(False)
        waiting = await clients.enter_async_context(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
        await waiting.send_all(GET)
        assert status(await read_until(waiting, b'"list"')) == 200


async def test_a_slow_reader_gets_every_event_in_order(serve: Serve) -> None:
    """C-4, in its short form."""

    async def numbered(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        for number in range(60):
            yield Chunk(b"data: %06d %s\n\n" % (number, b"x" * 8192))

    async with serve(ScriptedSwitch(on_stream=numbered)) as house, await house.connect() as stream:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        await stream.send_all(STREAM)
        answer = b""
        with trio.fail_after(20):
            while not answer.endswith(b"0\r\n\r\n"):
                piece = await stream.receive_some(8192)
                assert piece, "cut off"
                answer += piece
                await trio.sleep(0.01)

    seen = [int(event[6:12]) for event in dechunk(answer).split(b"\n\n") if event]
    assert seen == list(range(60))


class NeverCalled:
    """An application without requests."""

    async def __call__(self, _scope: object, _receive: object, _send: object) -> None:
        raise AssertionError


async def test_a_fault_in_reading_ends_its_own_connection_and_no_other() -> None:
    """A1: one task reads for all of them."""
    with Readers() as readers:
        broken, sound = Shared(ClientLimits(), readers), Shared(ClientLimits(), readers)
        broken.view = memoryview(b"read only")  # a fault of ours
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers.run)
            for shared in (broken, sound, broken):
                here, there = socket.socketpair()
                here.setblocking(False)
                with here, there:
                    there.send(b"no request")
                    there.shutdown(socket.SHUT_WR)
                    connection = Connection(NeverCalled(), here, ("127.0.0.1", 1), shared)
                    if shared is broken:
                        with pytest.raises(TypeError):
                            await connection.run()
                    else:
                        await connection.run()
                        assert b"malformed request" in there.recv(10_000)
            nursery.cancel_scope.cancel()


async def test_a_body_that_nobody_reads_yet_is_not_taken_in_and_then_is_whole() -> None:
    """Memory is bounded by what the application reads (C-3)."""
    size = 4 * 1024 * 1024
    go_on, sent = trio.Event(), trio.Event()
    taken = 0

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal taken
        await go_on.wait()
        more = True
        while more:
            message = await receive()
            taken += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    here, there = socket.socketpair()
    here.setblocking(False)
    with here, Readers() as readers:
        client = trio.SocketStream(trio.socket.from_stdlib_socket(there))
        connection = Connection(app, here, ("127.0.0.1", 1), Shared(ClientLimits(), readers))

        async def upload() -> None:
            await client.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            sent.set()

        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(readers.run)
            nursery.start_soon(connection.run)
            nursery.start_soon(upload)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not sent.is_set()
            go_on.set()
            assert b" 204 " in await client.receive_some()
            assert (sent.is_set(), taken) == (True, size)
            nursery.cancel_scope.cancel()


async def test_a_connection_that_ended_leaves_nothing_for_the_cycle_collector() -> None:
    """It and its parser hold one another, and a process that serves collects rarely."""
    app = NeverCalled()
    gone = weakref.ref(app)
    here, there = socket.socketpair()
    there.close()
    gc.disable()
    try:
        with here, Readers() as readers:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(readers.run)
                await Connection(app, here, ("127.0.0.1", 1), Shared(ClientLimits(), readers)).run()
                nursery.cancel_scope.cancel()
        del app
        assert gone() is None
    finally:
        gc.enable()
