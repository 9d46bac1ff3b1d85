"""HTTP/2 for clients over TLS, on real sockets: what it serves, and what its floods come to."""

import random
import socket
import ssl
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import httpx
import pytest
import trio
import trio.testing
import trustme
from http_context import http_context
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from turnout import Ask, ByteCount, Chunk, Reply, Seconds, Secret
from turnout.errors import InvalidAsk
from turnout.testing._scripted_switch import ScriptedSwitch
from turnout_http import ClientLimits, Http, Settings
from turnout_http._patience import BURST, RATE, Patience

KEY = "k7-Qd2mX9vLw4TzR8"

JSON = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}

HEAD = [
    (":method", "POST"),
    (":path", "/v1/chat/completions"),
    (":scheme", "https"),
    (":authority", "127.0.0.1"),
    *JSON.items(),
]

LIST = [(":method", "GET"), (":path", "/v1/models"), *HEAD[2:]]

ASKED, STREAMED = b'{"model":"fast"}', b'{"model":"fast","stream":true}'


async def endless(_ask: Ask) -> AsyncGenerator[Chunk, None]:
    number = 0
    while True:
        number += 1
        yield Chunk(b"data: %d\n\n" % number)
        await trio.sleep(0.01)


async def flood(_ask: Ask) -> AsyncGenerator[Chunk, None]:
    while True:
        yield Chunk(b"data: " + b"x" * 8000 + b"\n\n")
        await trio.lowlevel.checkpoint()


@attrs.define
class Client:
    """A client that does as it is told, over one connection."""

    stream: trio.SSLStream[trio.SocketStream]
    state: h2.connection.H2Connection
    events: list[h2.events.Event] = attrs.field(factory=list)

    async def flush(self) -> None:
        await self.stream.send_all(self.state.data_to_send())

    async def ask(self, head: Sequence[tuple[str, str]] = HEAD, body: bytes = ASKED, *, end: bool = True) -> int:
        number = self.state.get_next_available_stream_id()
        self.state.send_headers(number, head, end_stream=end and not body)
        if body:
            self.state.send_data(number, body, end_stream=end)
        await self.flush()
        return number

    async def hear(self, kind: type, number: int | None = None) -> Any:
        """The next event of a kind; of a stream, where one is named. Acknowledges what comes."""
        with trio.fail_after(20):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and number in {None, getattr(event, "stream_id", None)}:
                        self.events.remove(event)
                        return event
                data = await self.stream.receive_some()
                if not data:
                    raise trio.EndOfChannel(f"the connection ended; heard of {self.events}")
                self.events += self.state.receive_data(data)
                for event in self.events:
                    if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                        self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        event.flow_controlled_length = 0
                await self.flush()

    async def answer(self, number: int) -> tuple[int, bytes]:
        """Status and body, to the end."""
        head = dict((await self.hear(h2.events.ResponseReceived, number)).headers)
        await self.hear(h2.events.StreamEnded, number)
        pieces = [e for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == number]
        return int(head[b":status"]), b"".join(piece.data for piece in pieces)

    async def farewell(self) -> h2.events.ConnectionTerminated:
        """What the server says when it will take nothing new; the connection goes on for what runs."""
        said: h2.events.ConnectionTerminated = await self.hear(h2.events.ConnectionTerminated)
        self.go_on()
        return said

    def go_on(self) -> None:
        """Let h2 go on after a goodbye of one side, which it takes for the end of everything."""
        self.state.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN

    async def goodbye(self) -> h2.errors.ErrorCodes:
        """Why the server ended the connection; fails when it does not."""
        code = (await self.hear(h2.events.ConnectionTerminated)).error_code
        await self.end()
        return h2.errors.ErrorCodes(code)

    async def end(self) -> None:
        """Wait for the end of the connection."""
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            while await self.stream.receive_some():
                pass


