"""The transport `httpx` over HTTP/2, where many calls share a connection, against an upstream made of h2."""

import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import httpcore
import httpx
import pytest
import trio
import trio.testing
import trustme
from hypothesis import given
from hypothesis import strategies as st
from peers import body_of

from turnout import Credential
from turnout_sockets import Farewell, Frames
from turnout_transport import Httpx, HttpxSettings, RawStream
from turnout_transport._dial import Opener
from turnout_transport._http2 import Connection
from turnout_transport._sockets import open_socket

OK = [(":status", "200")]


@attrs.define
class Peer:
    """One connection of the upstream; `heard` is everything that came on any."""

    machine: h2.connection.H2Connection
    tls: trio.SSLStream[trio.SocketStream]
    heard: list[h2.events.Event]

    async def flush(self) -> None:
        await self.tls.send_all(self.machine.data_to_send())

    def reply(self, stream: int, body: bytes = b"ok") -> None:
        self.machine.send_headers(stream, OK)
        self.machine.send_data(stream, body, end_stream=True)

    async def say_goodbye(self, last: int) -> None:
        """GOAWAY, which h2 would take for the end of everything."""
        await self.flush()
        await self.tls.send_all(goodbye(last))


def goodbye(last: int, code: int = 0) -> bytes:
    return b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + code.to_bytes(4, "big")


React = Callable[[Peer, h2.events.Event], Awaitable[None]]


@attrs.define
class House:
    """A transport, an origin that speaks HTTP/2, and what that heard."""

    origin: str
    transport: httpx.AsyncBaseTransport
    heard: list[h2.events.Event]
    connections: list[trio.SocketStream]

    def request(self, path: str = "/", body: bytes = b"{}") -> httpx.Request:
        return httpx.Request("POST", self.origin + path, content=body)

    async def call(self, path: str = "/", body: bytes = b"{}") -> bytes:
        response = await self.transport.handle_async_request(self.request(path, body))
        try:
            return await response.aread()
        finally:
            await response.aclose()

    async def wait_heard(self, kind: type[h2.events.Event], count: int = 1) -> list[h2.events.Event]:
        with trio.fail_after(10):
            while len(found := [each for each in self.heard if isinstance(each, kind)]) < count:  # noqa: ASYNC110
                await trio.sleep(0.005)
        return found


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def open_house(authority: trustme.CA, tmp_path: Path) -> OpenHouse:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])

    @asynccontextmanager
    async def opened(
        react: React, window: int = 65535, streams: int = 100, open_stream: Opener = open_socket
    ) -> AsyncIterator[House]:
        heard: list[h2.events.Event] = []
        connections: list[trio.SocketStream] = []

        async def serve(stream: trio.SocketStream) -> None:
            connections.append(stream)
            tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            machine.local_settings = h2.settings.Settings(
                client=False,
                initial_values={
                    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window,
                    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: streams,
                },
            )
            machine.initiate_connection()
            peer = Peer(machine, tls, heard)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await peer.flush()
                while data := await tls.receive_some():
                    for event in machine.receive_data(data):
                        heard.append(event)
                        await react(peer, event)
                    await peer.flush()

        transport = Httpx(HttpxSettings(ca_file=str(tmp_path / "ca.pem")), open_stream=open_stream)
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            origin = f"https://localhost:{listeners[0].socket.getsockname()[1]}"
            bound = transport.for_credential(Credential(id="a", provider="p", origin=origin))
            yield House(origin, bound, heard, connections)
            await transport.aclose()
            nursery.cancel_scope.cancel()

    return opened


def path_of(event: h2.events.RequestReceived) -> str:
    return dict(event.headers)[b":path"].decode()


async def by_path(peer: Peer, event: h2.events.Event) -> None:
    """Answers at once, but `/silent` never and `/half` with a beginning only."""
    if isinstance(event, h2.events.RequestReceived):
        assert event.stream_id is not None
        if path_of(event) == "/half":
            peer.machine.send_headers(event.stream_id, OK)
            peer.machine.send_data(event.stream_id, b"half")
        elif path_of(event) != "/silent":
            peer.reply(event.stream_id)


async def test_a_call_that_is_left_in_the_middle_resets_its_stream_and_no_other(
    open_house: OpenHouse,
) -> None:
    """C-1, C-2."""
    async with open_house(by_path) as house:
        response = await house.transport.handle_async_request(house.request("/half"))
        assert await anext(aiter(body_of(response))) == b"half"
        await response.aclose()
        await response.aclose()
        (ended,) = await house.wait_heard(h2.events.StreamReset)
        assert await house.call() == b"ok"

    assert isinstance(ended, h2.events.StreamReset)
    assert ended.error_code is h2.errors.ErrorCodes.CANCEL
    assert len(house.connections) == 1


