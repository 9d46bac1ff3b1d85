"""How much a request body may hold, and for how long it is held: C-9, S55, design 15."""

import gc
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import pytest
import trio
from http_context import http_context

from turnout import Ask, Chunk, Reply, Secret
from turnout.testing._scripted_switch import ScriptedSwitch
from turnout_http import Settings
from turnout_http._addresses import parse_address
from turnout_http._body import MOST_VALUES, check_values
from turnout_http._frontend import application
from turnout_http._refusals import Refusal

KEY = "k7-Qd2mX9vLw4TzR8"

CANARY = "canary-in-the-body"


async def call(switch: ScriptedSwitch, body: bytes, path: str = "/v1/chat/completions") -> tuple[int, Any]:
    """Status and JSON of the answer to one request of the application."""
    context = http_context()
    app = application(switch, Settings(keys=(Secret(KEY),)), [parse_address("127.0.0.1:8080")], context)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8080"), (b"authorization", b"Bearer " + KEY.encode())],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "extensions": {},
    }
    coming = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not coming:
            await trio.sleep_forever()
        return coming.pop()

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(answer) if answer[:1] == b"{" else answer


def body_of(values: Sequence[bytes]) -> bytes:
    return b'{"model":"fast","messages":[' + b",".join(values) + b"]}"


TOO_MANY: Mapping[str, Callable[[], bytes]] = {
    "lists": lambda: body_of([b"[]"] * (MOST_VALUES // 2)),
    "numbers": lambda: body_of([b"1"] * MOST_VALUES),
    "texts": lambda: body_of([b'"a"'] * MOST_VALUES),
    "nested": lambda: body_of([b"[[[[]]]]"] * (MOST_VALUES // 5 + 1)),
    "members": lambda: b'{"model":"fast","x":{%b}}' % b",".join(b'"%d":1' % each for each in range(MOST_VALUES)),
    "texts that end with a backslash": lambda: body_of([rb'"\\"', b"1"] * (MOST_VALUES // 2)),
    "texts that end with a quote": lambda: body_of([rb'"\\\""', b"1"] * (MOST_VALUES // 2)),
    "behind a long text": lambda: body_of([b'"' + b"," * MOST_VALUES + b'"', *[b"1"] * MOST_VALUES]),
}

ORDINARY: Mapping[str, Callable[[], bytes]] = {
    "lists": lambda: body_of([b"[]"] * (MOST_VALUES // 2 - 10)),
    "messages": lambda: body_of([b'{"role":"user","content":"hi"}'] * 100_000),
    "parts": lambda: body_of([b'{"role":"user","content":[{"type":"text","text":"hi"}]}'] * 100_000),
    "tokens": lambda: b'{"model":"fast","input":[%b]}' % b",".join([b"[" + b"1234," * 999 + b"1]"] * 300),
    "an image": lambda: body_of([b'"' + b"A" * (31 << 20) + b'"']),
    "marks in a text": lambda: body_of([json.dumps(",[{" * MOST_VALUES).encode()]),
    "JSON in a text": lambda: body_of([json.dumps(json.dumps([{"a": 1, "b": "\\"}] * 400_000)).encode()]),
}


@pytest.mark.parametrize("kind", TOO_MANY)
def test_a_body_of_too_many_values_is_refused(kind: str) -> None:
    """S55: section 4's answer for what is larger than it may be."""
    with pytest.raises(Refusal, match="more than 1000000 values") as refused:
        check_values(TOO_MANY[kind]())

    assert refused.value.kind == "too_large"


@pytest.fixture(params=ORDINARY)
def ordinary(request: pytest.FixtureRequest) -> bytes:
    """Made outside of the event loop, for it takes long (A8)."""
    return ORDINARY[request.param]()


async def test_a_large_body_of_an_ordinary_kind_becomes_a_call(ordinary: bytes) -> None:
    switch = ScriptedSwitch()

    status, _ = await call(switch, ordinary)

    assert (status, [ask.payload == ordinary for ask in switch.asks]) == (200, [True])


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1beta/models/fast:generateContent"]
)
async def test_every_surface_refuses_a_body_of_too_many_values_in_its_own_shape(path: str) -> None:
    switch = ScriptedSwitch()

    status, told = await call(switch, body_of([b"[]"] * MOST_VALUES), path)

    assert (status, switch.asks) == (413, [])
    assert "more than 1000000 values" in told["error"]["message"]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", b""),
        ("/v1/chat/completions", b',"stream":true'),
        ("/v1/responses", b',"stream":true'),
        ("/v1/embeddings", b""),
        ("/v1beta/models/fast:generateContent", b""),
    ],
)
async def test_the_decoded_body_is_gone_while_its_call_runs(path: str, more: bytes) -> None:
    """Design 15: what decoding made is thrown away; it is many times as large as the bytes."""
    found: list[int] = []

    async def reply(_ask: Ask) -> Reply:
        found.append(held())
        return Reply(body=b"{}")

    async def stream(_ask: Ask) -> AsyncGenerator[Chunk, None]:
        found.append(held())
        yield Chunk(b"data: 1\n\n")

    body = b'{"model":"fast","input":["%b",1]%b}' % (CANARY.encode(), more)
    status, _ = await call(ScriptedSwitch(on_execute=reply, on_stream=stream), body, path)

    assert (status, found) == (200, [0])


def held() -> int:
    """How many lists there are that decoding this body has made."""
    return sum(type(each) is list and each[:1] == [CANARY] for each in gc.get_objects())
