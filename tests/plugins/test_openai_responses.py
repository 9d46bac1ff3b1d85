"""The provider `openai` in the dialect of the Responses API: B12, B22, J4."""

import json
from typing import get_args

import pytest
from openai.types.responses import ResponseError
from stream_reading import read_stream

from turnout import (
    Ask,
    Call,
    Chunk,
    Credential,
    Failed,
    Failure,
    InvalidRequest,
    Protocol,
    RateLimited,
    Reply,
    Secret,
    Transient,
)
from turnout.errors import UpstreamFailed
from turnout_openai import OpenAI, OpenAISettings
from turnout_wire import tell
from turnout_wire.testing import Script, ScriptedTransport, Step

BODY = b'{"model": "m",  "input": "hi"}'
JSON = {"content-type": "application/json"}
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


NOT_OF_THE_REQUEST = {
    "rate_limit_exceeded": RateLimited,
    "server_error": Transient,
    "vector_store_timeout": Transient,
    "data_residency_mismatch": Failed,
}


async def whole(body: bytes) -> Reply:
    return await provider().execute(call(ScriptedTransport(Script(headers=JSON, body=[body]))))


@pytest.mark.parametrize("code", get_args(ResponseError.model_fields["code"].annotation))
async def test_a_response_that_failed_by_the_requests_fault_blames_the_request(code: str) -> None:
    """B22, B27: every code that OpenAI publishes; its error has no type, as a rule. An `error` event is flat."""
    kind = NOT_OF_THE_REQUEST.get(code, InvalidRequest)
    error = {"code": code, "message": "look"}
    failed = {"status": "failed", "error": error, "output": []}

    for last in (event("response.failed", response=failed), event("error", **error)):
        assert type((await read(CREATED, last))[1]) is kind
    with pytest.raises(UpstreamFailed) as caught:
        await whole(json.dumps(failed).encode())
    assert type(caught.value.verdict) is kind


@pytest.mark.parametrize("committed", [False, True])
async def test_the_words_of_an_error_are_kept_however_much_stands_around_it(committed: bool) -> None:
    """B22, B27: a response says its instructions and tools back, whole or in its last event."""
    error = {"code": "invalid_prompt", "message": "not so"}
    failed = {"instructions": "x" * 10_000, "status": "failed", "error": error, "output": []}

    _, failure = await read(CREATED, *([DELTA] if committed else []), event("response.failed", response=failed))
    assert failure is not None
    assert tell(UpstreamFailed(failure), now=0, committed=committed).relayed == error
    with pytest.raises(UpstreamFailed) as caught:
        await whole(json.dumps(failed).encode())
    assert tell(caught.value, now=0).relayed == error