async def test_a_call_that_is_left_before_the_answer_resets_its_stream(open_house: OpenHouse) -> None:
    """C-1."""
    async with open_house(by_path) as house:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.call, "/silent")
            await house.wait_heard(h2.events.StreamEnded)
            nursery.cancel_scope.cancel()
        await house.wait_heard(h2.events.StreamReset)
        assert await house.call() == b"ok"

    assert len(house.connections) == 1


async def test_a_call_that_was_answered_whole_resets_nothing(open_house: OpenHouse) -> None:
    async with open_house(by_path) as house:
        for _ in range(3):
            assert await house.call() == b"ok"

    assert not [each for each in house.heard if isinstance(each, h2.events.StreamReset)]


async def test_what_comes_for_calls_that_were_left_does_not_use_up_the_connection(
    open_house: OpenHouse,
) -> None:
    """The window of a connection, 16 MiB here, is all calls' together."""

    async def flood(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
            peer.machine.send_headers(event.stream_id, OK)
            if path_of(event) == "/":
                peer.machine.send_data(event.stream_id, b"ok", end_stream=True)
                return
            for _ in range(64):
                peer.machine.send_data(event.stream_id, bytes(peer.machine.max_outbound_frame_size))
            await peer.flush()

    async with open_house(flood) as house:
        for _ in range(20):  # of a MiB each
            response = await house.transport.handle_async_request(house.request("/flood"))
            assert await anext(aiter(body_of(response)))
            await response.aclose()
        with trio.fail_after(10):
            assert await house.call() == b"ok"

    assert len(house.connections) == 1


@pytest.mark.parametrize(("hints", "served"), [(8, True), (9, False), (5000, False)])
async def test_informational_replies_are_counted_for_each_call(open_house: OpenHouse, hints: int, served: bool) -> None:
    """B18: one that gets too many ends; another on the same connection does not."""

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
            if path_of(event) == "/":
                for number in range(hints):
                    peer.machine.send_headers(event.stream_id, [(":status", "103")])
                    if number % 100 == 99:
                        await peer.flush()
                peer.reply(event.stream_id)
            elif path_of(event) == "/late":
                peer.machine.send_headers(event.stream_id, OK)

    async with open_house(react) as house:
        other = await house.transport.handle_async_request(house.request("/late"))
        if served:
            assert await house.call() == b"ok"
        else:
            with pytest.raises(httpx.RemoteProtocolError, match="more than 8 informational") as caught:
                await house.call()
            assert caught.value.request_sent is True  # type: ignore[attr-defined]
        assert other.status_code == 200
        await other.aclose()

    assert len(house.connections) == 1


async def test_a_reply_before_the_request_was_read_is_delivered(open_house: OpenHouse) -> None:
    """B31: the window of the upstream is full, and never opens again."""

    async def refuse(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
            peer.machine.send_headers(event.stream_id, [(":status", "413")])
            peer.machine.send_data(event.stream_id, b"big", end_stream=True)

    async with open_house(refuse) as house:
        with trio.fail_after(10):
            response = await house.transport.handle_async_request(house.request(body=bytes(32 * 1024 * 1024)))
            assert (response.status_code, await response.aread()) == (413, b"big")
            await response.aclose()
        await house.wait_heard(h2.events.StreamReset)

    sent = sum(len(each.data or b"") for each in house.heard if isinstance(each, h2.events.DataReceived))
    assert sent <= 65535


@attrs.define
class Slowly(httpx.AsyncByteStream):
    """The body of a request of which only the first piece comes at once. No generator: it may be left."""

    pieces: list[bytes]
    go_on: trio.Event
    given: int = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.given:
            await self.go_on.wait()
        if self.given == len(self.pieces):
            raise StopAsyncIteration
        self.given += 1
        return self.pieces[self.given - 1]


@asynccontextmanager
async def another_call(house: House, over: trio.Event) -> AsyncIterator[None]:
    """Another call on the connection, which reads whatever comes; the event is set once it has its answer."""

    async def call() -> None:
        assert await house.call() == b"ok"
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await house.wait_heard(h2.events.StreamEnded)
        yield


@pytest.mark.parametrize("more", [[], [b"more"]], ids=["end", "more"])
@pytest.mark.parametrize("code", [h2.errors.ErrorCodes.NO_ERROR, h2.errors.ErrorCodes.CANCEL])
async def test_a_whole_reply_whose_stream_is_reset_between_two_sends_of_the_request_is_delivered(
    open_house: OpenHouse, more: list[bytes], code: h2.errors.ErrorCodes
) -> None:
    """B31: who does not want the rest of a request says so with a reset (RFC 9113, 8.1). Another call reads it."""
    answered = trio.Event()
    waiting: list[int] = []

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            waiting.append(event.stream_id)
        elif isinstance(event, h2.events.DataReceived) and event.data == b"one":
            assert event.stream_id is not None
            peer.machine.send_headers(event.stream_id, [(":status", "429")])
            peer.machine.send_data(event.stream_id, b"slow down", end_stream=True)
            peer.machine.reset_stream(event.stream_id, code)
            peer.reply(waiting[0])

    async with open_house(react) as house, another_call(house, answered):
        request = httpx.Request("POST", house.origin, stream=Slowly([b"one", *more], answered))
        with trio.fail_after(10):
            response = await house.transport.handle_async_request(request)
            assert (response.status_code, await response.aread()) == (429, b"slow down")
            await response.aclose()
    assert len(house.connections) == 1


async def test_a_refusal_between_two_sends_of_the_request_is_told_as_one(open_house: OpenHouse) -> None:
    """Section 4: REFUSED_STREAM bills nobody."""
    refused = trio.Event()
    waiting: list[int] = []

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            waiting.append(event.stream_id)
        elif isinstance(event, h2.events.DataReceived) and event.data == b"one":
            assert event.stream_id is not None
            peer.machine.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            peer.reply(waiting[0])

    async with open_house(react) as house, another_call(house, refused):
        with trio.fail_after(10), pytest.raises(httpx.RemoteProtocolError) as caught:
            await house.transport.handle_async_request(
                httpx.Request("POST", house.origin, stream=Slowly([b"one"], refused))
            )

    assert caught.value.request_sent is False  # type: ignore[attr-defined]


async def test_an_upstream_that_breaks_the_protocol_is_to_blame(open_house: OpenHouse) -> None:
    """B13: in the middle of a reply, too."""

    async def garble(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
            peer.machine.send_headers(event.stream_id, OK)
            await peer.flush()
            await peer.tls.send_all(b"\x00\x00\x04\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # a reset of stream 0

    async with open_house(garble) as house:
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await house.call()

    assert len(house.connections) == 2


async def test_a_call_that_is_cancelled_while_it_writes_leaves_the_others_their_connection(
    open_house: OpenHouse,
) -> None:
    """A frame that was begun is written to its end: what follows would be read as its rest."""
    go_on = trio.Event()

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
            if path_of(event) == "/upload":
                peer.machine.increment_flow_control_window(2**30)
                peer.machine.increment_flow_control_window(2**30, event.stream_id)
                await peer.flush()
                await go_on.wait()
            else:
                peer.reply(event.stream_id)

    async with open_house(react) as house:
        assert await house.call() == b"ok"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.call, "/upload", bytes(64 * 1024 * 1024))
            await house.wait_heard(h2.events.RequestReceived, 2)
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
            go_on.set()
        with trio.fail_after(10):
            assert await house.call() == b"ok"
        await house.wait_heard(h2.events.StreamReset)

    assert len(house.connections) == 1


async def test_a_call_that_uploads_while_the_connection_breaks_hears_whose_fault_it_is(open_house: OpenHouse) -> None:
    """B13: it is the upstream's, whoever of the calls finds it out."""
    go_on = trio.Event()

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived) and path_of(event) == "/upload":
            peer.machine.increment_flow_control_window(2**30)
            peer.machine.increment_flow_control_window(2**30, event.stream_id)
            await peer.flush()
            await peer.tls.send_all(b"\x00\x00\x04\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # a reset of stream 0
            await go_on.wait()

    async with open_house(react) as house, trio.open_nursery() as nursery:

        async def wait_for_nothing() -> None:
            with pytest.raises(httpx.RemoteProtocolError):
                await house.call("/silent")
            go_on.set()

        nursery.start_soon(wait_for_nothing)
        await house.wait_heard(h2.events.StreamEnded)
        with pytest.raises(httpx.RemoteProtocolError):
            await house.call("/upload", bytes(64 * 1024 * 1024))


class Wire:
    """A connection of httpcore that speaks HTTP/2 and takes nothing."""

    closed = False

    def get_extra_info(self, _: str) -> "Wire":
        return self

    def selected_alpn_protocol(self) -> str:
        return "h2"

    async def aclose(self) -> None:
        self.closed = True


async def test_a_connection_that_is_cancelled_before_it_has_said_anything_is_closed() -> None:
    wire, origin = Wire(), httpcore.Origin(b"https", b"a.example", 443)
    with trio.CancelScope() as scope:
        scope.cancel()
        await Connection(origin).speak(cast("httpcore.AsyncNetworkStream", wire))

    assert scope.cancelled_caught
    assert wire.closed


@pytest.mark.parametrize("leaves", ["who makes it", "who waits for it"])
async def test_a_call_that_is_cancelled_while_a_connection_is_made_takes_it_from_nobody(
    open_house: OpenHouse, leaves: str
) -> None:
    """Several wait for one connection: what comes of it serves the calls after them, too."""
    go_on = trio.Event()
    answers: list[bytes] = []

    async def open_stream(address: str, port: int) -> RawStream:
        await go_on.wait()
        return await open_socket(address, port)

    async with open_house(by_path, open_stream=open_stream) as house, trio.open_nursery() as nursery:

        async def ask(scope: trio.CancelScope) -> None:
            with scope:
                answers.append(await house.call())

        scopes = [trio.CancelScope(), trio.CancelScope()]
        for scope in scopes:
            nursery.start_soon(ask, scope)
            await trio.testing.wait_all_tasks_blocked()
        scopes[leaves == "who waits for it"].cancel()
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        with trio.fail_after(10):
            while not answers:  # noqa: ASYNC110  # told by a task that goes on
                await trio.sleep(0.005)
            assert await house.call() == b"ok"

    assert answers == [b"ok"]
    assert len(house.connections) == 1


# An upstream that goes away


async def test_a_stream_under_way_outlives_a_goodbye_and_the_next_call_goes_elsewhere(open_house: OpenHouse) -> None:
    """B11: servers say goodbye whenever they are restarted, and serve what they have begun."""
    said = trio.Event()

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.machine.send_headers(event.stream_id, OK)
            peer.machine.send_data(event.stream_id, b"one ")
            if not said.is_set():
                await peer.say_goodbye(event.stream_id)
                await said.wait()
            peer.machine.send_data(event.stream_id, b"two", end_stream=True)

    async with open_house(react) as house:
        response = await house.transport.handle_async_request(house.request())
        pieces = aiter(body_of(response))
        assert await anext(pieces) == b"one "
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.call)
            await house.wait_heard(h2.events.RequestReceived, 2)
            said.set()
            assert await anext(pieces) == b"two"
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)
        await response.aclose()

    assert len(house.connections) == 2


async def test_what_a_goodbye_leaves_out_is_sent_again_elsewhere(open_house: OpenHouse) -> None:
    """Section 4: what was not looked at may always be tried again."""
    peers: list[Peer] = []

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peers.append(peer)
            if len(peers) == 1:
                await peer.say_goodbye(0)
            else:
                peer.reply(event.stream_id)

    async with open_house(react) as house:
        with trio.fail_after(10):
            assert await house.call() == b"ok"

    assert len(peers) == len(house.connections) == 2


async def test_a_request_that_is_refused_twice_was_never_sent(open_house: OpenHouse) -> None:
    """Section 4: REFUSED_STREAM bills nobody, so the kernel may try it anywhere."""

    async def refuse(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.machine.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)

    async with open_house(refuse) as house:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await house.call()

    assert caught.value.request_sent is False  # type: ignore[attr-defined]
    assert len([each for each in house.heard if isinstance(each, h2.events.RequestReceived)]) == 2


async def test_a_reset_for_another_reason_is_not_sent_again(open_house: OpenHouse) -> None:
    """B6: it may have been looked at."""

    async def fail(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.machine.reset_stream(event.stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)

    async with open_house(fail) as house:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await house.call()

    assert caught.value.request_sent is True  # type: ignore[attr-defined]
    assert len([each for each in house.heard if isinstance(each, h2.events.RequestReceived)]) == 1


@pytest.mark.parametrize("closes", [False, True])
async def test_a_goodbye_behind_a_reply_costs_no_later_call(open_house: OpenHouse, closes: bool) -> None:
    """B30 over HTTP/2."""

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.reply(event.stream_id)
            await peer.say_goodbye(event.stream_id)
            if closes:
                await peer.tls.aclose()

    async with open_house(react) as house:
        for _ in range(30):
            assert await house.call() == b"ok"


async def test_a_ping_on_an_idle_connection_keeps_it(open_house: OpenHouse) -> None:
    pinged = trio.Event()

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.reply(event.stream_id)
            await peer.flush()
            await trio.testing.wait_all_tasks_blocked(0.02)
            peer.machine.ping(b"12345678")
            await peer.flush()
            pinged.set()

    async with open_house(react) as house:
        assert await house.call() == b"ok"
        await pinged.wait()
        assert await house.call() == b"ok"
        await house.wait_heard(h2.events.PingAckReceived)

    assert len(house.connections) == 1


# Streams that an upstream allows


async def hold(house: House, opened: list[int]) -> None:
    response = await house.transport.handle_async_request(house.request("/half"))
    opened.append(response.status_code)
    try:
        await trio.sleep_forever()
    finally:
        await response.aclose()


async def wait_until(opened: list[int], count: int) -> None:
    with trio.fail_after(10):
        while len(opened) < count:  # noqa: ASYNC110  # told by tasks that go on
            await trio.sleep(0.005)


async def test_more_calls_than_a_connection_has_streams_make_another_connection(open_house: OpenHouse) -> None:
    """None waits for a stream that another call may hold for an hour."""
    opened: list[int] = []
    async with open_house(by_path, streams=10) as house, trio.open_nursery() as nursery:
        for _ in range(25):
            nursery.start_soon(hold, house, opened)
        await wait_until(opened, 25)
        assert len(house.connections) == 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("streams", [0, 1])
async def test_an_upstream_that_allows_fewer_streams_than_are_open_holds_nobody_up(
    open_house: OpenHouse, streams: int
) -> None:
    lowered = trio.Event()

    async def react(peer: Peer, event: h2.events.Event) -> None:
        await by_path(peer, event)
        if isinstance(event, h2.events.RequestReceived) and path_of(event) == "/lower" and not lowered.is_set():
            lowered.set()
            peer.machine.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: streams})

    opened: list[int] = []
    async with open_house(react) as house, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(hold, house, opened)
        await wait_until(opened, 5)
        with trio.fail_after(10):
            assert await house.call("/lower") == b"ok"
            assert await house.call() == b"ok"
        assert len(house.connections) == 2
        nursery.cancel_scope.cancel()


