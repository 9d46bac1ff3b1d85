"""Providers behind clients of other vendors' APIs: what goes out, what comes back, and how it fails."""

import base64
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import httpx
import pytest
import trio
from stream_reading import read_stream

from turnout import (
    Ask,
    Call,
    Chunk,
    CountUnsupported,
    Credential,
    Failure,
    Inexpressible,
    InvalidRequest,
    Operation,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    Reply,
    Secret,
    Sent,
)
from turnout.abc import Provider, Translator
from turnout.errors import UpstreamFailed
from turnout.testing import check_provider
from turnout_anthropic import Anthropic, AnthropicSettings
from turnout_dialects import BadRequest, Untranslatable
from turnout_gemini import Gemini, GeminiSettings
from turnout_openai import OpenAI, OpenAISettings
from turnout_wire import UpstreamAnswer
from turnout_wire.testing import HttpDouble, Script, ScriptedTransport, Step

NOW = 1_790_000_000.0
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
CREDENTIAL = Credential(id="a", provider="p", api_key=Secret("sk-canary-0123456789"))

CHAT, RESPONSES, MESSAGES, GENERATE = "openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"

ASKS: Mapping[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    RESPONSES: {"model": "m", "input": "hi"},
    MESSAGES: {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]},
    GENERATE: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}


