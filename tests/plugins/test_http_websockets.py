"""The Responses API over websockets, on real sockets, under both servers."""

import gc
import json
import random
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from http_context import http_context
from mutations import mutated
from sockets import Client, create, opening
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from turnout import Ask, ByteCount, Chunk, Seconds, Secret
from turnout.errors import CoolingDown, UnknownModel
from turnout.testing._scripted_switch import ScriptedSwitch
from turnout_http import ClientLimits, Http, Settings
from turnout_http._body import MOST_VALUES
from turnout_http._socket import AT_ONCE, Socket
from turnout_http._visit import Message

KEY = "k7-Qd2mX9vLw4TzR8"
OTHER_KEY = "p3-Bn6kYw1sVh5CgJ0"


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


async def two_deltas(ask: Ask) -> AsyncGenerator[Chunk, None]:
    """The events of a response, some of them in one chunk (shapes: see `turnout_openai._response_events`)."""
    response = {"id": f"resp-{ask.id}", "object": "response"}
    yield Chunk(event("response.created", response=response) + event("response.output_text.delta", delta="Hel"))
    await trio.lowlevel.checkpoint()
    yield Chunk(event("response.output_text.delta", delta="lo"))
    yield Chunk(b": a comment\n\n" + event("response.completed", response=response), payload=False)


def texts(events: list[Any]) -> str:
    return "".join(each.get("delta", "") for each in events)


@attrs.define
class House:
    """A frontend that is being served."""

    port: int
    switch: ScriptedSwitch
    http: Http
    settings: Settings

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[trio.SocketStream]:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            yield stream

    @asynccontextmanager
    async def client(self, **how: Any) -> AsyncIterator[Client]:
        async with self.raw() as stream:
            yield await Client(stream).open(opening(how.pop("key", KEY), **how))

    async def refused(self, request: bytes) -> bytes:
        """What a request gets that is not upgraded, to the end of its connection."""
        answer = b""
        async with self.raw() as stream:
            await stream.send_all(request)
            with trio.fail_after(10):
                try:
                    while piece := await stream.receive_some():
                        answer += piece
                except trio.BrokenResourceError:
                    answer += b"<reset>"
        return answer

    async def settled(self) -> None:
        """Wait until no call is running."""
        with trio.fail_after(10):
            while self.switch.open:  # noqa: ASYNC110  # observed from outside
                await trio.sleep(0.005)

    async def sessions_closed(self, count: int = 1) -> list[str]:
        with trio.fail_after(10):
            while len(self.switch.closed_sessions) < count:  # noqa: ASYNC110  # observed from outside
                await trio.sleep(0.005)
        return self.switch.closed_sessions


Serve = Callable[..., Any]


@pytest.fixture(params=["hypercorn", "llhttp"])
def serve(request: pytest.FixtureRequest) -> Serve:
    @asynccontextmanager
    async def serving(
        switch: ScriptedSwitch | None = None, *, patience: float = 60, **limits: Any
    ) -> AsyncIterator[House]:
        switch = switch or ScriptedSwitch(on_stream=two_deltas)
        own = Settings(
            listen=("127.0.0.1:0",),
            keys=(Secret(KEY), Secret(OTHER_KEY)),
            server=request.param,
            limits=ClientLimits(**limits),
            drain_grace=Seconds(1.0),
        )
        context = http_context(drain=1.0)
        with trio.fail_after(patience):
            async with trio.open_nursery() as nursery, Http.open(own, context) as http:
                addresses = await nursery.start(partial(http.serve, switch))
                yield House(int(addresses[0].rpartition(":")[2]), switch, http, own)
                switch.drain(1.0)
        assert switch.open == 0

    return serving


# What a client gets


