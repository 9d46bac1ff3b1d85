"""The provider `openai` in the dialect of the Responses API: B12, B22, J4."""

import json

import pytest
from stream_reading import read_stream

from turnout import Ask, Call, Chunk, Credential, Failure, Protocol, RateLimited, Secret
from turnout_openai import OpenAI, OpenAISettings
from turnout_wire.testing import Script, ScriptedTransport, Step

BODY = b'{"model": "m",  "input": "hi"}'
SSE = {"content-type": "text/event-stream"}
CREDENTIAL = Credential(id="a", provider="openai", api_key=Secret("sk-canary-0123456789"))


def event(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


CREATED = event("response.created", response={"status": "in_progress"})
DELTA = event("response.output_text.delta", delta="hi")
COMPLETED = event("response.completed", response={"status": "completed"})


def call(transport: ScriptedTransport) -> Call:
    ask = Ask(model="m", dialect="openai.responses", payload=BODY)
    return Call(ask=ask, credential=CREDENTIAL, model="m", transport=transport)


def provider() -> OpenAI:
    return OpenAI(OpenAISettings(), now=lambda: 0.0)


async def read(*steps: Step) -> tuple[list[Chunk], Failure | None]:
    transport = ScriptedTransport(Script(headers=SSE, body=steps))
    return await read_stream(provider().stream(call(transport)), transport)


async def test_a_response_passes_as_it_came() -> None:
    body = b'{"id":"resp_1","object":"response","error":null,"output":[]}'
    transport = ScriptedTransport(Script(headers={"content-type": "application/json"}, body=[body]))

    assert (await provider().execute(call(transport))).body == body
    assert transport.requests[0].url.path == "/v1/responses"
    assert transport.requests[0].read() == BODY


async def test_a_stream_ends_with_its_completed_event() -> None:
    """J4: `response.created` is no payload."""
    chunks, failure = await read(CREATED, DELTA, DELTA, COMPLETED)

    assert failure is None
    assert b"".join(chunk.data for chunk in chunks) == CREATED + DELTA + DELTA + COMPLETED
    assert [chunk.payload for chunk in chunks[:2]] == [False, True]


TEXT = {"type": "output_text", "text": "hi", "annotations": []}


@pytest.mark.parametrize(
    ("said", "payload"),
    [
        (event("response.image_generation_call.partial_image", partial_image_b64="aGk="), True),
        (event("response.image_generation_call.partial_image", partial_image_b64=""), False),
        (event("response.output_item.done", item={"type": "reasoning", "encrypted_content": "x", "summary": []}), True),
        (event("response.output_item.done", item={"type": "reasoning", "summary": [{"text": "so"}]}), True),
        (event("response.output_item.done", item={"type": "reasoning", "content": [{"text": "so"}]}), True),
        (event("response.output_item.done", item={"type": "reasoning", "id": "rs_1", "summary": []}), False),
        (event("response.output_item.done", item={"type": "reasoning", "summary": None, "content": 1}), False),
        (event("response.output_item.done", item={"type": "message", "content": [TEXT]}), True),
        (event("response.output_item.done", item={"type": "message", "content": [{"refusal": "no"}]}), True),
        (event("response.output_item.done", item={"type": "message", "content": [TEXT | {"text": ""}, 1]}), False),
        (event("response.output_item.done", item={"type": "function_call", "name": "f", "arguments": ""}), True),
        (event("response.output_item.done", item={"type": "image_generation_call", "result": "aGk="}), True),
        (event("response.output_item.done", item={"type": []}), True),
        (event("response.output_item.done", item=[1]), False),
        (event("response.output_item.done"), False),
        (event("response.output_item.added", item={"type": "message", "content": [TEXT]}), False),
        (event("response.in_progress", response={"tools": [{"type": "function"}]}), False),
    ],
)
async def test_an_image_or_a_whole_item_is_payload_as_a_delta_is(said: bytes, payload: bool) -> None:
    chunks, failure = await read(CREATED, said, COMPLETED)

    assert failure is None
    assert [chunk.payload for chunk in chunks[:2]] == [False, payload]


async def test_a_stream_that_is_not_completed_is_broken() -> None:
    """B12."""
    _, failure = await read(CREATED, DELTA)

    assert isinstance(failure, Protocol)


@pytest.mark.parametrize(
    "error",
    [
        event("error", code="rate_limit_exceeded", message="slow"),
        event("response.failed", response={"error": {"code": "rate_limit_exceeded", "message": "slow"}}),
    ],
)
@pytest.mark.parametrize("before", [[], [CREATED], [CREATED, DELTA]])
async def test_an_error_in_the_stream_is_its_verdict(error: bytes, before: list[bytes]) -> None:
    """B22."""
    chunks, failure = await read(*before, error)

    assert isinstance(failure, RateLimited)
    assert b"".join(chunk.data for chunk in chunks) == b"".join(before)