@attrs.define
class House:
    """A frontend that is being served, and those whom it trusts."""

    port: int
    switch: ScriptedSwitch
    trusting: ssl.SSLContext

    @asynccontextmanager
    async def client(self, **settings: int) -> AsyncIterator[Client]:
        self.trusting.set_alpn_protocols(["h2"])
        socket = await trio.open_tcp_stream("127.0.0.1", self.port)
        stream = trio.SSLStream(socket, self.trusting, server_hostname="127.0.0.1")
        try:
            await stream.do_handshake()
            state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
            state.initiate_connection()
            if settings:
                codes = h2.settings.SettingCodes
                state.update_settings({getattr(codes, name): value for name, value in settings.items()})
            client = Client(stream, state)
            await client.flush()
            yield client
        finally:
            await trio.aclose_forcefully(stream)

    async def serves(self) -> None:
        """Fail unless another client is served as ever."""
        async with self.client() as other:
            assert (await other.answer(await other.ask(LIST, b"")))[0] == 200

    async def settled(self, within: float = 5) -> None:
        """Wait until no call is running."""
        with trio.fail_after(within):
            while self.switch.open:  # noqa: ASYNC110  # observed from outside
                await trio.sleep(0.005)


@asynccontextmanager
async def open_house(
    folder: Path, switch: ScriptedSwitch | None = None, *, http2: bool = True, drain: float = 1.0, **limits: Any
) -> AsyncIterator[House]:
    """Serve a scripted switch and, at the end, drain and prove that everything came home."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    switch = switch or ScriptedSwitch()
    own = Settings(
        listen=("127.0.0.1:0",),
        keys=(Secret(KEY),),
        tls_certificate=str(folder / "cert.pem"),
        tls_key=str(folder / "key.pem"),
        http2=http2,
        drain_grace=Seconds(1.0),
        limits=ClientLimits(**limits),
    )
    context = http_context(drain=drain)
    async with trio.open_nursery() as nursery, Http.open(own, context) as http:
        addresses = await nursery.start(partial(http.serve, switch))
        yield House(int(addresses[0].rpartition(":")[2]), switch, trusting)
        switch.drain(drain)
    assert switch.open == 0


# What it serves


async def test_a_client_of_httpx_calls_and_streams_over_http2_many_at_once(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        url = f"https://127.0.0.1:{house.port}/v1/chat/completions"
        answers: list[str] = []
        async with httpx.AsyncClient(http2=True, http1=False, verify=house.trusting, headers=JSON) as client:

            async def call(body: bytes) -> None:
                answer = await client.post(url, content=body)
                answers.append(f"{answer.http_version} {answer.status_code} {answer.text[-14:]!r}")

            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    for _ in range(40):
                        nursery.start_soon(call, STREAMED)
    assert answers == ["HTTP/2 200 'data: [DONE]\\n\\n'"] * 40


@pytest.mark.parametrize(("more", "expected"), [((), 200), ((("x-long", "x" * 20_000),), 431)])
async def test_every_answer_over_http2_has_its_date(
    tmp_path: Path, more: tuple[tuple[str, str], ...], expected: int
) -> None:
    """RFC 9110, 6.6.1."""
    async with open_house(tmp_path) as house, house.client() as client:
        number = await client.ask([*LIST, *more], b"")
        head = dict((await client.hear(h2.events.ResponseReceived, number)).headers)

    assert int(head[b":status"]) == expected
    assert abs(parsedate_to_datetime(head[b"date"].decode()).timestamp() - time.time()) < 30


async def test_http2_is_offered_only_where_it_was_asked_for(tmp_path: Path) -> None:
    """S54."""
    async with (
        open_house(tmp_path, http2=False) as house,
        httpx.AsyncClient(http2=True, verify=house.trusting, headers=JSON) as client,
    ):
        answer = await client.get(f"https://127.0.0.1:{house.port}/v1/models")
    assert (answer.http_version, answer.status_code) == ("HTTP/1.1", 200)


def test_http2_without_tls_is_refused() -> None:
    with pytest.raises(InvalidAsk, match="over TLS alone"):
        Settings(keys=(Secret(KEY),), http2=True)


@pytest.mark.parametrize("size", [300_000, 3_000_000])
async def test_a_body_larger_than_every_window_arrives_whole(tmp_path: Path, size: int) -> None:
    async with open_house(tmp_path) as house, house.client() as client:
        rest = memoryview(b'{"model":"fast","x":"' + b"x" * size + b'"}')
        whole = bytes(rest)
        number = await client.ask(body=b"", end=False)
        with trio.fail_after(20):
            while rest:
                room = min(client.state.local_flow_control_window(number), client.state.max_outbound_frame_size)
                if not room:
                    await client.hear(h2.events.WindowUpdated)
                piece, rest = rest[:room], rest[room:]
                client.state.send_data(number, piece.tobytes(), end_stream=not rest)
                await client.flush()
        assert (await client.answer(number))[0] == 200
    assert house.switch.asks[0].payload == whole


@pytest.mark.parametrize(("window", "of_all"), [(1000, 0), (2**20, 0), (2**20, 2**20)])
async def test_a_large_answer_arrives_whole_whatever_the_windows(tmp_path: Path, window: int, of_all: int) -> None:
    """Also where none is ever shut, so that the client has no reason to say anything."""
    large = b'{"x":"' + b"y" * 500_000 + b'"}'

    async def answer(_ask: Ask) -> Reply:
        await trio.lowlevel.checkpoint()
        return Reply(body=large)

    async with (
        open_house(tmp_path, ScriptedSwitch(on_execute=answer)) as house,
        house.client(INITIAL_WINDOW_SIZE=window) as client,
    ):
        if of_all:
            client.state.increment_flow_control_window(of_all)
        assert await client.answer(await client.ask()) == (200, large)


async def test_windows_that_a_change_of_settings_opens_let_an_answer_go_on(tmp_path: Path) -> None:
    """RFC 9113, 6.9.2: such a change opens every stream's window, and no WINDOW_UPDATE says so."""
    async with open_house(tmp_path) as house, house.client(INITIAL_WINDOW_SIZE=0) as client:
        number = await client.ask()
        await client.hear(h2.events.ResponseReceived, number)
        await trio.testing.wait_all_tasks_blocked(0.02)  # the answer waits for room
        client.state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 100_000})
        await client.flush()
        await client.hear(h2.events.StreamEnded, number)