async def test_a_turn_becomes_a_streaming_call_and_its_events_become_messages(serve: Serve) -> None:
    """C17.2: a session of its own, no affinity; C3.6: the session is closed at the end."""
    async with (
        serve() as house,
        house.client(more=b"OpenAI-Beta: responses_websockets=2026-02-04, other=v1\r\n") as one,
    ):
        await one.ask(create(store=False, input=[{"type": "message", "content": "ünï"}], prompt_cache_key="p"))
        events = await one.until("response.completed")
        await one.emit(CloseConnection(1000))
        assert await one.next() is None
        closed = await house.sessions_closed()

    assert [each["type"] for each in events] == [
        "response.created",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.completed",
    ]
    assert texts(events) == "Hello"
    assert one.closed == 1000
    (ask,) = house.switch.asks
    assert json.loads(ask.payload) == {
        "model": "fast",
        "store": False,
        "input": [{"type": "message", "content": "ünï"}],
        "prompt_cache_key": "p",
        "stream": True,
    }
    assert (ask.dialect, ask.websocket, ask.affinity, ask.pin) == ("openai.responses", True, None, None)
    assert dict(ask.headers) == {"openai-beta": "other=v1"}
    assert closed == [ask.session]


async def test_turns_of_one_socket_come_one_after_the_other_and_bear_their_lane(serve: Serve) -> None:
    running = most = 0

    async def counted(ask: Ask) -> AsyncGenerator[Chunk, None]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.02)
        async for chunk in two_deltas(ask):
            yield chunk
        running -= 1

    async with serve(ScriptedSwitch(on_stream=counted)) as house, house.client() as one:
        for lane in ("a", "b", "a"):
            await one.ask(create(stream_id=lane))
        lanes = [{each["stream_id"] for each in await one.until("response.completed")} for _ in range(3)]

    assert (lanes, most) == ([{"a"}, {"b"}, {"a"}], 1)
    assert len({ask.session for ask in house.switch.asks}) == 1
    assert len({ask.id for ask in house.switch.asks}) == 3


async def test_what_goes_on_from_a_response_goes_to_the_credential_that_made_it(serve: Serve) -> None:
    """C17.3: only there its state is. It may go on over another socket of the same client."""
    async with serve(ScriptedSwitch(on_stream=two_deltas, served_by="a")) as house:
        async with house.client() as one:
            await one.ask(create())
            made = (await one.next())["response"]["id"]
            await one.until("response.completed")
            house.switch.served_by = "b"
            await one.ask(create(previous_response_id=made))
            await one.until("response.completed")
            await one.ask(create(previous_response_id="resp-of-elsewhere"))
            told = await one.next()
        async with house.client() as other:
            await other.ask(create(previous_response_id=made))
            await other.until("response.completed")

    assert (told["status"], told["error"]["code"]) == (404, "previous_response_not_found")
    assert told["error"]["param"] == "previous_response_id"
    assert [ask.pin for ask in house.switch.asks] == [None, "a", "a"]
    assert len({ask.session for ask in house.switch.asks}) == 2


@pytest.mark.parametrize(
    ("message", "status", "code", "word"),
    [
        ("{", 400, "bad_request", "JSON"),
        ("[]", 400, "bad_request", "object"),
        ('{"type":"response.steer"}', 400, "bad_request", "type"),
        ('{"model":"fast"}', 400, "bad_request", "type"),
        ('{"type":"response.create","input":"hi"}', 400, "bad_request", "model"),
        ('{"type":"response.create","model":"a","model":"b"}', 400, "bad_request", "twice"),
        (create(background=True), 400, "bad_request", "background"),
        (create(generate=False), 400, "bad_request", "generate"),
        (create(generate={}), 400, "bad_request", "generate"),
        (create(stream_id=7), 400, "bad_request", "stream_id"),
        (create(model="nobody"), 404, "model_not_found", "nobody"),
        (create(model="cold"), 429, "model_cooldown", "cold"),
        (create(model="bug"), 500, "internal", "inside"),
        ("[" * 100_000, 400, "bad_request", "nested"),
    ],
)
async def test_what_fails_is_an_error_event_in_openais_form_and_the_socket_stays(
    serve: Serve, message: str, status: int, code: str, word: str
) -> None:
    async def fails(ask: Ask) -> AsyncGenerator[Chunk, None]:
        match ask.model:
            case "nobody":
                raise UnknownModel("unknown model nobody")
            case "cold":
                raise CoolingDown(model="cold", until=trio.current_time() + 9)
            case "bug":
                raise ZeroDivisionError("sk-canary-0123456789")
        async for chunk in two_deltas(ask):
            yield chunk

    async with serve(ScriptedSwitch(on_stream=fails)) as house, house.client() as one:
        await one.ask(message)
        told = await one.next()
        await one.ask(create())
        assert texts(await one.until("response.completed")) == "Hello"

    assert (told["type"], told["status"], told["error"]["code"]) == ("error", status, code)
    assert word in told["error"]["message"]
    assert "canary" not in str(told)
    assert ("headers" in told["error"]) == (status == 429)


