"""The provider `gemini` against scripted transports: C2.1, B12, B22, B24, B25."""

import json
from typing import Any

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
    PaymentRequired,
    Protocol,
    RateLimited,
    Secret,
    Transient,
    Unauthorized,
)
from turnout.abc import Counter, Embedder, ModelLister, Provider, RequestPreparer, Sender
from turnout.errors import UpstreamFailed
from turnout.testing import check_provider
from turnout_gemini import Gemini, GeminiSettings
from turnout_wire import tell
from turnout_wire.testing import HttpDouble, Script, ScriptedTransport, Step

NOW = 1_790_000_000.0
KEY = "AIza-canary-0123456789"
BODY = b'{"contents":  [{"parts": [{"text": "\xe2\x80\xa8 hi"}]}]}'
REPLY = b'{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}'
JSON = {"content-type": "application/json; charset=UTF-8"}
SSE = {"content-type": "text/event-stream"}
CREDENTIAL = Credential(id="a", provider="gemini", api_key=Secret(KEY))


def event(text: str, **members: object) -> bytes:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}} | members
    return b"data: " + json.dumps({"candidates": [candidate]}).encode() + b"\r\n\r\n"


SOUND = [event(""), event("one"), event("two"), event("", finishReason="STOP")]


def provider() -> Gemini:
    return Gemini(GeminiSettings(), now=lambda: NOW)


def call(transport: httpx.AsyncBaseTransport, operation: Operation = Operation.GENERATE) -> Call:
    ask = Ask(model="m", dialect="gemini.generate", payload=BODY, operation=operation)
    return Call(ask=ask, credential=CREDENTIAL, model="upstream/m", transport=transport)


async def failed(status: int, word: str, *details: dict[str, object]) -> Failure:
    body = json.dumps({"error": {"code": status, "message": "no", "status": word, "details": details}}).encode()
    transport = ScriptedTransport(Script(status=status, headers=JSON, body=[body]))
    with pytest.raises(UpstreamFailed) as caught:
        await provider().execute(call(transport))
    assert transport.open == 0
    return caught.value.verdict


async def read(*steps: Step) -> tuple[list[Chunk], Failure | None]:
    return await read_script(Script(headers=SSE, body=steps))


async def read_script(script: Script) -> tuple[list[Chunk], Failure | None]:
    transport = ScriptedTransport(script)
    return await read_stream(provider().stream(call(transport)), transport)


def test_it_offers_what_the_kernel_looks_for() -> None:
    """C2.1, C2.2."""
    made: Provider = provider()
    for kind in (Counter, Embedder, ModelLister, RequestPreparer, Sender):
        assert isinstance(made, kind)


async def test_it_keeps_the_laws_of_a_provider(autojump_clock: trio.testing.MockClock) -> None:
    """Design 7: cancellation, back-pressure, verdicts, redaction, no retry, no leak (S40, S45, O37, D8)."""
    double = HttpDouble(reply=REPLY, events=SOUND)
    await check_provider(provider(), double, Ask(model="m", dialect="gemini.generate", payload=BODY))


@pytest.mark.parametrize(
    ("operation", "method", "verb", "reply"),
    [
        (Operation.GENERATE, "execute", "generateContent", REPLY),
        (Operation.COUNT, "count", "countTokens", b'{"totalTokens":3}'),
        (Operation.EMBED, "embed", "embedContent", b'{"embedding":{"values":[1.0]}}'),
    ],
)
async def test_the_body_is_untouched_and_the_key_is_in_no_url(
    operation: Operation, method: str, verb: str, reply: bytes
) -> None:
    """J4: a slash in a name cannot reach another path."""
    transport = ScriptedTransport(Script(headers=JSON, body=[reply]))
    answer = await getattr(provider(), method)(call(transport, operation))

    (sent,) = transport.requests
    assert sent.url.raw_path == f"/v1beta/models/upstream%2Fm:{verb}".encode()
    assert sent.headers["x-goog-api-key"] == KEY
    assert KEY not in str(sent.url)
    assert sent.read() == BODY
    assert answer.body == reply


async def test_models_are_listed_without_their_prefix() -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"models":[{"name":"models/one"},{}]}']))

    assert list(await provider().models(CREDENTIAL, transport)) == ["one"]


async def test_a_stream_passes_byte_for_byte() -> None:
    """J4."""
    chunks, failure = await read(*SOUND)

    assert failure is None
    assert b"".join(chunk.data for chunk in chunks) == b"".join(SOUND)
    assert [chunk.payload for chunk in chunks[:2]] == [False, True]


async def test_events_after_the_finish_still_pass() -> None:
    usage = b'data: {"usageMetadata":{"totalTokenCount":3}}\r\n\r\n'
    chunks, failure = await read(*SOUND, usage)

    assert failure is None
    assert chunks[-1].data == usage