async def test_the_body_behind_an_early_answer_is_dropped_and_the_connection_goes_on(tmp_path: Path) -> None:
    """RFC 9113, 8.1: the rest is not wanted, and no error."""
    wrong = [(name, "Bearer a-wrong-key-of-somebody" if name == "authorization" else value) for name, value in HEAD]
    async with open_house(tmp_path) as house, house.client() as client:
        number = await client.ask(wrong, b"x" * 10_000, end=False)
        assert (await client.answer(number))[0] == 401
        reset = await client.hear(h2.events.StreamReset, number)
        assert reset.error_code == h2.errors.ErrorCodes.NO_ERROR
        # What was on its way before the client knew
        frame = struct.pack(">I", 1000)[1:] + b"\x00\x00" + struct.pack(">I", number) + b"x" * 1000
        await client.stream.send_all(frame)
        assert (await client.answer(await client.ask()))[0] == 200


async def sent(client: Client, number: int, pieces: Sequence[bytes], **how: int) -> None:
    """A body piece by piece, as the windows let it, and its end."""
    for piece in pieces:
        while client.state.local_flow_control_window(number) < len(piece) + 1 + how.get("pad_length", -1):
            await client.hear(h2.events.WindowUpdated)
        client.state.send_data(number, piece, end_stream=piece is pieces[-1], **how)
        await client.flush()