async def test_a_message_of_too_many_values_is_refused_and_the_socket_stays(serve: Serve) -> None:
    """S55."""
    async with serve() as house, house.client() as one:
        await one.ask(create(input=[0] * MOST_VALUES))
        told = await one.next()
        await one.ask(create())
        await one.until("response.completed")

    assert (told["status"], told["error"]["code"]) == (413, "too_large")


async def test_the_decoded_message_is_gone_while_its_response_is_made(serve: Serve) -> None:
    """Design 15."""
    held = []

    async def counts(ask: Ask) -> AsyncGenerator[Chunk, None]:
        held.append(sum(type(each) is list and each[:1] == ["canary-in-it"] for each in gc.get_objects()))
        async for chunk in two_deltas(ask):
            yield chunk

    async with serve(ScriptedSwitch(on_stream=counts)) as house, house.client() as one:
        await one.ask(create(input=["canary-in-it", 1]))
        await one.until("response.completed")

    assert held == [0]


async def test_an_error_in_mid_stream_is_told_after_the_events_and_the_socket_stays(serve: Serve) -> None:
    async def breaks(ask: Ask) -> AsyncGenerator[Chunk, None]:
        yield Chunk(event("response.output_text.delta", delta="Hel"))
        if ask.model == "breaks":
            raise CoolingDown(model="breaks", until=trio.current_time())
        yield Chunk(event("response.output_text.delta", delta="lo") + event("response.completed"))

    async with serve(ScriptedSwitch(on_stream=breaks)) as house, house.client() as one:
        await one.ask(create(model="breaks", stream_id="x"))
        events = await one.until("error")
        await one.ask(create())
        assert texts(await one.until("response.completed")) == "Hello"

    assert texts(events) == "Hel"
    assert (events[-1]["stream_id"], events[-1]["status"]) == ("x", 429)


async def test_too_much_that_waits_is_refused_and_the_rest_is_served(serve: Serve) -> None:
    go = trio.Event()

    async def held(ask: Ask) -> AsyncGenerator[Chunk, None]:
        await go.wait()
        async for chunk in two_deltas(ask):
            yield chunk

    async with serve(ScriptedSwitch(on_stream=held)) as house, house.client() as one:
        for _ in range(20):
            await one.ask(create())
        refused = [await one.next() for _ in range(11)]
        go.set()
        for _ in range(9):
            await one.until("response.completed")

    assert {(each["status"], each["error"]["code"]) for each in refused} == {(429, "rate_limited")}


# Who may open one


@pytest.mark.parametrize(
    ("key", "more", "opened"),
    [
        (KEY, b"", True),
        ("", b"x-api-key: " + KEY.encode() + b"\r\n", True),
        ("", b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key." + KEY.encode() + b"\r\n", True),
        (KEY, b"Sec-WebSocket-Protocol: openai-insecure-api-key." + KEY.encode() + b"\r\n", True),
        ("", b"", False),
        ("wrong-wrong-wrong-key", b"", False),
        ("", b"Sec-WebSocket-Protocol: openai-insecure-api-key.wrong\r\n", False),
        ("", b"Sec-WebSocket-Protocol: openai-insecure-api-key.\r\n", False),
        ("", b"Sec-WebSocket-Protocol: " + KEY.encode() + b"\r\n", False),
        (KEY, b"Sec-WebSocket-Protocol: openai-insecure-api-key." + OTHER_KEY.encode() + b"\r\n", False),
    ],
)
async def test_one_judge_decides_about_every_carrier_of_a_key(
    serve: Serve, key: str, more: bytes, opened: bool
) -> None:
    """S1, S3: before anything else, and a conflict is 401; the key never comes back."""
    async with serve() as house:
        if opened:
            async with house.client(key=key, more=more) as one:
                await one.ask(create())
                await one.until("response.completed")
            assert KEY.encode() not in one.head
            assert (b"sec-websocket-protocol: realtime" in one.head) == (b"realtime" in more)
        else:
            answer = await house.refused(opening(key, more=more))
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "authentication_error"
            assert not house.switch.asks


async def test_a_key_in_the_query_opens_nothing(serve: Serve) -> None:
    """S3."""
    async with serve() as house:
        assert (await house.refused(opening("", path=f"/v1/responses?key={KEY}"))).startswith(b"HTTP/1.1 401 ")


async def test_a_key_that_is_gone_ends_the_socket_at_its_next_turn(serve: Serve) -> None:
    async with serve() as house, house.client() as one:
        await one.ask(create())
        await one.until("response.completed")
        house.http.reconfigure(attrs.evolve(house.settings, keys=(Secret(OTHER_KEY),)))
        await one.ask(create())
        told = await one.next()
        assert await one.next() is None

    assert (told["status"], one.closed, len(house.switch.asks)) == (401, 1008, 1)


@pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b"file://"])
async def test_a_page_of_another_origin_opens_none(serve: Serve, origin: bytes) -> None:
    """S36: whatever key it has."""
    async with serve() as house:
        answer = await house.refused(opening(KEY, more=b"Origin: " + origin + b"\r\n"))

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"access-control" not in answer.lower()


SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        opening(KEY).replace(b"websocket\r", b"h2c\r"),
        opening(KEY).replace(b"websocket\r", b"websocket, h2c\r"),
        opening(KEY).replace(b"Upgrade: websocket\r\n", b"Upgrade: websocket\r\nUpgrade: h2c\r\n"),
        opening(KEY).replace(b"Connection: Upgrade\r\n", b""),
        opening(KEY).replace(b"Connection: Upgrade", b"Connection: keep-alive"),
        opening(KEY).replace(b"Version: 13", b"Version: 8"),
        opening(KEY, nonce="short"),
        opening(KEY, nonce="A" * 24),
        opening(KEY).replace(b"Sec-WebSocket-Key", b"Sec-WebSocket-Ke"),
        opening(KEY).replace(
            b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key: "
        ),
        opening(KEY, more=b"Content-Length: 5\r\n"),
        opening(KEY, more=b"Content-Length: 0\r\n"),
        opening(KEY, more=b"Transfer-Encoding: chunked\r\n"),
        opening(KEY, more=b"Expect: 100-continue\r\n"),
        opening(KEY).replace(b"GET ", b"POST "),
        opening(KEY).replace(b"GET ", b"HEAD "),
        opening(KEY).replace(b"HTTP/1.1", b"HTTP/1.0"),
        opening(KEY, path="/v1/chat/completions"),
        opening(KEY, path="/v1/nothing"),
        opening(KEY, path="/healthz"),
        opening(KEY, path="/v1/responses/"),
    ],
)
async def test_an_opening_that_is_not_sound_is_refused_and_what_follows_never_runs(
    serve: Serve, request_: bytes
) -> None:
    """S50, A1: no upgrade to anything else, and bytes after it are no request."""
    async with serve() as house:
        answer = await house.refused(request_ + SMUGGLED)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_refused_opening_hides_no_request(serve: Serve) -> None:
    """S50: a proxy in front may take what follows for frames, or for a request; here it is neither."""
    async with serve() as house:
        answer = await house.refused(opening("wrong-wrong-wrong-key") + SMUGGLED)

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_the_page_is_no_page_for_a_plain_get(serve: Serve) -> None:
    async with serve() as house:
        plain = opening(KEY).replace(b"Upgrade: websocket\r\nConnection: Upgrade", b"Connection: close")
        assert (await house.refused(plain)).startswith(b"HTTP/1.1 405 ")


async def test_one_key_may_open_so_many_and_places_come_back(serve: Serve) -> None:
    async with serve(sockets_per_key=2) as house:
        async with house.client(), house.client():
            assert (await house.refused(opening(KEY))).startswith(b"HTTP/1.1 429 ")
            async with house.client(key=OTHER_KEY):
                pass
        await house.sessions_closed(3)
        async with house.client():
            pass


