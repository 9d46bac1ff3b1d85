"""The provider `anthropic` against scripted transports: C2.1, B12, B15, B22, B24, B25."""

import json
from collections.abc import Mapping

import httpx
import pytest
import trio
from stream_reading import read_stream

from turnout import (
    Ask,
    Call,
    Chunk,
    Credential,
    Failure,
    InvalidRequest,
    Operation,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    Secret,
)
from turnout.abc import Counter, ModelLister, Provider, RequestPreparer, Sender
from turnout.errors import UpstreamFailed
from turnout.testing import check_provider
from turnout_anthropic import Anthropic, AnthropicSettings
from turnout_wire.testing import HttpDouble, Script, ScriptedTransport, Step

NOW = 1_790_000_000.0
BODY = b'{"model": "m",  "max_tokens": 9, "messages": [{"role": "user", "content": "\xe2\x80\xa8 hi"}]}'
REPLY = b'{"id":"msg_1","type":"message","content":[{"type":"text","text":"hi"}]}'
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream; charset=utf-8"}
CREDENTIAL = Credential(id="a", provider="anthropic", api_key=Secret("sk-ant-canary-0123456789"))


def event(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


START = event("message_start", message={"id": "msg_1", "content": []})
PING = event("ping")
STOP = event("message_stop")
STOPPING = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})


def text(words: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": words})


SOUND = [START, PING, text("one"), text("two"), STOPPING, STOP]


def provider() -> Anthropic:
    return Anthropic(AnthropicSettings(), now=lambda: NOW)


def call(transport: httpx.AsyncBaseTransport, *, model: str = "m", **ask: object) -> Call:
    made = Ask(model="m", dialect="anthropic.messages", **({"payload": BODY} | ask))  # type: ignore[arg-type]
    return Call(ask=made, credential=CREDENTIAL, model=model, transport=transport)


async def failed(status: int, error: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Failure:
    body = json.dumps({"type": "error", "error": error}).encode()
    transport = ScriptedTransport(Script(status=status, headers=JSON | dict(headers or {}), body=[body]))
    with pytest.raises(UpstreamFailed) as caught:
        await provider().execute(call(transport))
    assert transport.open == 0
    return caught.value.verdict


async def read(*steps: Step) -> tuple[list[Chunk], Failure | None]:
    transport = ScriptedTransport(Script(headers=SSE, body=steps))
    return await read_stream(provider().stream(call(transport)), transport)


def test_it_offers_what_the_kernel_looks_for() -> None:
    """C2.1, C2.2."""
    made: Provider = provider()
    for kind in (Counter, ModelLister, RequestPreparer, Sender):
        assert isinstance(made, kind)


async def test_it_keeps_the_laws_of_a_provider(autojump_clock: trio.testing.MockClock) -> None:
    """Design 7: cancellation, back-pressure, verdicts, redaction, no retry, no leak (S40, S45, O37, D8)."""
    double = HttpDouble(reply=REPLY, events=SOUND)
    await check_provider(provider(), double, Ask(model="m", dialect="anthropic.messages", payload=BODY))


async def test_a_request_goes_out_as_it_came_with_the_key_in_its_header() -> None:
    """J4, S52."""
    transport = ScriptedTransport(Script(headers=JSON, body=[REPLY]))
    headers = {"anthropic-version": "2026-10-21", "anthropic-beta": "one", "cookie": "no"}
    reply = await provider().execute(call(transport, headers=headers))

    (sent,) = transport.requests
    assert str(sent.url) == "https://api.anthropic.com/v1/messages"
    assert sent.read() == BODY
    assert sent.headers["x-api-key"] == "sk-ant-canary-0123456789"
    assert sent.headers["anthropic-version"] == "2026-10-21"
    assert sent.headers["anthropic-beta"] == "one"
    assert "cookie" not in sent.headers
    assert "authorization" not in sent.headers
    assert reply.body == REPLY


async def test_without_the_clients_version_the_configured_one_is_sent_and_the_model_is_replaced() -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[REPLY]))
    await provider().execute(call(transport, model="other"))

    assert transport.requests[0].headers["anthropic-version"] == "2023-06-01"
    assert transport.requests[0].read() == BODY.replace(b'"m"', b'"other"')


async def test_tokens_are_counted_by_the_upstream() -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"input_tokens":14}']))
    reply = await provider().count(call(transport, operation=Operation.COUNT))

    assert transport.requests[0].url.path == "/v1/messages/count_tokens"
    assert reply.body == b'{"input_tokens":14}'


async def test_models_are_listed() -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"data":[{"id":"one"},{"id":"two"},{}]}']))

    assert list(await provider().models(CREDENTIAL, transport)) == ["one", "two"]


async def test_a_stream_passes_byte_for_byte_and_only_content_is_payload() -> None:
    """J4: `message_start` and `ping` are no payload."""
    chunks, failure = await read(*SOUND)

    assert failure is None
    assert b"".join(chunk.data for chunk in chunks) == b"".join(SOUND)
    assert [chunk.payload for chunk in chunks[:3]] == [False, False, True]


async def test_an_empty_message_that_stops_properly_is_an_answer() -> None:
    chunks, failure = await read(START, STOPPING, STOP)

    assert failure is None
    assert any(chunk.payload for chunk in chunks)


@pytest.mark.parametrize("steps", [SOUND[:-1], SOUND[:3]])
async def test_a_stream_without_message_stop_is_broken(steps: list[bytes]) -> None:
    """B12."""
    _, failure = await read(*steps)

    assert isinstance(failure, Protocol)


@pytest.mark.parametrize("before", [[], [START, PING], [START, text("one")]])
async def test_an_error_event_is_its_verdict_wherever_it_comes(before: list[bytes]) -> None:
    """B22."""
    chunks, failure = await read(*before, event("error", error={"type": "overloaded_error", "message": "busy"}))

    assert isinstance(failure, Overloaded)
    assert b"".join(chunk.data for chunk in chunks) == b"".join(before)


@pytest.mark.parametrize("data", [b"{nonsense", b'{"type":"\xff"}', b'{"type":' + b"[" * 100_000])
async def test_a_malformed_event_passes(data: bytes) -> None:
    """B15: whatever is wrong with it."""
    noise = b"event: content_block_delta\ndata: " + data + b"\n\n"
    chunks, failure = await read(*SOUND[:3], noise, *SOUND[3:])

    assert failure is None
    assert noise in b"".join(chunk.data for chunk in chunks)


async def test_refusals_are_verdicts() -> None:
    """B24: money, whatever status it comes with."""
    wrong = {"type": "invalid_request_error", "message": "max_tokens: required"}
    spent = {"type": "invalid_request_error", "message": "You have reached your specified API usage limits."}
    assert isinstance(await failed(400, wrong), InvalidRequest)
    assert isinstance(await failed(400, spent), PaymentRequired)
    assert isinstance(await failed(402, {"type": "billing_error", "message": "pay"}), PaymentRequired)
    assert isinstance(await failed(529, {"type": "overloaded_error", "message": "busy"}), Overloaded)


async def test_a_rate_limit_ends_when_its_reset_says() -> None:
    """B25."""
    error: dict[str, object] = {"type": "rate_limit_error", "message": "slow"}
    headers = {
        "anthropic-ratelimit-requests-remaining": "5",
        "anthropic-ratelimit-requests-reset": "2026-09-21T15:13:20Z",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "2026-09-21T14:14:00Z",
    }
    verdict = await failed(429, error, headers)
    assert isinstance(verdict, RateLimited)
    assert verdict.retry_after == 40.0
    assert (await failed(429, error, {"retry-after": "3"} | headers)).retry_after == 3.0
