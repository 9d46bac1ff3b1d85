"""The provider `openai` against scripted transports: C2.1, C13, B8-B28, J4, S10, S11, S45, S52."""

import gc
import json
import logging
import math
import weakref
from itertools import pairwise
from typing import Any

import attrs
import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from stream_reading import read_stream
from trio.testing import wait_all_tasks_blocked

from turnout import (
    Ask,
    Blame,
    Call,
    Chunk,
    Credential,
    Failed,
    Failure,
    InvalidRequest,
    ModelMissing,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    Remaining,
    Reply,
    Secret,
    Sent,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
)
from turnout.abc import Embedder, Limits, ModelLister, PluginContext, Provider, RequestPreparer, Sender
from turnout.errors import InvalidAsk, UpstreamFailed
from turnout_openai import OpenAI, OpenAISettings
from turnout_openai._chat_events import CHAT_EVENTS
from turnout_wire import PassedEvents, UpstreamAnswer, verdict
from turnout_wire.exchange import Answer, Posting
from turnout_wire.testing import Script, ScriptedTransport, Step, events

NOW = 1_790_000_000.0
KEY = "sk-canary-0123456789"
BODY = b'{"model": "m",  "messages": [{"role": "user", "content": "\xe2\x80\xa8 hi"}], "stream": true}'
REPLY = b'{"id":"1","choices":[{"message":{"content":"hi"}}]}'
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream; charset=utf-8"}

CREDENTIAL = Credential(id="a", provider="openai", api_key=Secret(KEY))


def provider(**settings: Any) -> OpenAI:
    return OpenAI(OpenAISettings(**settings), now=lambda: NOW)


def call(transport: httpx.AsyncBaseTransport, *, credential: Credential = CREDENTIAL, **ask: object) -> Call:
    made = Ask(model="m", dialect="openai.chat", **({"payload": BODY} | ask))  # type: ignore[arg-type]
    return Call(ask=made, credential=credential, model="m", transport=transport)


def streaming(*steps: Step) -> ScriptedTransport:
    return ScriptedTransport(Script(headers=SSE, body=steps))


async def executed(script: Script) -> Reply:
    transport = ScriptedTransport(script)
    try:
        return await provider().execute(call(transport))
    finally:
        assert transport.open == 0
        assert len(transport.requests) == 1, "a provider never retries"


async def failed(script: Script) -> Failure:
    with pytest.raises(UpstreamFailed) as caught:
        await executed(script)
    return caught.value.verdict


async def read(transport: ScriptedTransport) -> tuple[list[Chunk], Failure | None]:
    """All chunks of a stream, and how it failed."""
    return await read_stream(provider().stream(call(transport)), transport)


def test_it_offers_what_the_kernel_looks_for() -> None:
    """C2.1, C2.2."""
    whole: Provider = provider()
    assert whole.dialects == {"openai.chat", "openai.embeddings", "openai.responses"}
    for capability in (Embedder, ModelLister, RequestPreparer, Sender):
        assert isinstance(whole, capability)


async def test_opening_it_gives_it_the_kernels_clock() -> None:
    log = logging.getLogger("x")
    context = PluginContext(
        key="openai", group="turnout.providers", limits=Limits(), drain=60.0, now=lambda: NOW, draw=lambda: 0, log=log
    )
    dated = Script(status=429, headers={"retry-after": "Mon, 21 Sep 2026 14:13:30 GMT"})
    async with OpenAI.open(OpenAISettings(), context) as opened:
        with pytest.raises(UpstreamFailed) as caught:
            await opened.execute(call(ScriptedTransport(dated)))
    assert caught.value.verdict == RateLimited(message="upstream answered 429", retry_after=10.0)


async def test_a_reply_passes_unchanged() -> None:
    """C2.1: bytes out are the bytes in, and only harmless headers come with them."""
    body = b' {"choices" : [ ] }\n'
    headers = JSON | {"set-cookie": "a=b", "openai-processing-ms": "5", "content-length": str(len(body))}
    reply = await executed(Script(headers=headers, body=[body[:3], b"", body[3:]]))
    assert reply.body == body
    assert reply.headers == {"openai-processing-ms": "5"}