async def test_bodies_that_nobody_reads_leave_the_connection_its_window(tmp_path: Path) -> None:
    """S54: 2 MB in all, of which no page took a byte."""
    nowhere = [(name, "/v1/nowhere" if name == ":path" else value) for name, value in HEAD]
    async with open_house(tmp_path) as house, house.client() as client:
        for _ in range(40):
            number = client.state.get_next_available_stream_id()
            client.state.send_headers(number, nowhere)
            client.state.send_data(number, b"x" * 16_000)
            client.state.send_data(number, b"x" * 16_000)
            await sent(client, number, [b"x" * 16_000, b"x"])
            assert (await client.answer(number))[0] == 404


async def test_padding_of_a_body_gives_its_window_back(tmp_path: Path) -> None:
    """RFC 9113, 6.9.1: what pads a frame counts."""
    text = b'{"model":"fast","x":"' + b"x" * 8000 + b'"}'
    pieces = [text[at : at + 20] for at in range(0, len(text), 20)]
    async with open_house(tmp_path) as house, house.client() as client:
        number = await client.ask(body=b"", end=False)
        await sent(client, number, pieces, pad_length=255)
        assert (await client.answer(number))[0] == 200
    assert house.switch.asks[0].payload == text


async def test_an_answer_that_can_be_sent_to_nobody_any_more_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """C-2: a client says goodbye while answers are on their way to it."""
    async with open_house(tmp_path, ScriptedSwitch(on_stream=flood)) as house:
        for _ in range(20):
            async with house.client(INITIAL_WINDOW_SIZE=2**31 - 1) as client:
                client.state.increment_flow_control_window(2**30)
                for number in [await client.ask(body=STREAMED) for _ in range(3)]:
                    await client.hear(h2.events.DataReceived, number)
                client.state.close_connection()
                await client.flush()
                await client.stream.transport_stream.send_eof()
                with suppress(trio.BrokenResourceError):
                    while await client.stream.receive_some():
                        pass
        await house.settled()
        await house.serves()

    assert "failed" not in caplog.text


async def test_an_answer_that_would_close_its_connection_is_one_over_http2_too(tmp_path: Path) -> None:
    """RFC 9113, 8.2.2: with a `connection` header it would be malformed."""
    async with open_house(tmp_path, body_bytes=ByteCount(10)) as house, house.client() as client:
        number = await client.ask(body=ASKED)
        head = dict((await client.hear(h2.events.ResponseReceived, number)).headers)
        assert head[b":status"] == b"413"
        assert b"connection" not in head


async def test_a_client_that_expects_to_be_told_to_continue_is(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.client() as client:
        number = await client.ask([*HEAD, ("expect", "100-continue")], b"", end=False)
        await client.hear(h2.events.InformationalResponseReceived, number)
        client.state.send_data(number, ASKED, end_stream=True)
        await client.flush()
        assert (await client.answer(number))[0] == 200


async def test_head_has_no_body(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.client() as client:
        assert await client.answer(await client.ask([(":method", "HEAD"), (":path", "/healthz"), *HEAD[2:4]], b"")) == (
            200,
            b"",
        )


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ([*LIST, ("x-much", "y" * 20_000)], 431),
        ([*LIST, *((f"x-{number}", "y") for number in range(120))], 431),
        ([(":method", "get"), *LIST[1:]], 400),
        ([LIST[0], (":path", "/v1/mo dels"), *LIST[2:]], 400),
        ([LIST[0], (":path", "/v1/mod\u00e9ls"), *LIST[2:]], 400),
        ([LIST[0], (":path", "/v1/models%zz"), *LIST[2:]], 400),
        ([(":method", "TRACE"), *LIST[1:]], 405),
        ([(":method", "CONNECT"), (":authority", "127.0.0.1:80"), *JSON.items()], 405),
        ([*LIST, ("origin", "https://elsewhere.example")], 403),
        ([*LIST[:3], (":authority", "elsewhere.example"), *JSON.items()], 421),
        ([*LIST, ("content-type", "a"), ("content-type", "b")], 400),
    ],
)
async def test_a_head_that_is_refused_ends_only_its_stream(
    tmp_path: Path, head: list[tuple[str, str]], status: int
) -> None:
    """A1, S50, S5: over HTTP/2 a path outside ASCII and a CONNECT end a plain hypercorn."""
    async with open_house(tmp_path) as house, house.client() as client:
        other = await client.ask(body=STREAMED)
        client.state.config.validate_outbound_headers = False
        client.state.config.normalize_outbound_headers = False
        assert (await client.answer(await client.ask(head, b"")))[0] == status
        assert (await client.answer(other))[0] == 200
    assert len(house.switch.asks) == 1