async def test_open_sockets_take_no_place_from_requests_and_their_turns_do(serve: Serve) -> None:
    go = trio.Event()

    async def held(ask: Ask) -> AsyncGenerator[Chunk, None]:
        await go.wait()
        async for chunk in two_deltas(ask):
            yield chunk

    async with (
        serve(ScriptedSwitch(on_stream=held), per_key=1) as house,
        house.client() as one,
        house.client() as two,
    ):
        await one.ask(create())
        while not house.switch.asks:  # noqa: ASYNC110  # observed from outside
            await trio.sleep(0.005)
        await two.ask(create())
        assert (await two.next())["error"]["code"] == "rate_limited"
        go.set()
        await one.until("response.completed")
        await two.ask(create())
        await two.until("response.completed")


# What ends one


async def flood(_ask: Ask) -> AsyncGenerator[Chunk, None]:
    while True:
        yield Chunk(event("response.output_text.delta", delta="x" * 65536))


async def silence(_ask: Ask) -> AsyncGenerator[Chunk, None]:
    yield Chunk(event("response.output_text.delta", delta="x"))
    await trio.sleep_forever()


async def nothing(_ask: Ask) -> AsyncGenerator[Chunk, None]:
    await trio.sleep_forever()
    yield Chunk(b"")


@pytest.mark.parametrize("how", ["closes", "leaves", "resets", "half-closes"])
@pytest.mark.parametrize("play", [nothing, silence, flood])
async def test_a_client_that_leaves_cancels_its_call_at_once_and_closes_its_session(
    serve: Serve, how: str, play: Callable[[Ask], AsyncGenerator[Chunk, None]]
) -> None:
    """C-1, C-2: before the first byte and in mid-stream, however it goes."""
    async with serve(ScriptedSwitch(on_stream=play)) as house, house.client() as one:
        await one.ask(create())
        with trio.fail_after(5):
            while not house.switch.open:  # noqa: ASYNC110  # observed from outside
                await trio.sleep(0.005)
        if play is not nothing:
            await one.next()
        began = trio.current_time()
        match how:
            case "closes":
                await one.emit(CloseConnection(1001))
                with trio.move_on_after(2):
                    while await one.next():
                        pass
            case "leaves":
                await one.stream.aclose()
            case "resets":
                one.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                await one.stream.aclose()
            case _:
                await one.stream.send_eof()
                with trio.move_on_after(2):
                    while await one.next():
                        pass
        await house.settled()
        took = trio.current_time() - began
        assert await house.sessions_closed() == [house.switch.asks[0].session]

    assert house.switch.cancelled == 1
    assert took < 5


async def test_many_sockets_that_break_off_leave_nothing_behind(serve: Serve) -> None:
    """C-2, in its short form."""
    async with serve(ScriptedSwitch(on_stream=flood), sockets_per_key=100) as house:
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(_break_off, house)
        await house.sessions_closed(100)
        await house.settled()
        house.switch.on_stream = two_deltas
        async with house.client() as one:
            await one.ask(create())
            await one.until("response.completed")

    assert len(set(house.switch.closed_sessions)) == 101


async def _break_off(house: House) -> None:
    async with house.client() as one:
        await one.ask(create())
        await one.next()


async def test_a_client_that_stops_reading_holds_back_the_upstream_and_is_cut(serve: Serve) -> None:
    """C-3."""
    sent = 0

    async def counted(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        nonlocal sent
        while True:
            sent += 1
            yield Chunk(event("response.output_text.delta", delta="x" * 65536))

    async with serve(ScriptedSwitch(on_stream=counted), write_stall=0.5) as house, house.client() as one:
        one.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await one.ask(create())
        await house.sessions_closed()
        await house.settled()

    assert 0 < sent < 200


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (BytesMessage(b"{}"), 1003),
        (TextMessage("x" * 3000), 1009),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0" + b"x" * 3000, 1009),
        (b"\x01\x80\0\0\0\0" + b"\0\x80\0\0\0\0" * 50 + b"\x80\xfe\x0b\xb8\0\0\0\0" + b"x" * 3000, 1009),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x81\x02{}", 1002),
        (b"\xc1\x82\0\0\0\0{}", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x89\xfe\x00\x80\0\0\0\0" + b"x" * 128, 1002),
        (b"\x88\x81\0\0\0\0x", 1002),
        (b"\x88\x80\0\0\0\0", 1005),
    ],
)
async def test_what_breaks_the_protocol_or_a_limit_is_closed_with_its_code(
    serve: Serve, frames: TextMessage | BytesMessage | bytes, code: int
) -> None:
    """A1: RFC 6455, 7.4.1; that connection only."""
    async with serve(body_bytes=ByteCount(2048)) as house, house.client() as well, house.client() as one:
        await one.stream.send_all(frames if isinstance(frames, bytes) else one.frames.send(frames))
        assert await one.next() is None
        await house.sessions_closed()
        await well.ask(create())
        await well.until("response.completed")

    assert one.closed == code


