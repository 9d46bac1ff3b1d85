"""The real OpenAI SDK against `turnout run`, against a scripted upstream: three processes."""

import secrets
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import openai
import pytest
from processes import Gateway, Process, RemoteUpstream, running_gateway

from turnout_upstream import Rule, Script, plays

CONFIG = """\
[stores.sqlite]
path = "{folder}/store"

[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{TURNOUT_KEY}}"]

[frontends.http.limits]
body_bytes = "64KiB"

[providers.openai]
base_url = "{url}/v1"

[[providers.openai.credentials]]
name = "first"
api_key = "${{FIRST_KEY}}"
priority = 10

[[providers.openai.credentials]]
name = "second"
api_key = "sk-second"

{models}
"""

MODELS = ("plain", "sync-whole", "sync-stream", "async-whole", "async-stream", "cut")
"""One for each test that cools something, because cooldowns are per model."""

LIMITED = Script(rules=(Rule(key="sk-first", always=plays.rate_limited(60)),))
TEXT = "Hello from the scripted upstream."


@pytest.fixture(scope="module")
def gateway(upstream_process: RemoteUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    models = "\n".join(f'[[providers.openai.models]]\nname = "{name}"\n' for name in MODELS)
    config = CONFIG.format(folder=folder, url=upstream_process.url, models=models)
    env = {"FIRST_KEY": "sk-first"}
    with running_gateway(config, folder, key=secrets.token_urlsafe(24), env=env) as running:
        yield running


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, timeout=20) as one:
        yield one


def messages() -> list[openai.types.chat.ChatCompletionMessageParam]:
    return [{"role": "user", "content": "hi"}]


def test_a_call_moves_on_from_a_rate_limited_key(client: openai.OpenAI, upstream: RemoteUpstream) -> None:
    upstream.use(LIMITED)

    reply = client.chat.completions.create(model="sync-whole", messages=messages())

    assert reply.choices[0].message.content == TEXT
    assert [request.key for request in upstream.requests(2)] == ["sk-first", "sk-second"]


def test_a_stream_moves_on_from_a_rate_limited_key(client: openai.OpenAI, upstream: RemoteUpstream) -> None:
    upstream.use(LIMITED)

    with client.chat.completions.create(model="sync-stream", messages=messages(), stream=True) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert text == TEXT
    assert [request.key for request in upstream.requests(2)] == ["sk-first", "sk-second"]


UNDER_TRIO = """
import sys

import openai
import trio

url, key, model, streamed = sys.argv[1:]
messages = [{"role": "user", "content": "hi"}]


async def main() -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
        if streamed == "False":
            reply = await client.chat.completions.create(model=model, messages=messages)
            print(reply.choices[0].message.content)
            return
        async with await client.chat.completions.create(model=model, messages=messages, stream=True) as stream:
            print("".join([chunk.choices[0].delta.content or "" async for chunk in stream]))


trio.run(main)
"""
"""A process of its own, because the SDK leaves async generators behind when it has read `[DONE]`."""


@pytest.mark.parametrize(("model", "stream"), [("async-whole", False), ("async-stream", True)])
def test_the_sdk_under_trio_moves_on_from_a_rate_limited_key(
    gateway: Gateway, upstream: RemoteUpstream, model: str, stream: bool
) -> None:
    upstream.use(LIMITED)
    command = [sys.executable, "-c", UNDER_TRIO, f"{gateway.url}/v1", gateway.key, model, str(stream)]

    with Process(command, env={}) as process:
        assert process.wait_code() == 0, process.stderr.text

    assert process.stdout.text == TEXT + "\n"
    assert [request.key for request in upstream.requests(2)] == ["sk-first", "sk-second"]


def test_the_sdk_lists_the_models_that_are_configured(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == set(MODELS)


def test_a_wrong_key_is_refused_before_anything_is_asked(gateway: Gateway, upstream: RemoteUpstream) -> None:
    """S1, and the bad input that the main line names."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-wrong-and-long-enough", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="plain", messages=messages())
        with pytest.raises(openai.AuthenticationError):
            client.models.list()

    assert caught.value.status_code == 401
    assert upstream.requests() == []


def test_an_unknown_model_is_told_what_is_served(client: openai.OpenAI, upstream: RemoteUpstream) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=messages())

    assert "no-such-model" in caught.value.message
    assert "plain" in caught.value.message
    assert upstream.requests() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nonsense", b'{"messages": []}', b'{"model": 3}'])
def test_a_body_that_is_no_request_is_400(gateway: Gateway, upstream: RemoteUpstream, body: bytes) -> None:
    answer = gateway.ask("POST", "/v1/chat/completions", body)

    assert answer.status == 400
    assert '"error"' in answer.body
    assert upstream.requests() == []


def test_a_body_that_is_too_large_is_413(gateway: Gateway, upstream: RemoteUpstream) -> None:
    answer = gateway.ask("POST", "/v1/chat/completions", b'{"model": "plain", "pad": "' + b"x" * 65536 + b'"}')

    assert answer.status == 413
    assert upstream.requests() == []


def listen(stream: Iterable[openai.types.chat.ChatCompletionChunk], heard: list[str]) -> None:
    for chunk in stream:
        heard.append(chunk.choices[0].delta.content or "")  # noqa: PERF401  # what came before an error must stay


def test_the_sdk_notices_a_stream_that_was_cut(client: openai.OpenAI, upstream: RemoteUpstream) -> None:
    """B11 and B12 as the SDK sees them: an error, never an end that looks sound."""
    upstream.use(Script(default=plays.reset_mid_stream(4)))
    heard: list[str] = []

    with (
        client.chat.completions.create(model="cut", messages=messages(), stream=True) as stream,
        pytest.raises(openai.APIError),
    ):
        listen(stream, heard)

    text = "".join(heard)
    assert text
    assert TEXT.startswith(text)
    assert text != TEXT


def test_a_body_goes_upstream_as_it_came(client: openai.OpenAI, gateway: Gateway, upstream: RemoteUpstream) -> None:
    """The upstream sees the pool's key and never the client's."""
    body = b'{ "model":"plain",   "messages":[], "odd": [1e2, "\\u2028"] }'

    assert gateway.ask("POST", "/v1/chat/completions", body).status == 200
    (request,) = upstream.requests(1)

    assert request.body == body
    assert request.key == "sk-first"
    assert all(gateway.key not in value for _, value in request.headers)