async def test_a_request_is_the_asks_own_bytes_with_the_credential_on_it() -> None:
    """C2.1.1, S10, S52: nothing but listed headers of the client, and identity encoding (B20)."""
    transport = ScriptedTransport(Script(headers=JSON, body=[REPLY]))
    client = {"idempotency-key": "k", "authorization": "Bearer client", "cookie": "c", "x-forwarded-host": "evil"}
    await provider(organization="org", project="proj").execute(call(transport, headers=client))
    (request,) = transport.requests
    assert request.read() == BODY
    assert str(request.url) == "https://api.openai.com/v1/chat/completions"
    assert dict(request.headers) == {
        "host": "api.openai.com",
        "content-length": str(len(BODY)),
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": "turnout",
        "authorization": f"Bearer {KEY}",
        "openai-organization": "org",
        "openai-project": "proj",
        "idempotency-key": "k",
    }


async def test_only_the_model_is_replaced_when_the_upstream_calls_it_otherwise() -> None:
    """C2.1.1."""
    transport = ScriptedTransport(Script(headers=JSON, body=[REPLY]))
    ask = Ask(model="m", payload=BODY)
    await provider().execute(Call(ask=ask, credential=CREDENTIAL, model="vendor/m-2", transport=transport))
    assert transport.requests[0].read() == BODY.replace(b'"m"', b'"vendor/m-2"')


async def test_a_body_without_a_model_to_replace_is_the_callers_mistake() -> None:
    ask = Ask(model="m", payload=b"{}")
    renamed = Call(ask=ask, credential=CREDENTIAL, model="other", transport=ScriptedTransport(Script()))
    with pytest.raises(InvalidAsk):
        await provider().execute(renamed)


async def test_a_credential_has_its_own_address_and_headers() -> None:
    """C1.17: `base_url` and `header:NAME`; and a local server needs no key."""
    local = Credential(
        id="a",
        provider="p",
        attributes={"base_url": "http://127.0.0.1:8080/api/", "header:X-Extra": "1", "header:api-key": "k"},
    )
    transport = ScriptedTransport(Script(headers=JSON, body=[REPLY]))
    assert provider().origin(local) == "http://127.0.0.1:8080"
    await provider().execute(call(transport, credential=local))
    (request,) = transport.requests
    assert str(request.url) == "http://127.0.0.1:8080/api/chat/completions"
    assert "authorization" not in request.headers
    assert (request.headers["x-extra"], request.headers["api-key"]) == ("1", "k")


async def test_a_credential_that_changes_is_sent_with_its_new_key() -> None:
    """Headers are kept ready for each snapshot of a credential, never for its id."""
    transport = ScriptedTransport(Script(headers=JSON, body=[REPLY]))
    openai = provider()
    for key in (KEY, "sk-renewed-0123456789", KEY):
        changed = attrs.evolve(CREDENTIAL, api_key=Secret(key))
        await openai.execute(call(transport, credential=changed))
        await openai.execute(call(transport, credential=changed))
        assert {request.headers["authorization"] for request in transport.requests[-2:]} == {f"Bearer {key}"}


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com:443"),
        ("http://LocalHost/v1/", "http://localhost:80"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://bücher.test/v1", "https://xn--bcher-kva.test:443"),
    ],
)
def test_an_origin_is_written_in_full(base_url: str, origin: str) -> None:
    """S11."""
    assert provider(base_url=base_url).origin(CREDENTIAL) == origin