# Who leaves


async def test_a_request_that_is_taken_back_is_cancelled_at_once_and_others_go_on(tmp_path: Path) -> None:
    """C-1."""
    async with open_house(tmp_path, ScriptedSwitch(on_stream=endless)) as house, house.client() as client:
        one, two = await client.ask(body=STREAMED), await client.ask(body=STREAMED)
        await client.hear(h2.events.DataReceived, one)
        client.state.reset_stream(one, h2.errors.ErrorCodes.CANCEL)
        await client.flush()
        with trio.fail_after(5):
            while house.switch.open > 1:
                await client.hear(h2.events.DataReceived, two)
        await client.hear(h2.events.DataReceived, two)


@pytest.mark.parametrize("how", ["reset", "goodbye", "end", "cut"])
async def test_a_client_that_leaves_ends_its_calls_although_nothing_is_sent(tmp_path: Path, how: str) -> None:
    """C-1, C-2: an upstream that is silent does not hide that nobody waits for it."""

    async def silent(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(b"data: 1\n\n")
        await trio.sleep_forever()

    async with open_house(tmp_path, ScriptedSwitch(on_stream=silent)) as house, house.client() as client:
        numbers = [await client.ask(body=STREAMED) for _ in range(5)]
        for number in numbers:
            await client.hear(h2.events.DataReceived, number)
        if how == "reset":
            for number in numbers:
                client.state.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
            await client.flush()
        elif how == "goodbye":
            client.state.close_connection(h2.errors.ErrorCodes.INTERNAL_ERROR)
            await client.flush()
        elif how == "end":
            await client.stream.transport_stream.send_eof()
        else:
            await trio.aclose_forcefully(client.stream)
        await house.settled()


@pytest.mark.parametrize("behind", [False, True])
async def test_a_client_that_will_ask_for_nothing_more_still_gets_what_it_asked_for(
    tmp_path: Path, behind: bool
) -> None:
    """RFC 9113, 6.8; what is in the same bytes behind the goodbye counts as ever."""
    go_on = trio.Event()

    async def waits(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(b"data: 1\n\n")
        await go_on.wait()
        yield Chunk(b"data: 2\n\n")

    async with open_house(tmp_path, ScriptedSwitch(on_stream=waits)) as house, house.client() as client:
        one, two = await client.ask(body=STREAMED), await client.ask(body=STREAMED[:-5], end=False)
        await client.hear(h2.events.DataReceived, one)
        client.state.close_connection()
        client.go_on()
        if not behind:
            await client.flush()
            await trio.testing.wait_all_tasks_blocked()
        client.state.ping(b"12345678")
        client.state.send_data(two, STREAMED[-5:], end_stream=True)
        await client.flush()
        await client.hear(h2.events.PingAckReceived)
        await client.hear(h2.events.DataReceived, two)
        go_on.set()
        assert (await client.answer(one))[1].endswith(b"data: 2\n\n")
        assert (await client.answer(two))[1].endswith(b"data: 2\n\n")
        assert await client.goodbye() == h2.errors.ErrorCodes.NO_ERROR
    assert house.switch.cancelled == 0


async def test_a_client_that_says_goodbye_with_nothing_asked_for_is_let_go(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.client() as client:
        await client.answer(await client.ask())
        client.state.close_connection()
        client.go_on()
        await client.flush()
        assert await client.goodbye() == h2.errors.ErrorCodes.NO_ERROR


async def test_a_stream_whose_window_stays_shut_is_cut_and_others_go_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """C-3: whatever the other streams of its connection take."""
    switch = ScriptedSwitch(on_stream=flood)
    async with (
        open_house(tmp_path, switch, write_stall=Seconds(5.0)) as house,
        house.client(INITIAL_WINDOW_SIZE=0) as client,
    ):
        shut, taken = await client.ask(body=STREAMED), await client.ask(body=STREAMED)
        began = trio.current_time()
        reset = None
        while reset is None and trio.current_time() < began + 20:
            client.state.increment_flow_control_window(8000, taken)
            await client.flush()
            await client.hear(h2.events.DataReceived, taken)
            reset = next((e for e in client.events if isinstance(e, h2.events.StreamReset)), None)
            await trio.sleep(0.1)
        assert reset is not None
        assert reset.stream_id == shut
        assert 5 <= trio.current_time() - began < 10
        assert switch.open == 1


async def test_a_client_that_takes_nothing_is_cut(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """C-3: with windows that are never shut it is the socket that fills, and what we hold is bounded."""
    made = 0

    async def counted(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        nonlocal made
        while True:
            made += 8000
            yield Chunk(b"data: " + b"x" * 7992 + b"\n\n")
            await trio.lowlevel.checkpoint()

    async with (
        open_house(tmp_path, ScriptedSwitch(on_stream=counted), write_stall=Seconds(5.0)) as house,
        house.client(INITIAL_WINDOW_SIZE=2**31 - 1) as client,
    ):
        client.state.increment_flow_control_window(2**31 - 1 - 65_535)
        for _ in range(3):
            await client.ask(body=STREAMED)
        await house.settled(within=30)
    assert made < 16 * 2**20, "more than the system's buffers take"


async def test_a_client_that_takes_a_little_at_a_time_gets_all_of_it(tmp_path: Path) -> None:
    """C-4: its windows are wide open, and what has been written before takes longer than the limit."""
    size = 8 * 2**20

    async def large(_ask: Ask) -> Reply:
        return Reply(body=b"x" * size)

    async with (
        open_house(tmp_path, ScriptedSwitch(on_execute=large), write_stall=Seconds(0.6)) as house,
        house.client(INITIAL_WINDOW_SIZE=2**31 - 1) as client,
    ):
        client.stream.transport_stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.state.increment_flow_control_window(2**31 - 1 - 65_535)
        number = await client.ask()
        begun = trio.current_time()
        got = 0
        while got < size:
            data = await client.stream.receive_some(32 * 1024)
            assert data, "cut off"
            for event in client.state.receive_data(data):
                assert not isinstance(event, h2.events.StreamReset), event
                if isinstance(event, h2.events.DataReceived):
                    assert event.stream_id == number
                    got += len(event.data)
            if trio.current_time() < begun + 2:
                await trio.sleep(0.05)
    assert got == size


async def test_an_idle_connection_ends_with_a_goodbye(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with open_house(tmp_path, keep_alive=Seconds(7.0)) as house, house.client() as client:
        await client.answer(await client.ask())
        began = trio.current_time()
        assert await client.goodbye() == h2.errors.ErrorCodes.NO_ERROR
        assert 6 < trio.current_time() - began < 9


async def test_a_drain_lets_streams_end_and_refuses_new_ones_so_that_they_may_be_sent_again(tmp_path: Path) -> None:
    go_on = trio.Event()

    async def waits(_ask: Ask) -> Reply:
        await go_on.wait()
        return Reply(body=b"{}")

    async with (
        open_house(tmp_path, ScriptedSwitch(on_execute=waits), drain=10.0) as house,
        house.client() as client,
    ):
        number = await client.ask()
        with trio.fail_after(5):
            while not house.switch.open:  # noqa: ASYNC110  # observed from outside
                await trio.sleep(0.005)
        house.switch.drain(10.0)
        said = await client.farewell()
        assert (said.error_code, said.last_stream_id) == (h2.errors.ErrorCodes.NO_ERROR, number)
        late = await client.ask()  # as if it had crossed the farewell; it may be sent again elsewhere (RFC 9113, 6.8)
        assert (await client.hear(h2.events.StreamReset, late)).error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        go_on.set()
        assert await client.answer(number) == (200, b"{}")
        last = await client.farewell()
        assert (last.error_code, last.last_stream_id) == (h2.errors.ErrorCodes.NO_ERROR, number)
        await client.end()


# Floods


async def rapid_reset(client: Client) -> None:
    number = await client.ask(body=STREAMED)
    client.state.reset_stream(number, h2.errors.ErrorCodes.CANCEL)


async def pings(client: Client) -> None:
    for _ in range(20):
        client.state.ping(b"01234567")
    await client.flush()


async def settings(client: Client) -> None:
    await client.stream.send_all((b"\x00\x00\x06\x04\x00" + b"\x00" * 4 + b"\x00\x04\x00\x00\xff\xff") * 20)


async def priorities(client: Client) -> None:
    await client.stream.send_all((b"\x00\x00\x05\x02\x00\x00\x00\x00\x05" + b"\x00\x00\x00\x03\x10") * 20)


async def continuations(client: Client) -> None:
    first = b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"
    await client.stream.send_all(first + b"\x00\x00\x00\x09\x00\x00\x00\x00\x01" * 100)


async def crumbs(client: Client) -> None:
    number = await client.ask(body=b"", end=False)
    frame = b"\x00\x00\x01\x00\x00" + struct.pack(">I", number) + b"{"
    for _ in range(100):
        await client.stream.send_all(frame * 20)


async def header_bomb(client: Client) -> None:
    """One field of 4,000 bytes in the table, named 4,000 times."""
    value = "b" * 4000
    block = client.state.encoder.encode([*LIST, ("x-bomb", value)])
    again = b"\xbe" * 4000
    frame = struct.pack(">I", len(block + again))[1:] + b"\x01\x05" + struct.pack(">I", 1)
    await client.stream.send_all(frame + block + again)


async def unknown_frames(client: Client) -> None:
    await client.stream.send_all(b"\x00\x00\x00\x77\x00\x00\x00\x00\x00" * 20)


async def too_many_streams(client: Client) -> None:
    for _ in range(120):
        number = client.state.get_next_available_stream_id()
        client.state.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.state.send_headers(number, HEAD, end_stream=False)
    await client.flush()


FLOODS = [
    *(rapid_reset, pings, settings, priorities, continuations, crumbs),
    *(header_bomb, unknown_frames, too_many_streams),
]


@pytest.mark.parametrize("send", FLOODS, ids=lambda send: send.__name__)
async def test_a_flood_ends_its_own_connection_and_nothing_else(tmp_path: Path, send: Any) -> None:
    """S54."""
    switch = ScriptedSwitch(on_stream=endless)
    async with open_house(tmp_path, switch) as house, house.client() as bystander:
        watched = await bystander.ask(body=STREAMED)
        await bystander.hear(h2.events.DataReceived, watched)
        async with house.client() as client:
            ended = trio.Event()

            async def listen() -> None:
                try:
                    while await client.stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
                ended.set()

            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(listen)
                    try:
                        for _ in range(1200):
                            if ended.is_set():
                                break
                            await send(client)
                        await ended.wait()
                    except trio.BrokenResourceError:
                        pass  # the server has closed already
        await house.serves()
        await bystander.hear(h2.events.DataReceived, watched)


async def test_windows_that_are_opened_byte_by_byte_use_up_the_patience(tmp_path: Path) -> None:
    """S54."""
    async with (
        open_house(tmp_path, ScriptedSwitch(on_stream=flood)) as house,
        house.client(INITIAL_WINDOW_SIZE=1) as client,
    ):
        number = await client.ask(body=STREAMED)
        with trio.fail_after(20):
            try:
                for _ in range(3000):
                    client.state.increment_flow_control_window(1, number)
                    await client.flush()
            except trio.BrokenResourceError:
                pass
            await house.settled()
        await house.serves()


async def test_a_client_that_takes_a_long_stream_keeps_our_patience(tmp_path: Path) -> None:
    """Two windows opened for each event, as some do, are no flood."""

    async def long(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        for number in range(1500):
            yield Chunk(b"data: %d\n\n" % number)
            await trio.lowlevel.checkpoint()
        yield Chunk(b"data: [DONE]\n\n")

    async with open_house(tmp_path, ScriptedSwitch(on_stream=long)) as house, house.client() as client:
        number = await client.ask(body=STREAMED)
        heard = b""
        while b"[DONE]" not in heard:
            heard += (await client.hear(h2.events.DataReceived, number)).data
            with suppress(h2.exceptions.StreamClosedError):  # its end is here already
                client.state.increment_flow_control_window(10, number)
                client.state.increment_flow_control_window(10)
                await client.flush()
        assert heard.count(b"data: ") == 1501


async def test_requests_that_end_with_an_empty_frame_keep_our_patience(tmp_path: Path) -> None:
    """As those of httpx do."""
    async with open_house(tmp_path) as house, house.client() as client:
        for _ in range(25):
            numbers = [
                await client.ask([(":method", "GET"), (":path", "/healthz"), *HEAD[2:4]], b"", end=False)
                for _ in range(50)
            ]
            for number in numbers:
                client.state.end_stream(number)
            await client.flush()
            for number in numbers:
                assert (await client.answer(number))[0] == 200


@pytest.mark.parametrize("seed", range(3))
async def test_no_bytes_end_more_than_their_connection(tmp_path: Path, seed: int) -> None:
    """J1, A1."""
    draw = random.Random(seed)  # noqa: S311  # no secret comes of it
    state = h2.connection.H2Connection()
    state.initiate_connection()
    for number in (1, 3):
        state.send_headers(number, HEAD)
        state.send_data(number, STREAMED, end_stream=True)
    state.ping(b"01234567")
    state.reset_stream(3)
    sound = state.data_to_send()
    async with open_house(tmp_path) as house:
        house.trusting.set_alpn_protocols(["h2"])
        for _ in range(100):
            socket = await trio.open_tcp_stream("127.0.0.1", house.port)
            stream = trio.SSLStream(socket, house.trusting, server_hostname="127.0.0.1")
            with trio.move_on_after(0.05):
                try:
                    await stream.send_all(mutated(sound, [sound], draw))
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
            await trio.aclose_forcefully(stream)
        await house.serves()


# Patience


def test_patience_ends_with_one_more_than_it_holds_and_comes_back() -> None:
    """S54."""
    patience = Patience()
    assert not patience.is_over(5.0)
    patience.spend(int(BURST))
    assert not patience.is_over(5.0)
    patience.spend(1)
    assert patience.is_over(5.0)
    assert not patience.is_over(5.0 + 2 / RATE)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.floats(0, 10))))
def test_patience_bears_a_burst_what_was_earned_and_what_comes_back(steps: list[tuple[int, int, float]]) -> None:
    """S54: and no more, whatever the order."""
    patience, now, spent_in_all, borne = Patience(), 0.0, 0, BURST
    assert not patience.is_over(now)
    for spent, earned, waited in steps:
        patience.spend(spent)
        patience.earn(earned)
        now, spent_in_all, borne = now + waited, spent_in_all + spent, borne + earned + RATE * waited
        if patience.is_over(now):
            assert spent_in_all > BURST
    patience.spend(int(borne) + 1)
    assert patience.is_over(now)