async def test_frames_without_a_byte_are_not_kept_for_a_reply_that_nobody_reads(open_house: OpenHouse) -> None:
    """Flow control limits what waits, and counts none of these."""
    slow: list[int] = []

    async def react(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            if slow:
                await peer.flush()
                await peer.tls.send_all((b"\0\0\0\0\0" + slow[0].to_bytes(4, "big")) * 1000)
                peer.reply(event.stream_id)
            else:
                slow.append(event.stream_id)
                peer.machine.send_headers(event.stream_id, OK)

    async with open_house(react) as house:
        response = await house.transport.handle_async_request(house.request())
        assert await house.call() == b"ok"
        line = house.transport._line  # type: ignore[attr-defined]
        (connection,) = line.pool.connections
        assert connection._connection._events == {slow[0]: []}
        await response.aclose()


# Frames


FRAMES = st.lists(
    st.one_of(
        st.binary(max_size=40).map(lambda body: len(body).to_bytes(3, "big") + b"\0\0\0\0\0\x01" + body),
        st.builds(goodbye, st.integers(0, 2**31 - 1), st.integers(0, 2**32 - 1)),
        st.just(b"\0\0\x08\x07\0\0\0\0\x05" + bytes(8)),  # none: it names a stream
        st.just(b"\0\0\x04\x07\0\0\0\0\0" + bytes(4)),  # none: it is too short
    ),
    max_size=8,
)


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_goodbyes_are_taken_out_wherever_the_pieces_end_and_nothing_else_is(
    frames: list[bytes], cuts: list[int]
) -> None:
    before = b"\0\0\x08\x07" + bytes(20)  # no frame, whatever it looks like
    data, passed, said, taken = before + b"".join(frames), b"", list[Farewell](), Frames(preface=24)
    for count in itertools.cycle(cuts):
        if not data:
            break
        piece, farewells = taken.take(data[:count])
        data, passed = data[count:], passed + piece
        said += farewells

    own = [frame for frame in frames if frame[3] == 7 and len(frame) == 17 and frame[5:9] == bytes(4)]
    assert passed == before + b"".join(frame for frame in frames if frame not in own)
    assert [goodbye(*each) for each in said] == own
    assert [each.frame() for each in said] == own