@pytest.mark.parametrize(
    "base_url",
    ["", "api.openai.com", "ftp://x.test", "https://", "https://u:hunter2@x.test", "https://x.test/?key=hunter2",
     "https://x.test/#hunter2", "http://x\x00hunter2", "http://x:65536", "http://x:0"],
)  # fmt: skip
def test_an_unusable_address_is_refused_without_being_shown(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        provider(base_url=base_url)
    assert "hunter2" not in str(caught.value)
    if base_url:
        with pytest.raises(ValueError, match="base_url"):
            provider().origin(Credential(id="a", provider="p", attributes={"base_url": base_url}))


@pytest.mark.parametrize(
    "bad",
    [
        Credential(id="a", provider="p", api_key=Secret("hunter2\r\nx: y")),
        Credential(id="a", provider="p", api_key=Secret("hunter2é")),
        Credential(id="a", provider="p", attributes={"header:x": "hunter2\n"}),
        Credential(id="a", provider="p", attributes={"header:x y": "hunter2"}),
    ],
)
async def test_a_credential_that_no_header_can_carry_is_walked_past(bad: Credential) -> None:
    """S51: nothing is sent, and its key is not shown."""
    transport = ScriptedTransport(Script())
    opening = provider().stream(call(transport, credential=bad))
    for attempt in (provider().execute(call(transport, credential=bad)), opening.__aenter__()):
        with pytest.raises(UpstreamFailed) as caught:
            await attempt
        assert isinstance(caught.value.verdict, Unauthorized)
        assert caught.value.verdict.sent is Sent.NO
        assert "hunter2" not in repr(caught.value.verdict)
    assert transport.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (402, PaymentRequired),
        (403, PaymentRequired),
        (404, ModelMissing),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (400, Failed),
        (301, Protocol),
        (302, Protocol),
        (307, Protocol),
        (308, Protocol),
        (500, Transient),
        (502, Transient),
        (503, Transient),
        (504, Transient),
        (529, Overloaded),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_a_verdict_whatever_was_asked_for(status: int, kind: type[Failure], stream: bool) -> None:
    """B19, B23, B24, B26, B27: redirects are never followed."""
    said = {"error": {"message": f"no {KEY} at api.openai.com"}}
    script = Script(
        status=status, headers=JSON | {"location": "http://169.254.169.254/"}, body=[json.dumps(said).encode()]
    )
    found = (await read(ScriptedTransport(script)))[1] if stream else await failed(script)
    assert type(found) is kind
    assert found.sent is Sent.ANSWERED
    assert isinstance(found.detail, UpstreamAnswer)
    for shown in (repr(found), found.detail.body.decode()):
        assert KEY not in shown, "S45"
        assert "api.openai.com" not in shown


@pytest.mark.parametrize(
    ("exc", "kind", "sent"),
    [
        (httpx.ConnectError(f"https://{KEY}"), Unreachable, Sent.NO),
        (httpx.ConnectTimeout(""), TimedOut, Sent.NO),
        (httpx.ReadError(""), Protocol, Sent.MAYBE),
        (httpx.RemoteProtocolError(""), Protocol, Sent.MAYBE),
        (OSError(101, "unreachable"), Unreachable, Sent.MAYBE),
        (trio.BrokenResourceError(), Protocol, Sent.MAYBE),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_headers_says_how_far_the_request_got(
    exc: Exception, kind: type[Failure], sent: Sent, stream: bool
) -> None:
    """B1, B2, B5, B6, B7."""
    script = Script(before=exc)
    found = (await read(ScriptedTransport(script)))[1] if stream else await failed(script)
    assert found is not None
    assert (type(found), found.sent) == (kind, sent)
    assert KEY not in repr(found)


async def test_a_bug_of_the_transport_is_no_verdict() -> None:
    with pytest.raises(KeyError):
        await executed(Script(before=KeyError("bug")))


@pytest.mark.parametrize(
    ("headers", "steps"),
    [
        (JSON, [REPLY[:9], httpx.ReadError("")]),  # B11
        (JSON, [REPLY[:9], httpx.RemoteProtocolError("")]),  # B13
        (JSON | {"content-length": "500"}, [REPLY]),  # B12
        (JSON | {"content-length": "5"}, [REPLY]),  # B13
        (JSON | {"content-encoding": "gzip"}, [REPLY]),  # B20
        (JSON | {"content-encoding": "br, zstd"}, [REPLY]),
        ({"content-type": "text/html"}, [b"<html>"]),  # B14
        (JSON, [b'{"hello": "world"}']),
        (JSON, [b"[1]"]),
        (JSON, [b""]),
        (JSON, [b"\xff" * 10]),
        (JSON, [b'{"a":' * 100_000]),
        (JSON, [b'{"choices":[],"error":"\xff"}']),
        (SSE, [*events("hi")]),
    ],
)
async def test_half_an_answer_or_nonsense_is_never_a_reply(headers: dict[str, str], steps: list[Step]) -> None:
    """B11, B12, B13, B14, B20."""
    found = await failed(Script(headers=headers, body=steps))
    assert isinstance(found, Protocol)
    assert found.sent is Sent.ANSWERED


class OneAnswer(httpx.AsyncBaseTransport):
    """Gives one answer to every request."""

    def __init__(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.answer = status, fields, body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        status, fields, body = self.answer
        return httpx.Response(status, headers=fields, stream=httpx.ByteStream(body), request=request)


class OneWholeAnswer(OneAnswer):
    """Gives it to a posting in one piece."""

    async def post(self, _posting: Posting, _body: bytes) -> Answer:
        await trio.lowlevel.checkpoint()
        return *self.answer, None


LENGTH = (b"Content-Length", b"%d" % len(REPLY))
LEFT = [
    (b"X-RateLimit-Limit-Requests", b"100"),
    (b"x-ratelimit-remaining-requests", b"25"),
    (b"x-ratelimit-reset-requests", b"6m0s"),
]


@pytest.mark.parametrize(
    ("status", "fields", "body", "kind"),
    [
        (200, [LENGTH, *LEFT, (b"set-cookie", b"a=b"), (b"openai-version", b"a\x01b")], REPLY, None),
        (201, [*LEFT, *LEFT], REPLY, None),
        (200, [(b"content-encoding", b"Identity "), (b"content-length", b"+9")], REPLY, None),
        (200, [(b"content-length", b"%d" % (len(REPLY) + 1))], REPLY, Protocol),
        (200, [(b"content-length", b"%d" % (len(REPLY) - 1))], REPLY, Protocol),
        (200, [LENGTH], b"", Protocol),
        (200, [(b"Content-Encoding", b"gzip"), LENGTH], REPLY, Protocol),
        (200, [], b'{"choices":[],"error":{"code":429}}', RateLimited),
        (200, [], b'{"id":"1"}', Protocol),
        (200, [], b"", Protocol),
        (204, [], b"", Protocol),
        (302, [(b"location", b"http://elsewhere")], b"", Protocol),
        (500, [LENGTH], REPLY, Transient),
        (429, [(b"retry-after", b"7")], b"{}", RateLimited),
    ],
)
async def test_an_answer_that_is_here_already_counts_as_one_that_is_read(
    status: int, fields: list[tuple[bytes, bytes]], body: bytes, kind: type[Failure] | None
) -> None:
    outcomes: list[Reply | Failure] = []
    for transport in (OneAnswer(status, fields, body), OneWholeAnswer(status, fields, body)):
        try:
            outcomes.append(await provider().execute(call(transport)))
        except UpstreamFailed as exc:
            outcomes.append(exc.verdict)

    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[1], kind or Reply)
    if fields[1:4] == LEFT and isinstance(outcomes[1], Reply):
        assert outcomes[1].remaining == Remaining(share=0.25, until=NOW + 360)
        assert "openai-version" not in outcomes[1].headers


async def test_an_answer_beyond_its_limit_is_not_read_on() -> None:
    """Acceptance 4: 64 MiB."""
    piece = b"x" * (1 << 20)
    transport = ScriptedTransport(Script(headers=JSON, body=(piece for _ in range(1000))))
    with pytest.raises(UpstreamFailed, match="longer than 64 MiB"):
        await provider().execute(call(transport))
    assert transport.bytes_read == 65 << 20


@pytest.mark.parametrize("steps", [[b"x" * 65_536] * 1600, [b"x", 1.0] * 50, [b"x", httpx.ReadError("")], [math.inf]])
async def test_reading_an_errors_body_takes_two_seconds_and_64_kibibytes_at_most(
    steps: list[Step], autojump_clock: trio.testing.MockClock
) -> None:
    """B21: whatever state it is in, the status gives the verdict."""
    transport = ScriptedTransport(Script(status=500, body=steps))
    with pytest.raises(UpstreamFailed) as caught:
        await provider().execute(call(transport))
    assert isinstance(caught.value.verdict, Transient)
    assert isinstance(caught.value.verdict.detail, UpstreamAnswer)
    assert len(caught.value.verdict.detail.body) <= 4096
    assert trio.current_time() <= 2.0
    assert transport.bytes_read <= 2 * 65_536
    assert transport.open == 0


ERROR = b'{"error":{"message":"busy","type":"overloaded_error","code":null}}'


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error"}, Overloaded),
        ({"code": "rate_limit_exceeded"}, RateLimited),
        ({"code": "invalid_api_key"}, Unauthorized),
        ({"code": 402}, PaymentRequired),
        ("boom", Transient),
    ],
)
async def test_an_error_in_a_200_counts_as_its_status(error: object, kind: type[Failure]) -> None:
    """B22: as a reply, in place of a stream, as the first event, and after a role."""
    body = json.dumps({"error": error}).encode()
    event = b"data: " + body + b"\n\n"
    assert type(await failed(Script(headers=JSON, body=[body]))) is kind
    assert type((await read(ScriptedTransport(Script(headers=JSON, body=[body]))))[1]) is kind
    assert await read(streaming(event)) == ([], (await read(streaming(event)))[1])
    assert type((await read(streaming(event)))[1]) is kind
    chunks, found = await read(streaming(events()[0] + event))
    assert type(found) is kind
    assert not any(chunk.payload for chunk in chunks)


async def test_a_null_error_is_none() -> None:
    assert (await executed(Script(headers=JSON, body=[b'{"error":null,"choices":[]}']))).body


async def test_a_stream_passes_event_by_event_and_byte_by_byte() -> None:
    """The role is no payload; content and finish are; `[DONE]` ends it."""
    pieces = events("a", "b")
    chunks, found = await read(streaming(*pieces))
    assert found is None
    assert [chunk.data for chunk in chunks] == pieces
    assert [chunk.payload for chunk in chunks[:2]] == [False, True]


async def test_events_of_one_read_go_on_as_one_chunk_once_there_was_a_payload() -> None:
    first, *rest = events("a", "b", "c")
    chunks, _ = await read(streaming(first + rest[0] + rest[1], b"".join(rest[2:])))
    assert chunks == [Chunk(first, payload=False), Chunk(b"".join(rest[:2])), Chunk(b"".join(rest[2:]))]


@pytest.mark.parametrize(
    ("delta", "payload"),
    [
        ('{"role":"assistant","content":""}', False),
        ('{"content":null}', False),
        ("{}", False),
        ("null", False),
        ('{"content":"x"}', True),
        ('{"reasoning_content":"x"}', True),
        ('{"reasoning":"x"}', True),
        ('{"refusal":"x"}', True),
        ('{"tool_calls":[{"index":0}]}', True),
        ('{"tool_calls":[]}', False),
        ('{"content":"","images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}', True),
        ('{"images":[]}', False),
    ],
)
def test_payload_is_what_a_client_can_use(delta: str, payload: bool) -> None:
    """Design 2: content, a tool call, reasoning, a finish."""
    for finish, expected in (("null", payload), ('"stop"', True)):
        event = f'data: {{"choices":[{{"delta":{delta},"finish_reason":{finish}}}]}}\n\n'.encode()
        assert made().feed(event) == [Chunk(event, expected)]


@pytest.mark.parametrize(
    "block",
    [
        b": ping\n\n",
        b"\xef\xbb\xbf: ping\n\n",
        b"event: ping\ndata: {}\n\n",
        b"retry: 1\n\n",
        b'data: {"choices":[],"usage":{}}\n\n',
        b'data:{"choices":[],\ndata: "x":1}\n\n',
        b'data: {"choices":{"delta":1}}\n\n',
        b'data: {"choices":[null,{"delta":[]}]}\n\n',
        b"data: 7\n\n",
        b"data: {nonsense\n\n",
        b'data: {"choices":"\xff"}\n\n',
        b'data: {"choices":' + b"[" * 100_000 + b"\n\n",
        b"\n\n",
    ],
)
async def test_what_is_no_payload_is_passed_on_and_does_not_commit(block: bytes) -> None:
    """B15: comments, pings, unknown fields, a byte order mark, data over two lines, bytes of no text, endless depth."""
    chunks, found = await read(streaming(block, *events("a")))
    assert found is None
    assert chunks[0] == Chunk(block, payload=False)
    assert b"".join(chunk.data for chunk in chunks) == block + b"".join(events("a"))


@pytest.mark.parametrize(
    "block",
    [
        b"data: {nonsense\n\n",
        b"event: unknown\ndata: {}\n\n",
        b"\xef\xbb\xbf: x\n\n",
        b'data:{"choices":[]}\n\n',
        b"data: {}\rdata: {}\r\r",
        'data: {"x":"\u2028\u2029\u0085"}\r\n\r\n'.encode(),
        b"data: \xff\xfe\n\n",
        b'data: {"choices":[{"delta":{"content":"\\"error\\" [DONE]"}}]}\n\n',
        b'data: {"error":null,"choices":[]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"error":1}]}}]}\n\n',
    ],
)
async def test_after_the_first_payload_any_event_passes_byte_exact(block: bytes) -> None:
    """B15: malformed JSON and unknown events as well; one bad event never ends the stream."""
    before, after = events("a")[:2], events("b")[1:]
    chunks, found = await read(streaming(*before, block, *after))
    assert found is None
    assert b"".join(chunk.data for chunk in chunks) == b"".join([*before, block, *after])


async def test_cr_only_streams_pass_without_delay() -> None:
    """B15."""
    pieces = [piece.replace(b"\n", b"\r") for piece in events("a", "b")]
    chunks, found = await read(streaming(*pieces))
    assert found is None
    assert [chunk.data for chunk in chunks] == pieces


@pytest.mark.parametrize(
    "error",
    [
        b"data: " + ERROR + b"\n\n",
        b"data:" + ERROR + b"\n\n",
        b'event: error\ndata: {"type":"overloaded_error","message":"busy"}\n\n',
        b'data: {"id":"x","choices":[{"finish_reason":"error"}],"error":{"code":529,"message":"busy"}}\n\n',
        b"data: " + ERROR + b"\r\n\r\n",
        b'data: {"choices":[]}\r\revent: error\rdata: {"type":"overloaded_error","message":"busy"}\n\n',
    ],
)
async def test_an_error_after_commit_ends_the_stream_with_its_verdict(error: bytes) -> None:
    """B22, C2.1.3: its event is not passed on; the frontend tells it, scrubbed. What follows is not read."""
    good = events("a")[:2]
    for steps in ([*good, error], [good[0], good[1] + error], [*good, events("b")[1] + error + events("c")[1]]):
        chunks, found = await read(streaming(*steps))
        assert isinstance(found, Overloaded)
        assert b"busy" not in b"".join(chunk.data for chunk in chunks)
        assert b"".join(chunk.data for chunk in chunks).startswith(b"".join(good))
        assert isinstance(found.detail, UpstreamAnswer)
        assert b"busy" in found.detail.body


CHOICES = [
    ('{"error":{"code":429,"message":"busy"},"finish_reason":"error"}', RateLimited, b"busy"),
    ('{"error":{"code":429,"message":"busy"},"finish_reason":"stop","delta":{"content":"x"}}', RateLimited, b"busy"),
    ('{"error":"busy"}', Transient, b"busy"),
    ('{"finish_reason":"error"}', Transient, b"finish_reason: error"),
    ('{"finish_reason":"error","delta":{"content":"half"},"message":{"content":"half"}}', Transient, b"error"),
]
"""One choice that has failed, what it is due, and what a client is told of it."""


@pytest.mark.parametrize(("choice", "kind", "told"), CHOICES)
async def test_a_choice_that_failed_is_a_failure(choice: str, kind: type[Failure], told: bytes) -> None:
    """B22: whole, before the first payload, and after it."""
    body = f'{{"choices":[{choice}]}}'.encode()
    event = b"data: " + body + b"\n\n"
    found: list[Failure | None] = [await failed(Script(headers=JSON, body=[body]))]
    for before in ([], events("a")[:1], events("a")[:2]):
        chunks, failure = await read(streaming(*before, event, *events("b")[1:]))
        assert b"".join(chunk.data for chunk in chunks) == b"".join(before)
        found.append(failure)
    for one in found:
        assert type(one) is kind
        assert isinstance(one.detail, UpstreamAnswer)
        assert told in one.detail.body


@pytest.mark.parametrize(
    "choices",
    [
        '{"error":null,"finish_reason":"stop","message":{}}',
        '{"finish_reason":"error","message":{}},{"finish_reason":"stop","message":{}}',
        '{"finish_reason":"stop","message":{"content":"\\"error\\"","error":1}}',
        '"error"',
        "",
    ],
)
async def test_an_answer_with_a_choice_that_can_be_used_is_a_success(choices: str) -> None:
    body = f'{{"choices":[{choices}]}}'.encode()
    assert (await executed(Script(headers=JSON, body=[body]))).body == body


@pytest.mark.parametrize(
    "steps",
    [
        events("a", done=False),  # B12
        [*events("a", done=False), b'data: {"cho'],
        [*events("a")[:2], httpx.ReadError("")],  # B11
        [*events("a")[:2], httpx.RemoteProtocolError("")],  # B13
        [*events("a")[:2], b"data: " + b"x" * (1 << 20)],  # B16
        [b"x" * (1 << 20), b"x"],
        [*events("a")[:2], *[b"data: " + b"y" * 1_000_000 + b"\n"] * 5],
        [b"data: <html>\n\n"],  # B14
        [b"<html>no events here</html>"],
        [b"data: \x00\xff\n\n"],
        [],
    ],
)
async def test_a_stream_that_breaks_its_protocol_fails_and_never_ends_well(steps: list[Step]) -> None:
    """B11, B12, B13, B14, B16."""
    chunks, found = await read(streaming(*steps))
    assert isinstance(found, Protocol)
    assert found.blame is Blame.ORIGIN
    assert b"[DONE]" not in b"".join(chunk.data for chunk in chunks)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/html"},
        {"content-type": "application/octet-stream"},
        SSE | {"content-encoding": "gzip"},
        JSON,
    ],
)
async def test_what_is_not_a_stream_of_events_is_refused_before_it_is_read(headers: dict[str, str]) -> None:
    """B14, B20."""
    transport = ScriptedTransport(Script(headers=headers, body=events("a")))
    assert isinstance((await read(transport))[1], Protocol)


