"""The real SDKs of Anthropic and Google against `turnout run`, against a scripted upstream: three processes."""

import json
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest
from google import genai
from google.genai import errors
from processes import Gateway, RemoteUpstream, running_gateway

from turnout_upstream import Play, Rule, Script, plays

CONFIG = """\
[stores.sqlite]
path = "{folder}/store"

[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{TURNOUT_KEY}}"]

[providers.anthropic]
base_url = "{url}"

[[providers.anthropic.credentials]]
name = "first"
api_key = "sk-first"
priority = 10

[[providers.anthropic.credentials]]
name = "second"
api_key = "sk-second"

[[providers.anthropic.models]]
name = "claude"

[[providers.anthropic.models]]
name = "claude-cut"

[[providers.anthropic.models]]
name = "claude-limited"

[providers.gemini]
base_url = "{url}/v1beta"

[[providers.gemini.credentials]]
name = "third"
api_key = "sk-third"

[[providers.gemini.models]]
name = "gemini"
"""

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "Hello there."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def event(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


STREAM = (
    event("message_start", message=MESSAGE | {"content": [], "stop_reason": None}),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("ping"),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello "}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "there."}),
    event("content_block_stop", index=0),
    event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2}),
    event("message_stop"),
)
"""Shapes from platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11-23."""


def content(text: str, **members: object) -> bytes:
    return json.dumps({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}} | members]}).encode()


def replies(path: str, play: Play, *, key: str | None = None) -> Script:
    return Script(rules=(Rule(path=path, key=key, always=play),))


@pytest.fixture(scope="module")
def gateway(upstream_process: RemoteUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    config = CONFIG.format(folder=folder, url=upstream_process.url)
    with running_gateway(config, folder, key=secrets.token_urlsafe(24), env={}) as running:
        yield running


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def gemini(gateway: Gateway) -> Iterator[genai.Client]:
    with genai.Client(api_key=gateway.key, http_options=genai.types.HttpOptions(base_url=gateway.url)) as client:
        yield client


def messages() -> list[anthropic.types.MessageParam]:
    return [{"role": "user", "content": "hi"}]


def test_anthropics_sdk_gets_a_message(claude: anthropic.Anthropic, upstream: RemoteUpstream) -> None:
    upstream.use(replies("/v1/messages", Play(body=json.dumps(MESSAGE).encode())))

    reply = claude.messages.create(model="claude", max_tokens=9, messages=messages())

    assert [block.text for block in reply.content if block.type == "text"] == ["Hello there."]
    assert reply.usage.output_tokens == 2


def test_anthropics_sdk_gets_a_stream(claude: anthropic.Anthropic, upstream: RemoteUpstream) -> None:
    upstream.use(replies("/v1/messages", Play(events=STREAM)))

    with claude.messages.stream(model="claude", max_tokens=9, messages=messages()) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()

    assert text == "Hello there."
    assert final.stop_reason == "end_turn"


def test_anthropics_sdk_counts(claude: anthropic.Anthropic, upstream: RemoteUpstream) -> None:
    upstream.use(replies("/v1/messages/count_tokens", Play(body=b'{"input_tokens":14}')))

    assert claude.messages.count_tokens(model="claude", messages=messages()).input_tokens == 14


def test_anthropics_sdk_lists_models(claude: anthropic.Anthropic) -> None:
    assert {model.id for model in claude.models.list()} >= {"claude", "gemini"}


def test_anthropics_sdk_sees_its_own_errors(claude: anthropic.Anthropic, gateway: Gateway) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="nobody", max_tokens=9, messages=messages())
    stranger = claude.with_options(api_key="sk-wrong-wrong-wrong")
    with pytest.raises(anthropic.AuthenticationError) as caught:
        stranger.messages.create(model="claude", max_tokens=9, messages=messages())
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "error"


def test_anthropics_sdk_sees_a_stream_that_breaks(claude: anthropic.Anthropic, upstream: RemoteUpstream) -> None:
    """B12 after commit: the error is told in the stream, never a fake end."""
    upstream.use(replies("/v1/messages", Play(events=STREAM[:-1])))

    with (
        pytest.raises(anthropic.APIError),
        claude.messages.stream(model="claude-cut", max_tokens=9, messages=messages()) as stream,
    ):
        stream.until_done()


def test_anthropics_sdk_moves_on_from_a_rate_limited_key(claude: anthropic.Anthropic, upstream: RemoteUpstream) -> None:
    sound = Play(body=json.dumps(MESSAGE).encode())
    limited = Rule(key="sk-first", always=plays.rate_limited(60))
    upstream.use(Script(rules=(limited, Rule(path="/v1/messages", always=sound))))

    reply = claude.messages.create(model="claude-limited", max_tokens=9, messages=messages())

    assert reply.id == "msg_1"
    assert [request.key for request in upstream.requests(2)] == ["sk-first", "sk-second"]


def test_googles_sdk_gets_content(gemini: genai.Client, upstream: RemoteUpstream) -> None:
    play = Play(body=content("Hello there.", finishReason="STOP"))
    upstream.use(replies("/v1beta/models/gemini:generateContent", play))

    assert gemini.models.generate_content(model="gemini", contents="hi").text == "Hello there."


def test_googles_sdk_gets_a_stream(gemini: genai.Client, upstream: RemoteUpstream) -> None:
    pieces = (content("Hello "), content("there.", finishReason="STOP"))
    play = Play(events=tuple(b"data: " + piece + b"\r\n\r\n" for piece in pieces))
    upstream.use(replies("/v1beta/models/gemini:streamGenerateContent", play))

    texts = [piece.text for piece in gemini.models.generate_content_stream(model="gemini", contents="hi")]

    assert texts == ["Hello ", "there."]


def test_googles_sdk_counts(gemini: genai.Client, upstream: RemoteUpstream) -> None:
    upstream.use(replies("/v1beta/models/gemini:countTokens", Play(body=b'{"totalTokens":3}')))

    assert gemini.models.count_tokens(model="gemini", contents="hi").total_tokens == 3


def test_googles_sdk_lists_models(gemini: genai.Client) -> None:
    assert {model.name for model in gemini.models.list()} >= {"models/gemini"}


def test_googles_sdk_sees_its_own_errors(gemini: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        gemini.models.generate_content(model="nobody", contents="hi")
    assert caught.value.code == 404
    assert caught.value.status == "NOT_FOUND"


def test_a_stream_without_alt_sse_is_one_json_array(gateway: Gateway, upstream: RemoteUpstream) -> None:
    """With an image in it, whose event is longer than others may be."""
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBOR" + "A" * (5 << 20)}}
    picture = json.dumps({"candidates": [{"content": {"role": "model", "parts": [image]}}]}).encode()
    pieces = (content("Hello "), picture, content("there.", finishReason="STOP"))
    play = Play(events=tuple(b"data: " + piece + b"\r\n\r\n" for piece in pieces))
    upstream.use(replies("/v1beta/models/gemini:streamGenerateContent", play))
    request = urllib.request.Request(  # noqa: S310  # the gateway's own address
        f"{gateway.url}/v1beta/models/gemini:streamGenerateContent",
        data=b'{"contents":[]}',
        headers={"x-goog-api-key": gateway.key},
    )

    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  # the same
        found = json.loads(answer.read())

    assert found == [json.loads(piece) for piece in pieces]