def event(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


def data(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "one two"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def anthropic_text(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def gemini_text(text: str, **members: object) -> bytes:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}} | members
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    return data({"candidates": [candidate], "usageMetadata": counts})


@attrs.frozen(kw_only=True)
class Upstream:
    """A vendor as its provider sees it."""

    provider: Callable[[], Any]
    dialect: str
    path: str
    streams_at: str
    reply: dict[str, Any]
    events: list[bytes]
    error: bytes
    malformed: bytes


ANTHROPIC = Upstream(
    provider=lambda: Anthropic(AnthropicSettings(), now=lambda: NOW),
    dialect=MESSAGES,
    path="/v1/messages",
    streams_at="/v1/messages",
    reply=MESSAGE,
    events=[
        event("message_start", message=MESSAGE | {"content": [], "stop_reason": None}),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
        anthropic_text("one "),
        anthropic_text("two"),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2}),
        event("message_stop"),
    ],
    error=event("error", error={"type": "overloaded_error", "message": "busy"}),
    malformed=b"event: content_block_delta\ndata: {nonsense\n\n",
)
GEMINI = Upstream(
    provider=lambda: Gemini(GeminiSettings(), now=lambda: NOW),
    dialect=GENERATE,
    path="/v1beta/models/up:generateContent",
    streams_at="/v1beta/models/up:streamGenerateContent",
    reply={
        "candidates": [{"content": {"role": "model", "parts": [{"text": "one two"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
    },
    events=[gemini_text("one "), gemini_text("two"), gemini_text("", finishReason="STOP")],
    error=data({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
    malformed=b"data: {nonsense\n\n",
)


def chat_piece(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return data({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": [choice]})


COUNTS_CHAT = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
OPENAI_CHAT = Upstream(
    provider=lambda: OpenAI(OpenAISettings(responses=False), now=lambda: NOW),
    dialect=CHAT,
    path="/v1/chat/completions",
    streams_at="/v1/chat/completions",
    reply={
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "one two"}, "finish_reason": "stop"}],
        "usage": COUNTS_CHAT,
    },
    events=[
        chat_piece({"role": "assistant", "content": ""}),
        chat_piece({"content": "one "}),
        chat_piece({"content": "two"}),
        chat_piece({}, "stop"),
        data({"id": "c", "object": "chat.completion.chunk", "created": 1, "choices": [], "usage": COUNTS_CHAT}),
        b"data: [DONE]\n\n",
    ],
    error=data({"error": {"message": "busy", "type": "overloaded_error"}}),
    malformed=b"data: {nonsense\n\n",
)

ITEM = {"type": "message", "id": "i", "role": "assistant", "status": "completed"}
PART = {"type": "output_text", "text": "one two", "annotations": []}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "x",
    "output": [ITEM | {"content": [PART]}],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}
OPEN = RESPONSE | {"status": "in_progress", "output": [], "usage": None}
AT = {"item_id": "i", "output_index": 0, "content_index": 0}
OPENAI_RESPONSES = Upstream(
    provider=lambda: OpenAI(OpenAISettings(chat=False), now=lambda: NOW),
    dialect=RESPONSES,
    path="/v1/responses",
    streams_at="/v1/responses",
    reply=RESPONSE,
    events=[
        event("response.created", response=OPEN, sequence_number=0),
        event("response.output_item.added", output_index=0, item=ITEM | {"content": []}, sequence_number=1),
        event("response.content_part.added", **AT, part=PART | {"text": ""}, sequence_number=2),
        event("response.output_text.delta", **AT, delta="one ", sequence_number=3),
        event("response.output_text.delta", **AT, delta="two", sequence_number=4),
        event("response.output_text.done", **AT, text="one two", sequence_number=5),
        event("response.content_part.done", **AT, part=PART, sequence_number=6),
        event("response.output_item.done", output_index=0, item=ITEM | {"content": [PART]}, sequence_number=7),
        event("response.completed", response=RESPONSE, sequence_number=8),
    ],
    error=event("error", code="overloaded_error", message="busy", sequence_number=9),
    malformed=b"event: response.output_text.delta\ndata: {nonsense\n\n",
)
UPSTREAMS = {"anthropic": ANTHROPIC, "gemini": GEMINI, "chat": OPENAI_CHAT, "responses": OPENAI_RESPONSES}


def call(
    source: str,
    transport: httpx.AsyncBaseTransport | None = None,
    body: Mapping[str, Any] | None = None,
    *,
    model: str = "up",
    **ask: Any,
) -> Call:
    payload = json.dumps(ASKS[source] if body is None else body).encode()
    made = Ask(model="m", dialect=source, payload=payload, **ask)
    return Call(ask=made, credential=CREDENTIAL, model=model, transport=transport)


def text_of(source: str, body: bytes) -> str:
    """What a whole answer says to a client of this dialect."""
    found = json.loads(body)
    if source == CHAT:
        return str(found["choices"][0]["message"]["content"])
    if source == RESPONSES:
        return "".join(part["text"] for item in found["output"] for part in item["content"])
    if source == MESSAGES:
        return "".join(block["text"] for block in found["content"])
    return "".join(part["text"] for part in found["candidates"][0]["content"]["parts"])


def events_of(body: bytes) -> list[dict[str, Any]]:
    lines = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def text_streamed(source: str, body: bytes) -> str:
    """What a stream says to a client of this dialect."""
    found = events_of(body)
    if source == CHAT:
        return "".join(one["choices"][0]["delta"].get("content") or "" for one in found if one["choices"])
    if source == RESPONSES:
        return "".join(one["delta"] for one in found if one["type"] == "response.output_text.delta")
    if source == MESSAGES:
        return "".join(one["delta"]["text"] for one in found if one["type"] == "content_block_delta")
    return "".join(part.get("text", "") for one in found for part in one["candidates"][0]["content"]["parts"])


ENDS = {CHAT: b"data: [DONE]\n\n", RESPONSES: b"response.completed", MESSAGES: b"message_stop", GENERATE: b"STOP"}

PAIRS = [
    pytest.param(source, name, id=f"{source}-{name}")
    for name, upstream in UPSTREAMS.items()
    for source in ASKS
    if source in upstream.provider().translated
]
FOREIGN = pytest.mark.parametrize(("source", "name"), PAIRS)


async def failure_of(run: Callable[[], Any]) -> Failure:
    with pytest.raises(UpstreamFailed) as caught:
        await run()
    return caught.value.verdict


async def read(upstream: Upstream, source: str, *steps: Step, **more: Any) -> tuple[list[Chunk], Failure | None]:
    transport = ScriptedTransport(Script(headers=SSE, body=steps))
    return await read_stream(upstream.provider().stream(call(source, transport, **more)), transport)


def joined(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


@pytest.mark.parametrize("name", UPSTREAMS)
def test_it_says_which_dialects_it_translates(name: str) -> None:
    provider: Provider = UPSTREAMS[name].provider()

    assert isinstance(provider, Translator)
    assert not provider.translated & provider.dialects
    assert provider.translated | provider.dialects >= set(ASKS)


@FOREIGN
async def test_a_translated_call_keeps_the_laws_of_a_provider(
    source: str, name: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Design 7: cancellation, back-pressure, verdicts, redaction, no retry, no leak (S40, S45, O37, D8, B12)."""
    upstream = UPSTREAMS[name]
    double = HttpDouble(reply=json.dumps(upstream.reply).encode(), events=upstream.events)
    ask = Ask(model="m", dialect=source, payload=json.dumps(ASKS[source]).encode())

    await check_provider(upstream.provider(), double, ask)


@FOREIGN
async def test_a_call_goes_out_in_the_upstreams_dialect_and_its_answer_comes_back_in_the_clients(
    source: str, name: str
) -> None:
    upstream = UPSTREAMS[name]
    headers = JSON | {"anthropic-ratelimit-requests-limit": "9", "x-ratelimit-limit-requests": "9"}
    transport = ScriptedTransport(Script(headers=headers, body=[json.dumps(upstream.reply).encode()]))
    reply: Reply = await upstream.provider().execute(call(source, transport, headers={"anthropic-beta": "theirs"}))

    (sent,) = transport.requests
    assert sent.url.path == upstream.path
    assert sent.url.path.count("up") or json.loads(sent.read())["model"] == "up"
    assert "anthropic-beta" not in sent.headers
    assert text_of(source, reply.body) == "one two"
    assert reply.headers == {}
    found = json.loads(reply.body)
    assert found.get("model", found.get("modelVersion")) == "m"


@FOREIGN
async def test_a_stream_comes_back_in_the_clients_dialect_with_its_payload_marked(source: str, name: str) -> None:
    """Design 2: nothing before the first content is payload, so that a failure until then is nobody's loss."""
    upstream = UPSTREAMS[name]
    chunks, failure = await read(upstream, source, *upstream.events)

    assert failure is None
    assert text_streamed(source, joined(chunks)) == "one two"
    assert ENDS[source] in chunks[-1].data
    assert chunks[0].payload is False or len(text_streamed(source, chunks[0].data)) > 0
    first = next(place for place, chunk in enumerate(chunks) if chunk.payload)
    assert all(not text_streamed(source, chunk.data) for chunk in chunks[:first])


@FOREIGN
async def test_events_that_come_in_one_read_are_all_translated(source: str, name: str) -> None:
    upstream = UPSTREAMS[name]
    chunks, failure = await read(upstream, source, b"".join(upstream.events))

    assert failure is None
    assert text_streamed(source, joined(chunks)) == "one two"


@FOREIGN
@pytest.mark.parametrize("kept", [0, 1, 4])
async def test_an_error_event_is_its_verdict_wherever_it_comes(source: str, name: str, kept: int) -> None:
    """B22: nothing of it is translated into content, and no end is made up."""
    upstream = UPSTREAMS[name]
    chunks, failure = await read(upstream, source, *upstream.events[:kept], upstream.error)

    assert isinstance(failure, Overloaded)
    assert ENDS[source] not in joined(chunks)


@FOREIGN
async def test_a_stream_that_was_cut_has_no_end(source: str, name: str) -> None:
    """B12."""
    upstream = UPSTREAMS[name]
    chunks, failure = await read(upstream, source, *upstream.events[:-1])

    assert isinstance(failure, Protocol)
    assert ENDS[source] not in joined(chunks)
    assert text_streamed(source, joined(chunks)) == "one two"


@FOREIGN
@pytest.mark.parametrize("committed", [False, True])
async def test_a_malformed_event_breaks_a_translated_stream(source: str, name: str, committed: bool) -> None:
    """B15, translating mode: what came before it is still given."""
    upstream = UPSTREAMS[name]
    before = upstream.events[: upstream.events.index(UPSTREAMS[name].events[-1]) - 1] if committed else []
    chunks, failure = await read(upstream, source, *before, upstream.malformed, *upstream.events)

    assert isinstance(failure, Protocol)
    assert any(chunk.payload for chunk in chunks) is committed
    assert ENDS[source] not in joined(chunks)


@FOREIGN
async def test_an_event_of_unknown_kind_is_left_out(source: str, name: str) -> None:
    """B15, translating mode."""
    upstream = UPSTREAMS[name]
    named = name in {"anthropic", "responses"}
    news = [event("news", text="extra") if named else data({"news": "extra"}), b": comment\n\n"]
    chunks, failure = await read(upstream, source, upstream.events[0], *news, *upstream.events[1:])

    assert failure is None
    assert b"extra" not in joined(chunks)
    assert text_streamed(source, joined(chunks)) == "one two"


async def test_lines_of_an_event_that_ends_in_cr_alone_are_translated() -> None:
    """B15."""
    events = [one.replace(b"\n", b"\r") for one in ANTHROPIC.events]
    chunks, failure = await read(ANTHROPIC, CHAT, b"\xef\xbb\xbf" + events[0], *events[1:])

    assert failure is None
    assert text_streamed(CHAT, joined(chunks)) == "one two"


async def test_an_endless_line_ends_a_translated_stream() -> None:
    """B16."""
    chunks, failure = await read(ANTHROPIC, CHAT, *ANTHROPIC.events[:4], b"data: ", *[b"x" * 65536] * 100)

    assert isinstance(failure, Protocol)
    assert text_streamed(CHAT, joined(chunks)) == "one "


async def test_an_image_that_no_chat_can_carry_is_left_out_of_a_translated_stream() -> None:
    """Its event is longer than others may be (B16), and what follows it is read."""
    gemini = UPSTREAMS["gemini"]
    part = {"inlineData": {"mimeType": "image/png", "data": "A" * (5 << 20)}}
    image = data({"candidates": [{"content": {"role": "model", "parts": [part]}}]})
    chunks, failure = await read(gemini, CHAT, gemini.events[0], image, *gemini.events[1:])

    assert failure is None
    assert text_streamed(CHAT, joined(chunks)) == "one two"


async def test_usage_has_an_event_of_its_own_for_the_chat_client_who_asked_for_it() -> None:
    asked = ASKS[CHAT] | {"stream": True, "stream_options": {"include_usage": True}}
    chunks, _ = await read(ANTHROPIC, CHAT, *ANTHROPIC.events, body=asked)
    plain, _ = await read(ANTHROPIC, CHAT, *ANTHROPIC.events)

    *_, last = events_of(joined(chunks))
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5
    assert all(one["choices"] for one in events_of(joined(plain)))


@FOREIGN
async def test_a_refusal_of_the_upstream_is_its_verdict(source: str, name: str) -> None:
    upstream = UPSTREAMS[name]
    transport = ScriptedTransport(Script(status=429, headers=JSON | {"retry-after": "7"}, body=[b"{}"]))
    verdict = await failure_of(lambda: upstream.provider().execute(call(source, transport)))

    assert isinstance(verdict, RateLimited)
    assert verdict.retry_after == 7


OTHERS = "another-clients-key-0123"


async def after_another_client(provider: Any, answer: Script) -> Call:
    """A call that gets this answer from an upstream which was sent another credential's key before."""
    before = Script(headers=JSON, body=[json.dumps(OPENAI_RESPONSES.reply | OPENAI_CHAT.reply).encode()])
    transport = ScriptedTransport(before, answer)
    other = attrs.evolve(CREDENTIAL, id="other", api_key=Secret(OTHERS))
    await provider.execute(attrs.evolve(call(MESSAGES, transport), credential=other))
    return call(MESSAGES, transport)


async def test_what_a_translator_tells_of_an_answer_shows_no_secret_of_any_credential() -> None:
    """S45: an upstream that mixes its clients up, in a member that is told in the error."""
    provider = OPENAI_RESPONSES.provider()
    reply = json.dumps(OPENAI_RESPONSES.reply | {"status": f"key={OTHERS}"}).encode()
    run = await after_another_client(provider, Script(headers=JSON, body=[reply]))
    failure = await failure_of(lambda: provider.execute(run))

    assert isinstance(failure, Protocol)
    assert "is not a finished reply" in failure.message
    assert OTHERS not in failure.message


async def test_an_error_that_only_the_translator_sees_is_judged_as_this_vendors_own() -> None:
    """B22, B24, S45: one that is spelled with an escape passes the search for it; the vendor's marks count."""
    provider = OpenAI(OpenAISettings(vendor="xai"), now=lambda: NOW)
    error = b'data: {"\\u0065rror":{"message":"key=%s, used all available credits","code":429}}\n\n' % OTHERS.encode()
    run = await after_another_client(provider, Script(headers=SSE, body=[*OPENAI_CHAT.events[:2], error]))
    with pytest.raises(UpstreamFailed) as caught:
        async with provider.stream(run) as stream:
            async for _ in stream:
                pass
    failure = caught.value.verdict

    assert isinstance(failure, PaymentRequired)
    assert isinstance(failure.detail, UpstreamAnswer)
    assert b"used all available credits" in failure.detail.body
    assert OTHERS not in failure.detail.body.decode() + failure.message


@FOREIGN
async def test_an_answer_that_cannot_be_translated_is_the_upstreams_fault(source: str, name: str) -> None:
    """B14, B22: nonsense is a broken protocol."""
    upstream = UPSTREAMS[name]
    body = json.dumps(dict.fromkeys(upstream.reply, "sk-canary-0123456789")).encode()
    transport = ScriptedTransport(Script(headers=JSON, body=[body]))
    verdict = await failure_of(lambda: upstream.provider().execute(call(source, transport)))

    assert isinstance(verdict, Protocol)
    assert "canary" not in verdict.message


BAD: Mapping[str, tuple[dict[str, Any], str]] = {
    CHAT: ({"model": "m", "messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
    RESPONSES: ({"model": "m", "input": 7}, "input"),
    MESSAGES: ({"model": "m", "max_tokens": 9, "messages": [{"role": "cook", "content": "x"}]}, "messages[0].role"),
    GENERATE: ({"contents": [{"parts": "x"}]}, "contents[0].parts"),
}


@FOREIGN
@pytest.mark.parametrize("stream", [False, True])
async def test_a_mistake_of_the_client_is_found_before_anything_is_sent(source: str, name: str, stream: bool) -> None:
    """B27: it speaks against the request, and says where."""
    upstream, (body, path) = UPSTREAMS[name], BAD[source]
    transport = ScriptedTransport(Script(headers=JSON, body=[b"{}"]))

    async def run() -> None:
        made = call(source, transport, body)
        if not stream:
            await upstream.provider().execute(made)
        async with upstream.provider().stream(made):
            pass

    verdict = await failure_of(run)

    assert isinstance(verdict, InvalidRequest)
    assert isinstance(verdict.detail, BadRequest)
    assert verdict.detail.path == path
    assert verdict.sent is Sent.NO
    assert transport.requests == []


async def test_what_only_this_upstream_cannot_say_is_left_to_others() -> None:
    body = ASKS[CHAT] | {"logprobs": True, "top_logprobs": 2}
    verdict = await failure_of(lambda: ANTHROPIC.provider().execute(call(CHAT, ScriptedTransport(), body)))

    assert isinstance(verdict, Inexpressible)
    assert isinstance(verdict.detail, Untranslatable)
    assert verdict.detail.path == "logprobs"


COUNTS = {
    "anthropic": ("/v1/messages/count_tokens", {"input_tokens": 14}),
    "gemini": ("/v1beta/models/up:countTokens", {"totalTokens": 14}),
    "responses": ("/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 14}),
}
COUNTED = {
    RESPONSES: {"object": "response.input_tokens", "input_tokens": 14},
    MESSAGES: {"input_tokens": 14},
    GENERATE: {"totalTokens": 14},
}


@pytest.mark.parametrize(
    ("source", "name"), [pair for pair in PAIRS if pair.values[0] != CHAT and pair.values[1] != "chat"]
)
async def test_tokens_are_counted_by_the_upstream_and_told_in_the_clients_form(source: str, name: str) -> None:
    upstream, (path, number) = UPSTREAMS[name], COUNTS[name]
    transport = ScriptedTransport(Script(headers=JSON, body=[json.dumps(number).encode()]))
    body = {name: value for name, value in ASKS[source].items() if name != "max_tokens"}
    reply = await upstream.provider().count(call(source, transport, body, operation=Operation.COUNT))

    (sent,) = transport.requests
    assert sent.url.path == path
    found = json.loads(sent.read())
    if name == "anthropic":
        assert found == {"model": "up", "messages": [{"role": "user", "content": "hi"}]}
    elif name == "responses":
        (turn,) = found.pop("input")
        assert found == {"model": "up"}
        assert turn["content"] == [{"type": "input_text", "text": "hi"}]
    else:
        assert found["generateContentRequest"]["model"] == "models/up"
        assert found["generateContentRequest"]["contents"] == ASKS[GENERATE]["contents"]
    assert json.loads(reply.body) == COUNTED[source]


async def test_googles_client_may_count_a_whole_request() -> None:
    inner = {"model": "models/m", **ASKS[GENERATE], "systemInstruction": {"parts": [{"text": "Be brief."}]}}
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"input_tokens":14}']))
    body = {"generateContentRequest": inner}
    await ANTHROPIC.provider().count(call(GENERATE, transport, body, operation=Operation.COUNT))

    assert json.loads(transport.requests[0].read())["system"] == "Be brief."


@pytest.mark.parametrize("number", [b'{"input_tokens":-1}', b'{"input_tokens":"many"}', b'{"input_tokens":null}'])
async def test_a_count_that_is_no_number_is_the_upstreams_fault(number: bytes) -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[number]))
    run = call(GENERATE, transport, operation=Operation.COUNT)

    assert isinstance(await failure_of(lambda: ANTHROPIC.provider().count(run)), Protocol)


@pytest.mark.parametrize(("source", "name"), [(CHAT, "anthropic"), (MESSAGES, "chat"), (GENERATE, "chat")])
async def test_a_count_that_no_api_of_the_upstream_has_is_not_supported(source: str, name: str) -> None:
    """Never a guess."""
    run = call(source, ScriptedTransport(), operation=Operation.COUNT)

    assert isinstance(await failure_of(lambda: UPSTREAMS[name].provider().count(run)), CountUnsupported)


async def test_what_responses_cannot_say_goes_to_the_same_upstreams_chat() -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[json.dumps(OPENAI_CHAT.reply).encode()]))
    body = ASKS[MESSAGES] | {"stop_sequences": ["END"]}
    provider = OpenAI(OpenAISettings(), now=lambda: NOW)
    reply = await provider.execute(call(MESSAGES, transport, body))

    (sent,) = transport.requests
    assert sent.url.path == "/v1/chat/completions"
    assert json.loads(sent.read())["stop"] == ["END"]
    assert text_of(MESSAGES, reply.body) == "one two"


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "/v1/responses"),
        ({"responses": False}, "/v1/chat/completions"),
        ({"base_url": "https://llm.test/v1"}, "/v1/chat/completions"),
        ({"base_url": "https://llm.test/v1", "responses": True}, "/v1/responses"),
        ({"base_url": "https://llm.test/v1", "chat": False}, "/v1/responses"),
        ({"vendor": "deepseek"}, "/chat/completions"),
        ({"vendor": "groq"}, "/openai/v1/chat/completions"),
    ],
)
async def test_other_vendors_calls_go_into_responses_where_they_are_known_to_be_good(
    settings: dict[str, Any], path: str
) -> None:
    upstream = OPENAI_RESPONSES if path.endswith("/responses") else OPENAI_CHAT
    transport = ScriptedTransport(Script(headers=JSON, body=[json.dumps(upstream.reply).encode()]))
    reply = await OpenAI(OpenAISettings(**settings), now=lambda: NOW).execute(call(MESSAGES, transport))

    assert transport.requests[0].url.path == path
    assert text_of(MESSAGES, reply.body) == "one two"


VECTORS = {"embeddings": [{"values": [0.5, -0.25]}, {"values": [1, 2]}], "usageMetadata": {"promptTokenCount": 4}}
OPENAI_VECTORS = {
    "object": "list",
    "model": "x",
    "data": [
        {"object": "embedding", "index": 1, "embedding": [1, 2]},
        {"object": "embedding", "index": 0, "embedding": [0.5, -0.25]},
    ],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}


async def embedded(name: str, source: str, body: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """What was sent, what came back, and the path."""
    transport = ScriptedTransport(Script(headers=JSON, body=[json.dumps(answer).encode()]))
    reply = await UPSTREAMS[name].provider().embed(call(source, transport, body, operation=Operation.EMBED))
    (sent,) = transport.requests
    return json.loads(sent.read()), json.loads(reply.body), sent.url.path


async def test_openais_client_gets_embeddings_of_gemini() -> None:
    body = {"model": "m", "input": ["a", "b"], "dimensions": 2, "user": "u"}
    sent, found, path = await embedded("gemini", "openai.embeddings", body, VECTORS)

    assert path == "/v1beta/models/up:batchEmbedContents"
    one = {"model": "models/up", "outputDimensionality": 2}
    assert sent == {"requests": [one | {"content": {"parts": [{"text": text}]}} for text in "ab"]}
    assert [each["embedding"] for each in found["data"]] == [[0.5, -0.25], [1, 2]]
    assert found["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert found["model"] == "m"


async def test_openais_client_gets_its_packed_floats() -> None:
    """The SDK asks for base64 unless it is told otherwise."""
    body = {"model": "m", "input": "a", "encoding_format": "base64"}
    _, found, _ = await embedded("gemini", "openai.embeddings", body, {"embeddings": [{"values": [0.5, -0.25]}]})

    assert struct.unpack("<2f", base64.b64decode(found["data"][0]["embedding"])) == (0.5, -0.25)


async def test_googles_client_gets_embeddings_of_openai() -> None:
    body = {
        "requests": [
            {"model": "models/m", "content": {"parts": [{"text": text}]}, "taskType": "RETRIEVAL_QUERY"}
            for text in "ab"
        ]
    }
    sent, found, path = await embedded("chat", GENERATE, body, OPENAI_VECTORS)

    assert path == "/v1/embeddings"
    assert sent == {"model": "up", "input": ["a", "b"], "encoding_format": "float"}
    assert found["embeddings"] == [{"values": [0.5, -0.25]}, {"values": [1, 2]}]


async def test_googles_client_gets_one_embedding_of_openai() -> None:
    body = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "outputDimensionality": 7}
    sent, found, _ = await embedded("chat", GENERATE, body, OPENAI_VECTORS)

    assert sent == {"model": "up", "input": "ab", "encoding_format": "float", "dimensions": 7}
    assert found["embedding"] == {"values": [0.5, -0.25]}


@pytest.mark.parametrize(
    ("name", "source", "body", "kind"),
    [
        ("gemini", "openai.embeddings", {"model": "m", "input": [1, 2]}, Inexpressible),
        ("gemini", "openai.embeddings", {"model": "m"}, InvalidRequest),
        ("gemini", "openai.embeddings", {"model": "m", "input": "a", "odd": 1}, Inexpressible),
        ("chat", GENERATE, {"content": {"parts": [{"inlineData": {}}]}}, Inexpressible),
        ("chat", GENERATE, {}, InvalidRequest),
        ("chat", GENERATE, {"content": {"parts": []}}, InvalidRequest),
        ("chat", GENERATE, {"content": {"parts": [{"text": "a"}]}, "title": "t"}, Inexpressible),
    ],
)
async def test_what_cannot_be_embedded_is_refused(
    name: str, source: str, body: dict[str, Any], kind: type[Failure]
) -> None:
    run = call(source, ScriptedTransport(), body, operation=Operation.EMBED)

    assert type(await failure_of(lambda: UPSTREAMS[name].provider().embed(run))) is kind


@pytest.mark.parametrize("answer", [b'{"embeddings":[{"values":"x"}]}', b'{"embeddings":[]}', b'{"embeddings":[{}]}'])
async def test_vectors_that_are_none_are_the_upstreams_fault(answer: bytes) -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[answer]))
    run = call("openai.embeddings", transport, {"model": "m", "input": "a"}, operation=Operation.EMBED)

    assert isinstance(await failure_of(lambda: GEMINI.provider().embed(run)), Protocol)


async def test_responses_clients_are_served_by_an_upstream_that_has_chats_only() -> None:
    chunks, failure = await read(OPENAI_CHAT, RESPONSES, *OPENAI_CHAT.events)

    assert failure is None
    assert text_streamed(RESPONSES, joined(chunks)) == "one two"