async def test_a_stream_that_does_not_say_what_it_is_is_judged_by_its_events() -> None:
    """B14: small local servers leave the content type out."""
    chunks, found = await read(ScriptedTransport(Script(headers={}, body=events("a"))))
    assert found is None
    assert b"".join(chunk.data for chunk in chunks) == b"".join(events("a"))


@pytest.mark.parametrize("last", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n"])
async def test_a_done_without_its_blank_line_is_a_done(last: bytes) -> None:
    chunks, found = await read(streaming(*events("a", done=False), last))
    assert found is None
    assert chunks[-1].data == last.rstrip() + b"\n\n"


async def test_what_follows_done_is_neither_passed_on_nor_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    chunks, found = await read(streaming(*events("a"), b"data: more\n\n", math.inf))
    assert found is None
    assert chunks[-1].data == b"data: [DONE]\n\n"
    assert trio.current_time() < 1


async def test_a_connection_that_breaks_after_done_does_no_harm() -> None:
    _, found = await read(streaming(*events("a"), httpx.ReadError("")))
    assert found is None


async def test_bytes_come_no_faster_than_they_are_asked_for() -> None:
    """Back-pressure: one chunk, one read (C-3)."""
    pieces = events("a", "b", "c", "d")
    transport = streaming(*pieces)
    async with provider().stream(call(transport)) as stream:
        for count in range(1, 4):
            await stream.__anext__()
            assert transport.bytes_read == len(b"".join(pieces[:count]))


@pytest.mark.parametrize("read_first", [0, 1, 2])
async def test_leaving_a_stream_closes_it_at_once_and_undrained(read_first: int) -> None:
    """O37, C-2."""
    transport = streaming(*events("a", "b", "c"))
    async with provider().stream(call(transport)) as stream:
        for _ in range(read_first):
            await stream.__anext__()
        read_so_far = transport.bytes_read
    assert transport.open == 0
    assert transport.bytes_read == read_so_far


STALLS = [
    Script(before=math.inf),
    Script(headers=SSE, body=[math.inf]),
    Script(headers=SSE, body=[*events("a")[:2], math.inf]),
    Script(headers=SSE, body=[*events("a")[:2], b'data: {"half', math.inf]),
    Script(headers=JSON, body=[math.inf]),
    Script(status=500, body=[math.inf]),
]


@pytest.mark.parametrize("closing", [0.0, math.inf])
@pytest.mark.parametrize("script", STALLS)
@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_at_any_wait_closes_the_upstream_in_bounded_time(
    script: Script, stream: bool, closing: float, autojump_clock: trio.testing.MockClock
) -> None:
    """C-1, C-2, B8, B9, B10: also when closing itself hangs."""
    transport = ScriptedTransport(
        Script(**{**{f: getattr(script, f) for f in ("status", "headers", "before", "body")}, "closing": closing})
    )
    with trio.move_on_after(1) as scope:
        if stream:
            async with provider().stream(call(transport)) as chunks:
                async for _ in chunks:
                    pass
        else:
            await provider().execute(call(transport))
    assert scope.cancelled_caught
    assert transport.open == 0
    assert trio.current_time() <= 2.0


class GeneratorTransport(httpx.AsyncBaseTransport):
    """Bodies as async generators, as httpx's own transport gives them."""

    def __init__(self) -> None:
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = self

        class Body(httpx.AsyncByteStream):
            async def __aiter__(self):  # type: ignore[no-untyped-def] # noqa: ANN204
                try:
                    for event in events("a", "b"):
                        yield event
                finally:
                    transport.closed += 1

        return httpx.Response(200, headers=SSE, stream=Body())


async def test_a_generator_left_half_way_is_closed_with_the_stream() -> None:
    """Pitfall of httpx: nothing is left for the garbage collector."""
    transport = GeneratorTransport()
    async with provider().stream(call(transport)) as stream:
        await stream.__anext__()
        gone = weakref.ref(stream)
    assert transport.closed == 1
    del stream
    gc.collect()
    assert gone() is None


async def test_models_are_listed() -> None:
    listing = b'{"data":[{"id":"a"},{"id":7},"x",{"id":"b","object":"model"}]}'
    transport = ScriptedTransport(Script(headers=JSON, body=[listing]), Script(headers=JSON, body=[b'{"data":{}}']))
    assert list(await provider().models(CREDENTIAL, transport)) == ["a", "b"]
    assert list(await provider().models(CREDENTIAL, transport)) == []
    assert (transport.requests[0].method, str(transport.requests[0].url)) == ("GET", "https://api.openai.com/v1/models")
    with pytest.raises(UpstreamFailed):
        await provider().models(CREDENTIAL, ScriptedTransport(Script(status=401)))
    with pytest.raises(UpstreamFailed, match="not sound JSON"):
        await provider().models(CREDENTIAL, ScriptedTransport(Script(headers=JSON, body=[b'{"data":["\xff"]}'])))


async def test_embeddings_pass_unchanged() -> None:
    transport = ScriptedTransport(Script(headers=JSON, body=[b'{"data":[]}']))
    assert (await provider().embed(call(transport))).body == b'{"data":[]}'
    assert transport.requests[0].url.path == "/v1/embeddings"


async def test_any_request_can_be_sent_with_the_credential_to_its_origin() -> None:
    """C13.4: the plugin injects the credential; the answer comes whatever its status."""
    transport = ScriptedTransport(Script(status=404, body=[b"no ", b"file"]))
    request = httpx.Request("GET", "https://api.openai.com/v1/files", headers={"authorization": "Bearer client"})
    response = await provider().send(request, CREDENTIAL, transport)
    assert (response.status_code, response.content) == (404, b"no file")
    assert transport.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert transport.open == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com:8443/",
        "https://api.openai.com.evil.test",
    ],
)
def test_a_credential_is_not_put_on_a_request_to_elsewhere(url: str) -> None:
    """S11, C13.2."""
    request = httpx.Request("GET", url)
    with pytest.raises(ValueError, match="origin"):
        provider().prepare(request, CREDENTIAL)
    assert "authorization" not in request.headers


