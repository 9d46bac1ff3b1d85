"""The Responses API over a websocket, in the whole house and with the real OpenAI SDK."""

import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
import trio
from inside import MODEL, open_house
from openai.types.responses import ResponseCompletedEvent, ResponseTextDeltaEvent
from openai.types.responses.responses_server_event import ResponseWsError
from processes import Gateway, RemoteUpstream, half_closed, resident, running_gateway
from sockets import Client, create, opening
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from turnout_upstream import Play, Rule, Script, plays


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


def response(status: str) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": MODEL,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def delta(number: int, text: str) -> bytes:
    own = {"item_id": "i", "output_index": 0, "content_index": 0, "logprobs": [], "sequence_number": number}
    return event("response.output_text.delta", delta=text, **own)


STREAM = (
    event("response.created", response=response("in_progress"), sequence_number=0),
    delta(1, "Hel"),
    delta(2, "lo"),
    event("response.completed", response=response("completed"), sequence_number=3),
)
"""Shapes from platform.openai.com/docs/api-reference/responses-streaming, read November 2026."""

SOUND = Rule(path="/v1/responses", always=Play(events=STREAM))

CONFIG = """\
[turnout]
selector = "round-robin"

[stores.sqlite]
path = "{folder}/store"

[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{TURNOUT_KEY}}"]

[providers.openai]
base_url = "{url}/v1"
credentials = [
    {{ name = "plain", api_key = "sk-plain" }},
    {{ name = "with", api_key = "sk-with", websockets = true }},
]
models = [{{ name = "m" }}, {{ name = "refused" }}]
"""


@pytest.mark.parametrize("server", ["llhttp", "hypercorn"])
async def test_in_the_whole_house_a_turn_moves_on_and_a_chain_stays_with_its_credential(
    tmp_path: Path, server: str
) -> None:
    """B1: a turn fails over like a request; C17.3: what goes on stays; C3.6.4."""
    script = Script(rules=(Rule(key="sk-bad", always=plays.rate_limited(60)), SOUND))
    async with open_house(tmp_path, script, server=server) as house:
        key = house.client.headers["authorization"].removeprefix("Bearer ")
        port = house.client.base_url.port
        assert port is not None
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            one = await Client(stream).open(opening(key))
            await one.ask(create(MODEL))
            events = await one.until("response.completed")
            await one.ask(create(MODEL, previous_response_id="resp_1"))
            await one.until("response.completed")
        requests = house.upstream.log.requests

    assert [each.get("delta") for each in events] == [None, "Hel", "lo", None]
    assert [request.key for request in requests] == ["sk-bad", "sk-good", "sk-good"]
    assert json.loads(requests[-1].body) == {
        "model": MODEL,
        "input": "hi",
        "previous_response_id": "resp_1",
        "stream": True,
    }


async def test_a_client_that_leaves_ends_the_upstreams_request(tmp_path: Path) -> None:
    """C-2: the upstream sees the end of it, and nothing cools."""
    endless = Play(events=STREAM[:1] + STREAM[1:2] * 10_000, every=0.01)
    script = Script(rules=(Rule(path="/v1/responses", always=endless),))
    async with open_house(tmp_path, script) as house:
        key = house.client.headers["authorization"].removeprefix("Bearer ")
        port = house.client.base_url.port
        assert port is not None
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            one = await Client(stream).open(opening(key))
            await one.ask(create(MODEL))
            await one.until("response.output_text.delta")
        await house.upstream.wait_for(lambda log: log.open == 0)
        assert house.kernel.readiness().ready
        assert len(house.upstream.log.requests) == 1


@pytest.fixture(scope="module")
def gateway(upstream_process: RemoteUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    config = CONFIG.format(folder=folder, url=upstream_process.url)
    with running_gateway(config, folder, key=secrets.token_urlsafe(24), env={}) as running:
        yield running


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, timeout=20) as one:
        yield one


def test_openais_sdk_holds_a_conversation_over_a_websocket(client: openai.OpenAI, upstream: RemoteUpstream) -> None:
    """C5.9.3, O8: of one tier the credential with websockets on serves it; requests over HTTP take turns."""
    upstream.use(Script(rules=(SOUND,)))

    with client.responses.connect() as connection:
        for turn in range(3):
            previous = "resp_1" if turn else None
            connection.response.create(model="m", input="hi", stream_id="lane", previous_response_id=previous)
            text, done = "", False
            while not done:
                got = connection.recv()
                assert getattr(got, "stream_id", None) == "lane"
                text += got.delta if isinstance(got, ResponseTextDeltaEvent) else ""
                done = isinstance(got, ResponseCompletedEvent)
            assert text == "Hello"
    with client.responses.create(model="m", input="hi", stream=True) as stream:
        assert [each.type for each in stream][-1] == "response.completed"

    assert [request.key for request in upstream.requests(4)] == ["sk-with", "sk-with", "sk-with", "sk-plain"]


def test_openais_sdk_sees_an_error_over_a_websocket_and_goes_on(
    client: openai.OpenAI, upstream: RemoteUpstream
) -> None:
    """B27: the upstream's own words about the client's mistake."""
    refusal = {"message": "That is too long.", "type": "invalid_request_error", "param": "input"}
    body = json.dumps({"error": refusal | {"code": "string_above_max_length"}}).encode()
    upstream.use(Script(rules=(Rule(model="refused", always=Play(status=400, body=body)), SOUND)))

    with client.responses.connect() as connection:
        connection.response.create(model="refused", input="hi")
        told = connection.recv()
        connection.response.create(model="m", input="hi")
        assert connection.recv().type == "response.created"

    assert isinstance(told, ResponseWsError)
    assert (told.status, told.error.code) == (400, "string_above_max_length")


def test_a_stranger_with_openais_sdk_opens_no_websocket(client: openai.OpenAI, upstream: RemoteUpstream) -> None:
    """S1."""
    upstream.use(Script(rules=(SOUND,)))
    stranger = client.with_options(api_key="sk-wrong-wrong-wrong")

    with pytest.raises(Exception, match="401"), stranger.responses.connect():
        pass


FLOOD = delta(1, "x" * 65_536)
MANY = """
[frontends.http.limits]
sockets_per_key = 200
per_key = 200
"""


@pytest.mark.long
def test_a_hundred_clients_that_stop_reading_cost_little_memory_and_are_cut(
    upstream: RemoteUpstream, tmp_path: Path
) -> None:
    """C-3 over websockets, with the default limits of time: 50 MB for each of a hundred, of which nobody reads."""
    flood = Play(events=(FLOOD,), repeat=50_000_000 // len(FLOOD))
    upstream.use(Script(rules=(Rule(path="/v1/responses", always=flood),)))
    config = CONFIG.format(folder=tmp_path, url=upstream.url) + MANY
    with running_gateway(config, tmp_path, key=secrets.token_urlsafe(24), env={}) as running, ExitStack() as clients:
        before = resident(running.process.pid)
        for _ in range(100):
            clients.enter_context(asked_and_never_read(running))
        time.sleep(40)  # each is cut after 30 s (C-3)
        upstream.endings(100)
        assert resident(running.process.pid) - before < 100 << 20
        assert half_closed(running.process.pid) == 0


def asked_and_never_read(running: Gateway) -> socket.socket:
    """A websocket on which a response has been asked for."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    one.settimeout(20)
    one.connect(("127.0.0.1", int(running.url.rpartition(":")[2])))
    one.sendall(opening(running.key))
    assert one.recv(4096).startswith(b"HTTP/1.1 101 ")
    one.sendall(Connection(ConnectionType.CLIENT).send(TextMessage(create(MODEL))))
    return one