async def test_a_message_may_come_in_pieces_with_a_ping_between_them(serve: Serve) -> None:
    async with serve() as house, house.client() as one:
        whole = create(input="ü" * 50)
        for place, letter in enumerate(whole):
            await one.emit(TextMessage(letter, message_finished=place == len(whole) - 1))
            if place == 7:
                await one.emit(Ping(b"there?"))
        assert (await one.next())["type"] == "pong"
        await one.until("response.completed")


FLOODS = {
    "empty pieces": b"\0\x80\0\0\0\0",
    "pieces of a letter": b"\0\x81\0\0\0\0a",
    "pings": b"\x89\x80\0\0\0\0",
    "pongs": b"\x8a\x80\0\0\0\0",
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_of_frames_with_next_to_nothing_ends_its_socket_and_no_other(serve: Serve, kind: str) -> None:
    """S56, C-12."""
    async with serve() as house, house.client() as well, house.client() as floods:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_until_refused, floods, b"\x01\x81\0\0\0\0a" + FLOODS[kind] * 1200)
            while await floods.next():
                pass
        await well.ask(create())
        await well.until("response.completed")

    assert floods.closed == 1008


async def _send_until_refused(client: Client, frames: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await client.stream.send_all(frames)


async def test_messages_beyond_those_that_may_wait_use_up_the_patience(serve: Serve) -> None:
    """S56."""

    async def held(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        await trio.sleep_forever()
        yield Chunk(b"")

    async with serve(ScriptedSwitch(on_stream=held)) as house, house.client() as one:
        whole = create(input="x" * 200).encode()
        frame = b"\x81\xfe" + len(whole).to_bytes(2, "big") + b"\0\0\0\0" + whole
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_until_refused, one, frame * 1200)
            while await one.next():
                pass

    assert one.closed == 1008


async def test_others_get_their_turn_while_many_frames_are_parsed() -> None:
    """A8: 250 KiB of frames came at once, large enough to cost no patience."""
    count, turns, read, over = 2000, 0, 0, False
    frame = b"\x81\xfe\0\x80\0\0\0\0" + b"x" * 128
    came = [{"type": "http.request", "body": frame * count, "more_body": True}]

    async def receive() -> Message:
        return came.pop()

    async def send(_message: Message) -> None:
        raise AssertionError("nothing is to be sent")

    async def other() -> None:
        nonlocal turns
        while not over:
            await trio.lowlevel.checkpoint()
            turns += 1

    one = Socket(receive, send, largest=1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        while read < count:
            read += len(await one.read())
        over = True

    assert turns >= len(frame) * count // AT_ONCE


async def test_an_empty_message_is_refused_like_every_other_that_asks_for_nothing(serve: Serve) -> None:
    async with serve() as house, house.client() as one:
        await one.ask("")
        told = await one.next()
        await one.ask(create())
        await one.until("response.completed")

    assert (told["type"], told["status"], told["error"]["code"]) == ("error", 400, "bad_request")


async def test_a_message_that_never_ends_and_a_quiet_socket_differ(serve: Serve) -> None:
    async with (
        serve(socket_ping=Seconds(0.05), body_total=Seconds(0.2)) as house,
        house.client() as quiet,
        house.client() as drips,
    ):
        await drips.emit(TextMessage("{", message_finished=False))
        assert await drips.next() is None
        await trio.sleep(0.2)
        await quiet.ask(create())
        await quiet.until("response.completed")

    assert drips.closed == 1008
    assert quiet.pings >= 3


async def test_a_socket_that_is_old_ends_after_its_turn_and_says_so(serve: Serve) -> None:
    """The vendor's own limit and code (see `_responses_socket`)."""

    async def slow(ask: Ask) -> AsyncGenerator[Chunk, None]:
        async for chunk in two_deltas(ask):
            yield chunk
            await trio.sleep(0.1)

    async with (
        serve(ScriptedSwitch(on_stream=slow), socket_life=Seconds(0.15)) as house,
        house.client() as busy,
        house.client() as idle,
    ):
        await busy.ask(create())
        last = [await idle.next(), *(await busy.until("response.completed"))[-1:], await busy.next()]
        assert await idle.next() is await busy.next() is None

    assert last[1]["type"] == "response.completed"
    for told in (last[0], last[2]):
        assert (told["status"], told["error"]["code"]) == (400, "websocket_connection_limit_reached")
    assert (idle.closed, busy.closed) == (1001, 1001)


async def test_draining_closes_idle_sockets_at_once_and_busy_ones_after_their_turn(serve: Serve) -> None:
    async def slow(ask: Ask) -> AsyncGenerator[Chunk, None]:
        async for chunk in two_deltas(ask):
            yield chunk
            await trio.sleep(0.1)

    async with serve(ScriptedSwitch(on_stream=slow)) as house, house.client() as idle, house.client() as busy:
        await busy.ask(create())
        await busy.next()
        house.switch.drain(5.0)
        assert await idle.next() is None
        assert texts(await busy.until("response.completed")) == "Hello"
        assert await busy.next() is None
        await house.sessions_closed(2)

    assert (idle.closed, busy.closed) == (1001, 1001)


async def test_a_call_that_outlasts_the_drain_is_told_and_its_socket_closes(serve: Serve) -> None:
    async with serve(ScriptedSwitch(on_stream=silence)) as house, house.client() as one:
        await one.ask(create())
        await one.next()
        house.switch.drain(0.1)
        told = await one.next()
        assert await one.next() is None

    assert (told["error"]["code"], one.closed) == ("draining", 1001)


async def test_a_session_that_cannot_be_closed_is_logged_and_hurts_nobody(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_session: str) -> None:
        raise ZeroDivisionError("sk-canary-0123456789")

    async with serve(ScriptedSwitch(on_stream=two_deltas, on_close_session=fails)) as house:
        async with house.client() as one:
            await one.ask(create())
            await one.until("response.completed")
        await house.sessions_closed()
        async with house.client() as one:
            await one.ask(create())
            await one.until("response.completed")
        await house.sessions_closed(2)

    assert "ZeroDivisionError" in caplog.text
    assert "canary" not in caplog.text


# J1


def seeds() -> tuple[bytes, ...]:
    client = Client.__new__(Client)
    client.frames = attrs.fields(Client).frames.default.factory()  # type: ignore[union-attr]  # attrs' Factory
    frames = (TextMessage(create()), TextMessage(create(stream_id="a")), Ping(b"x"), BytesMessage(b"y"))
    sent = b"".join(bytes(client.frames.send(each)) for each in frames)
    return (opening(KEY) + sent, sent, opening(KEY), sent + bytes(client.frames.send(CloseConnection(1000))))


@pytest.mark.parametrize("rounds", [200, pytest.param(5_000, marks=pytest.mark.long)])
async def test_mutated_openings_and_frames_never_end_the_server_nor_show_its_inside(
    serve: Serve, rounds: int, caplog: pytest.LogCaptureFixture
) -> None:
    """J1: seeded, so that a failure can be repeated; the short form runs always."""
    draw = random.Random(20261126)  # noqa: S311  # mutations, not secrets
    limits = {"body_idle": 0.5, "half_close": 0.5}
    async with serve(patience=60 + rounds * 0.1, **limits) as house:
        for number in range(rounds):
            all_seeds = seeds()
            bad = mutated(all_seeds[number % 4], all_seeds, draw)
            async with house.raw() as stream:
                if number % 4 in {1, 3}:
                    await Client(stream).open(opening(KEY))
                answer = b""
                with trio.fail_after(10):
                    try:
                        await stream.send_all(bad)
                        await stream.send_eof()
                        while piece := await stream.receive_some():
                            answer += piece
                    except trio.BrokenResourceError:
                        pass
            assert b"Traceback" not in answer
            assert not answer.startswith(b"HTTP/1.1 5") or answer.startswith(b"HTTP/1.1 501")
        async with house.client() as one:
            await one.ask(create())
            await one.until("response.completed")

    assert "a connection failed" not in caplog.text
    assert " failed: " not in caplog.text