def made() -> PassedEvents:
    return PassedEvents(CHAT_EVENTS, lambda status, body: verdict(status, body, {}, now=NOW))


@given(st.lists(st.integers(0, 2000), max_size=12), st.sampled_from(["\n", "\r", "\r\n"]))
def test_a_stream_cut_anywhere_is_passed_whole(cuts: list[int], newline: str) -> None:
    """J4."""
    pieces = [b": hi\n\n", *events("a", "b\u2028"), b"ignored"]
    whole = b"".join(pieces).replace(b"\n", newline.encode())
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    machine = made()
    chunks: list[Chunk] = []
    for start, end in pairwise(places):
        if not machine.done:
            chunks += machine.feed(whole[start:end])
    assert machine.done
    assert machine.failure is None
    passed = b"".join(chunk.data for chunk in chunks)
    assert whole.startswith(passed)
    assert whole.removeprefix(passed).strip() == b"ignored"
    assert any(chunk.payload for chunk in chunks)


async def test_a_stalled_read_holds_nothing_but_itself(nursery: trio.Nursery) -> None:
    """Two streams of one provider do not wait for each other."""
    stalled = ScriptedTransport(Script(before=math.inf))
    nursery.start_soon(provider().execute, call(stalled))
    await wait_all_tasks_blocked()
    assert (await executed(Script(headers=JSON, body=[REPLY]))).body == REPLY
    assert stalled.open == 1
    nursery.cancel_scope.cancel()