async def test_a_blocked_prompt_is_an_answer() -> None:
    blocked = b'data: {"promptFeedback":{"blockReason":"SAFETY"}}\r\n\r\n'
    chunks, failure = await read(blocked)

    assert failure is None
    assert chunks == [Chunk(blocked, payload=True)]


async def test_a_stream_without_a_finish_is_broken() -> None:
    """B12."""
    _, failure = await read(*SOUND[:-1])

    assert isinstance(failure, Protocol)


@pytest.mark.parametrize("before", [[], SOUND[:2]])
async def test_an_error_in_the_stream_is_its_verdict(before: list[bytes]) -> None:
    """B22."""
    error = b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\r\n\r\n'
    chunks, failure = await read(*before, error)

    assert isinstance(failure, Transient)
    assert b"".join(chunk.data for chunk in chunks) == b"".join(before)


async def test_refusals_are_verdicts() -> None:
    """B24."""
    assert isinstance(await failed(400, "INVALID_ARGUMENT"), InvalidRequest)
    assert isinstance(await failed(400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), Unauthorized)
    assert isinstance(await failed(400, "FAILED_PRECONDITION"), PaymentRequired)
    assert isinstance(await failed(402, "RESOURCE_EXHAUSTED"), PaymentRequired)


@pytest.mark.parametrize(
    ("quota", "delay", "wait"),
    [
        ("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "46s", 46.0),
        ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "46s", 3600.0),
        ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "35640s", 35640.0),
        ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "garbage", 3600.0),
    ],
)
async def test_a_quota_of_the_day_benches_for_an_hour_at_least(quota: str, delay: str, wait: float) -> None:
    """B25."""
    verdict = await failed(429, "RESOURCE_EXHAUSTED", {"violations": [{"quotaId": quota}]}, {"retryDelay": delay})

    assert isinstance(verdict, RateLimited)
    assert verdict.retry_after == wait


async def refused_in_an_array(status: int, error: dict[str, object]) -> Failure:
    script = Script(status=status, headers=JSON, body=[json.dumps([{"error": {"code": status} | error}]).encode()])
    _, failure = await read_script(script)
    assert failure is not None
    return failure


async def test_an_error_that_comes_in_an_array_is_understood() -> None:
    """B25, B27: so Google refuses a call that streams."""
    quota = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    exhausted: dict[str, object] = {
        "message": "no",
        "status": "RESOURCE_EXHAUSTED",
        "details": [quota, {"retryDelay": "50s"}],
    }
    wrong: dict[str, object] = {"message": "Unknown name", "status": "INVALID_ARGUMENT"}

    assert (await refused_in_an_array(429, exhausted)).retry_after == 3600.0
    assert (await refused_in_an_array(429, exhausted | {"details": [{"retryDelay": "50s"}]})).retry_after == 50.0
    invalid = await refused_in_an_array(400, wrong)
    assert isinstance(invalid, InvalidRequest)
    assert invalid.message == "upstream answered 400: Unknown name"
    assert tell(UpstreamFailed(invalid), now=NOW).relayed == {"code": 400} | wrong


async def test_an_array_in_place_of_a_stream_is_the_error_that_it_holds() -> None:
    """B22."""
    body = b'[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]'
    _, failure = await read_script(Script(headers=JSON, body=[body]))

    assert isinstance(failure, Transient)


@pytest.mark.parametrize(
    ("operation", "body", "sent"),
    [
        (Operation.EMBED, {"model": "models/m", "content": {}}, {"model": "models/up", "content": {}}),
        (
            Operation.EMBED,
            {"requests": [{"model": "models/m"}, {"model": "models/other"}, {}, 7]},
            {"requests": [{"model": "models/up"}, {"model": "models/up"}, {}, 7]},
        ),
        (
            Operation.COUNT,
            {"generateContentRequest": {"model": "models/m", "contents": []}},
            {"generateContentRequest": {"model": "models/up", "contents": []}},
        ),
    ],
)
async def test_a_model_that_a_body_names_again_gets_the_upstreams_name(
    operation: Operation, body: dict[str, Any], sent: dict[str, Any]
) -> None:
    """C2.1.1: it must be the one in the path."""
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"embedding":{},"totalTokens":1}']))
    ask = Ask(model="m", dialect="gemini.generate", operation=operation, payload=json.dumps(body).encode())
    run = Call(ask=ask, credential=CREDENTIAL, model="up", transport=transport)
    await (provider().count if operation is Operation.COUNT else provider().embed)(run)

    assert json.loads(transport.requests[0].read()) == sent


@pytest.mark.parametrize("body", [b'{ "content": {} }', b"{nonsense", b"[]", b"\xff"])
async def test_a_body_that_names_no_model_goes_out_as_it_came(body: bytes) -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"embedding":{}}']))
    ask = Ask(model="m", dialect="gemini.generate", operation=Operation.EMBED, payload=body)
    await provider().embed(Call(ask=ask, credential=CREDENTIAL, model="up", transport=transport))

    assert transport.requests[0].read() == body
