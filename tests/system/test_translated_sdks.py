"""Every vendor's own SDK, every vendor's upstream: each surface against each native dialect, over `turnout run`.

The upstreams are scripted in the vendor's own format; what is asserted are the typed objects of the SDK, and what
of the request reached the upstream. Acceptance J5, B12, B22, B25 through translation.
"""

import base64
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from processes import Gateway, Process, RemoteUpstream, running_gateway
from vendor_clients import LIMIT, TLS, Chat, Client, Gemini, Heard, Messages, Responses, Wish
from vendor_wire import (
    ANTHROPIC,
    CHAT,
    GEMINI,
    INPUT,
    OUTPUT,
    RESPONSES,
    SEALED,
    UPSTREAMS,
    Said,
    error,
    stream,
    whole,
)

from turnout_upstream import Play, Rule, Script

CLIENTS = ("chat-sdk", "responses-sdk", "anthropic-sdk", "gemini-sdk")

PROVIDERS: Mapping[str, tuple[str, str, str]] = {
    CHAT: ("openai", "/v1", "responses = false"),
    RESPONSES: ("openai", "/v1", "chat = false"),
    ANTHROPIC: ("anthropic", "", ""),
    GEMINI: ("gemini", "/v1beta", ""),
}
NAMES = {CHAT: "gpt-5.2-chat", RESPONSES: "gpt-5.2", ANTHROPIC: "claude-sonnet-5-5", GEMINI: "gemini-3.8-flash"}

PATHS = {CHAT: "/chat/completions", RESPONSES: "/responses", ANTHROPIC: "/messages", GEMINI: "enerateContent"}

HEAD = """\
[stores.sqlite]
path = "{folder}/store"

[retry]
passes = 1

[frontends.http]
listen = ["127.0.0.1:0"]
keys = ["${{TURNOUT_KEY}}"]
"""


def config(folder: Path, url: str) -> str:
    """Four providers; each has a model of its own for each test that cools one."""
    text = HEAD.format(folder=folder)
    for upstream, (plugin, path, more) in PROVIDERS.items():
        text += f'[providers.{upstream}]\nplugin = "{plugin}"\nbase_url = "{url}{path}"\n{more}\n'
        text += f'[[providers.{upstream}.credentials]]\nname = "{upstream}"\napi_key = "sk-{upstream}-0123456789"\n'
        names = [
            NAMES[upstream],
            *(f"{NAMES[upstream]}-{kind}-{one}" for kind in ("limited", "cut") for one in CLIENTS),
        ]
        text += "".join(f'[[providers.{upstream}.models]]\nname = "{name}"\n' for name in names)
        if upstream in {CHAT, ANTHROPIC}:
            text += f'[[providers.{upstream}.models]]\nname = "{NAMES[upstream]}-best"\nalias = "best"\n'
    return text


@pytest.fixture(scope="module")
def gateway(upstream_process: RemoteUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    made = config(folder, upstream_process.url)
    with running_gateway(made, folder, key=secrets.token_urlsafe(24), env={}) as running:
        yield running


class Clients:
    """The SDKs, each opened when it is asked for: making one takes long, and its connections belong to the test."""

    def __init__(self, url: str, key: str, stack: ExitStack) -> None:
        self._url, self._key, self._stack = url, key, stack

    def __getitem__(self, name: str) -> Any:
        enter, url, key = self._stack.enter_context, self._url, self._key
        if name == "gemini-sdk":
            verify = {"verify": TLS}
            options = genai.types.HttpOptions(base_url=url, client_args=verify, async_client_args=verify)
            return Gemini(enter(genai.Client(api_key=key, http_options=options)))
        own: dict[str, Any] = {"api_key": key, "max_retries": 0, "timeout": LIMIT}
        if name == "anthropic-sdk":
            http = anthropic.DefaultHttpxClient(verify=TLS)
            return Messages(enter(anthropic.Anthropic(base_url=url, http_client=http, **own)))
        http = openai.DefaultHttpxClient(verify=TLS)
        openais = enter(openai.OpenAI(base_url=f"{url}/v1", http_client=http, **own))
        return Chat(openais) if name == "chat-sdk" else Responses(openais)


@pytest.fixture
def clients(gateway: Gateway) -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(gateway.url, gateway.key, stack)


every_pair = pytest.mark.parametrize(
    ("client", "up"), [pytest.param(client, up, id=f"{client}-{up}") for client in CLIENTS for up in UPSTREAMS]
)
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])

FINISHES = {
    "chat-sdk": ("stop", "tool_calls"),
    "responses-sdk": ("completed", "completed"),
    "anthropic-sdk": ("end_turn", "tool_use"),
    "gemini-sdk": ("STOP", "STOP"),
}


class Pair:
    """One SDK, and one upstream that says what it is told to."""

    def __init__(self, client: Client, upstream: RemoteUpstream, up: str, *, streamed: bool) -> None:
        self._client = client
        self._upstream = upstream
        self._up = up
        self._streamed = streamed

    def run(self, wish: Wish, said: Said) -> tuple[Heard, dict[str, Any]]:
        """What the client heard, and the body that reached the upstream."""
        up = self._up
        play = Play(events=stream(up, said)) if self._streamed else Play(body=whole(up, said))
        self._upstream.use(Script(rules=(Rule(always=play),)))
        heard = (self._client.stream if self._streamed else self._client.ask)(NAMES[up], wish)
        (request,) = self._upstream.requests(1)
        assert request.key == f"sk-{up}-0123456789"
        assert PATHS[up] in request.path
        return heard, json.loads(request.body)

    def after(self, wish: Wish, heard: Heard, *given: str) -> Wish:
        """The same conversation with what the calls gave."""
        return self._client.results(wish, heard, given)


MakePair = Callable[..., Pair]


@pytest.fixture
def pair(clients: Clients, upstream: RemoteUpstream) -> MakePair:
    return lambda client, up, *, streamed: Pair(clients[client], upstream, up, streamed=streamed)


TEXT = "Hello there, \u00e9\u2028 friend."


@both_ways
@every_pair
def test_a_text_arrives_with_its_usage_and_its_end(pair: MakePair, client: str, up: str, streamed: bool) -> None:
    one = pair(client, up, streamed=streamed)
    heard, body = one.run(Wish(text="What now?"), Said(text=TEXT))

    assert heard.text == TEXT
    assert heard.finish == FINISHES[client][0]
    assert heard.usage == (INPUT, OUTPUT, 4)
    assert "What now?" in json.dumps(body)
    assert body.get("model", NAMES[up]) == NAMES[up]


CALLS = (("weather", {"city": "Z\u00fcrich"}), ("weather", {"city": "Rome"}))
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def tools_sent(up: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and schema of the one tool that an upstream was told of."""
    (tool,) = body["tools"]
    if up == CHAT:
        return tool["function"]["name"], tool["function"]["parameters"]
    if up == RESPONSES:
        return tool["name"], tool["parameters"]
    if up == ANTHROPIC:
        return tool["name"], tool["input_schema"]
    (declared,) = tool["functionDeclarations"]
    return declared["name"], next(declared[name] for name in declared if name.startswith("parameters"))


@both_ways
@every_pair
def test_parallel_calls_of_tools_arrive_whole(pair: MakePair, client: str, up: str, streamed: bool) -> None:
    one = pair(client, up, streamed=streamed)
    heard, body = one.run(Wish(tool=CITY), Said(calls=CALLS))

    assert heard.calls == list(CALLS)
    assert heard.finish == FINISHES[client][1]
    name, schema = tools_sent(up, body)
    assert name == "weather"
    assert schema["required"] == ["city"]


THOUGHT = "Let me think about that."


def turns_sent(up: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that was said before, in the upstream's own pieces, one after another."""
    if up == RESPONSES:
        return list(body["input"])
    if up == GEMINI:
        return [part for content in body["contents"] for part in content["parts"]]
    pieces: list[dict[str, Any]] = []
    for message in body["messages"]:
        content = message["content"]
        pieces += content if isinstance(content, list) else [message]
    return pieces


def calls_sent(up: str, body: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Id, name and arguments of the calls that the upstream is reminded of."""
    pieces = turns_sent(up, body)
    if up == GEMINI:
        made = [piece["functionCall"] for piece in pieces if "functionCall" in piece]
        return [(one.get("id", ""), one["name"], one["args"]) for one in made]
    if up == CHAT:
        told = [call for piece in pieces for call in piece.get("tool_calls") or ()]
        return [(one["id"], one["function"]["name"], json.loads(one["function"]["arguments"])) for one in told]
    if up == RESPONSES:
        items = [piece for piece in pieces if piece.get("type") == "function_call"]
        return [(one["call_id"], one["name"], json.loads(one["arguments"])) for one in items]
    return [(one["id"], one["name"], one["input"]) for one in pieces if one.get("type") == "tool_use"]


def results_sent(up: str, body: dict[str, Any]) -> list[tuple[str, str]]:
    """Id of the call, and what it gave."""
    pieces = turns_sent(up, body)
    if up == GEMINI:
        given = [piece["functionResponse"] for piece in pieces if "functionResponse" in piece]
        return [(one.get("id", ""), one["response"]["output"]) for one in given]
    if up == CHAT:
        return [(piece["tool_call_id"], piece["content"]) for piece in pieces if piece.get("role") == "tool"]
    if up == RESPONSES:
        items = [piece for piece in pieces if piece.get("type") == "function_call_output"]
        return [(one["call_id"], one["output"]) for one in items]
    return [(one["tool_use_id"], one["content"]) for one in pieces if one.get("type") == "tool_result"]


def signatures_sent(up: str, body: dict[str, Any]) -> list[str]:
    """The upstream's own seals that came back to it."""
    names = {CHAT: "", RESPONSES: "encrypted_content", ANTHROPIC: "signature", GEMINI: "thoughtSignature"}
    return [piece[names[up]] for piece in turns_sent(up, body) if piece.get(names[up])]


SIGNLESS = {("chat-sdk", RESPONSES), ("chat-sdk", ANTHROPIC), *((client, CHAT) for client in CLIENTS)}
"""Who has no place for whose signatures."""


@both_ways
@every_pair
def test_what_tools_gave_reaches_whoever_called_them(pair: MakePair, client: str, up: str, streamed: bool) -> None:
    """The second turn: calls, results and signed thoughts come back to the model that made them."""
    one = pair(client, up, streamed=streamed)
    asked = Wish(text="What now?", tool=CITY, think=True)
    first, _ = one.run(asked, Said(thought=THOUGHT, calls=CALLS))
    heard, body = one.run(one.after(asked, first, "22 degrees", "31 degrees"), Said(text=TEXT))

    assert heard.text == TEXT
    calls = calls_sent(up, body)
    assert [(name, arguments) for _, name, arguments in calls] == list(CALLS)
    assert results_sent(up, body) == [(calls[0][0], "22 degrees"), (calls[1][0], "31 degrees")]
    assert calls[0][0] != calls[1][0] or up == GEMINI == client.removesuffix("-sdk")
    assert signatures_sent(up, body) == ([] if (client, up) in SIGNLESS else [SEALED])


def effort_sent(up: str, body: dict[str, Any]) -> object:
    if up == CHAT:
        return body["reasoning_effort"]
    if up == RESPONSES:
        return body["reasoning"]["effort"]
    if up == ANTHROPIC:
        return body["output_config"]["effort"]
    config = body["generationConfig"]["thinkingConfig"]
    return str(config.get("thinkingLevel") or config["thinking_level"]).lower()


@both_ways
@every_pair
def test_thinking_is_asked_for_and_arrives(pair: MakePair, client: str, up: str, streamed: bool) -> None:
    one = pair(client, up, streamed=streamed)
    heard, body = one.run(Wish(think=True), Said(thought=THOUGHT, text=TEXT))

    assert heard.thought == THOUGHT
    assert heard.text == TEXT
    assert effort_sent(up, body) == "high"


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8d"
    "b00000000049454e44ae426082"
)
IMAGES: Mapping[str, Callable[[str], object]] = {
    CHAT: lambda data: {"url": f"data:image/png;base64,{data}"},
    RESPONSES: lambda data: f"data:image/png;base64,{data}",
    ANTHROPIC: lambda data: {"type": "base64", "media_type": "image/png", "data": data},
    GEMINI: lambda data: {"mimetype": "image/png", "data": data},
}


def _spelled(image: dict[str, Any]) -> dict[str, Any]:
    """Google's SDK writes `mime_type` where its API says `mimeType`; `detail` is OpenAI's own."""
    names = {"mime_type": "mimetype", "mimeType": "mimetype"} if "type" not in image else {}
    return {names.get(key, key): one for key, one in image.items() if key != "detail"}


def images_in(value: object) -> Iterator[object]:
    """Whatever stands where a vendor has images."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in {"image_url", "source", "inlineData"}:
                yield _spelled(inner) if isinstance(inner, dict) else inner
            else:
                yield from images_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from images_in(inner)


@every_pair
def test_an_image_reaches_the_upstream(pair: MakePair, client: str, up: str) -> None:
    one = pair(client, up, streamed=False)
    heard, body = one.run(Wish(image=PIXEL), Said(text=TEXT))

    (found,) = images_in(body)
    assert found == IMAGES[up](base64.b64encode(PIXEL).decode()), body
    assert heard.text == TEXT


def schema_sent(up: str, body: dict[str, Any]) -> dict[str, Any]:
    if up == CHAT:
        found = body["response_format"]["json_schema"]["schema"]
    elif up == RESPONSES:
        found = body["text"]["format"]["schema"]
    elif up == ANTHROPIC:
        found = body["output_config"]["format"]["schema"]
    else:
        found = body["generationConfig"]["responseJsonSchema"]
    return dict(found)


@both_ways
@every_pair
def test_a_schema_for_the_answer_reaches_the_upstream(pair: MakePair, client: str, up: str, streamed: bool) -> None:
    answer = '{"city": "Rome"}'
    one = pair(client, up, streamed=streamed)
    heard, body = one.run(Wish(schema=CITY), Said(text=answer))

    assert json.loads(heard.text) == {"city": "Rome"}
    assert schema_sent(up, body)["properties"] == CITY["properties"]


def failure_of(client: Client, model: str, *, streamed: bool = False) -> Any:
    with pytest.raises(client.refused()) as caught:
        (client.stream if streamed else client.ask)(model, Wish())
    return caught.value


@every_pair
def test_a_rate_limit_is_the_clients_own_kind_of_error(
    clients: Clients, upstream: RemoteUpstream, client: str, up: str
) -> None:
    """B25: told in the client's dialect, with our Retry-After and no header of the upstream's vendor."""
    headers = {"retry-after": "30", "x-ratelimit-limit-requests": "9", "anthropic-ratelimit-requests-limit": "9"}
    play = Play(status=429, headers=tuple(headers.items()), body=error(up, 429, "slow down"))
    upstream.use(Script(rules=(Rule(always=play),)))
    raised = failure_of(clients[client], f"{NAMES[up]}-limited-{client}")

    assert getattr(raised, "status_code", getattr(raised, "code", None)) == 429
    if client == "gemini-sdk":
        assert raised.status == "RESOURCE_EXHAUSTED"
    else:
        assert isinstance(raised, openai.RateLimitError | anthropic.RateLimitError)
        assert raised.response.headers["retry-after"] == "30"
        assert not [name for name in raised.response.headers if "ratelimit" in name]


@every_pair
def test_a_mistake_that_the_upstream_finds_is_the_clients_own_400(
    clients: Clients, upstream: RemoteUpstream, client: str, up: str
) -> None:
    """B27."""
    play = Play(status=400, body=error(up, 400, "that is too much"))
    upstream.use(Script(rules=(Rule(always=play),)))
    raised = failure_of(clients[client], NAMES[up])

    assert getattr(raised, "status_code", getattr(raised, "code", None)) == 400
    assert "that is too much" in str(raised)


@every_pair
def test_a_stream_that_breaks_off_is_an_error_and_no_end(
    clients: Clients, upstream: RemoteUpstream, client: str, up: str
) -> None:
    """B12 after commit."""
    said = Said(text=TEXT)
    cuts = {CHAT: -3, RESPONSES: -1, ANTHROPIC: -2, GEMINI: -1}
    upstream.use(Script(rules=(Rule(always=Play(events=stream(up, said)[: cuts[up]])),)))

    failure_of(clients[client], f"{NAMES[up]}-cut-{client}", streamed=True)


def test_a_stream_moves_on_to_another_vendors_model(clients: Clients, upstream: RemoteUpstream) -> None:
    """C9.1, B22: two vendors behind one alias, and the client of one of them sees only its own dialect."""
    limited = Rule(path="/v1/chat/completions", always=Play(events=(b"data: " + error(CHAT, 429, "slow") + b"\n\n",)))
    upstream.use(Script(rules=(limited, Rule(always=Play(events=stream(ANTHROPIC, Said(text=TEXT)))))))

    heard = clients["chat-sdk"].stream("best", Wish())

    assert heard.text == TEXT
    assert [request.key for request in upstream.requests(2)] == ["sk-chat-0123456789", "sk-anthropic-0123456789"]


COUNTS = {
    RESPONSES: b'{"object":"response.input_tokens","input_tokens":14}',
    ANTHROPIC: b'{"input_tokens":14}',
    GEMINI: b'{"totalTokens":14}',
}
COUNTERS: Mapping[str, Callable[[Any, str], int | None]] = {
    "responses-sdk": lambda one, model: one.client.responses.input_tokens.count(model=model, input="hi").input_tokens,
    "anthropic-sdk": lambda one, model: (
        one.client.messages.count_tokens(model=model, messages=[{"role": "user", "content": "hi"}]).input_tokens
    ),
    "gemini-sdk": lambda one, model: one.client.models.count_tokens(model=model, contents="hi").total_tokens,
}


@pytest.mark.parametrize("up", COUNTS)
@pytest.mark.parametrize("client", COUNTERS)
def test_tokens_are_counted_by_whoever_hosts_the_model(
    clients: Clients, upstream: RemoteUpstream, client: str, up: str
) -> None:
    upstream.use(Script(rules=(Rule(always=Play(body=COUNTS[up])),)))

    assert COUNTERS[client](clients[client], NAMES[up]) == 14


@pytest.mark.parametrize("client", COUNTERS)
def test_a_count_that_the_upstream_does_not_offer_is_refused(
    clients: Clients, upstream: RemoteUpstream, client: str
) -> None:
    """Never a guess."""
    with pytest.raises(clients[client].refused()) as caught:
        COUNTERS[client](clients[client], NAMES[CHAT])

    raised: Any = caught.value
    assert getattr(raised, "status_code", getattr(raised, "code", None)) == 501
    assert upstream.requests() == []


VECTORS = {
    CHAT: {
        "object": "list",
        "model": "x",
        "data": [{"object": "embedding", "index": place, "embedding": [0.5, place]} for place in range(2)],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    },
    GEMINI: {"embeddings": [{"values": [0.5, place]} for place in range(2)]},
}


@pytest.mark.parametrize("up", VECTORS)
@pytest.mark.parametrize("client", ["chat-sdk", "gemini-sdk"])
def test_embeddings_come_from_whoever_hosts_the_model(
    clients: Clients, upstream: RemoteUpstream, client: str, up: str
) -> None:
    upstream.use(Script(rules=(Rule(always=Play(body=json.dumps(VECTORS[up]).encode())),)))
    one = clients[client].client
    if client == "chat-sdk":
        found = [row.embedding for row in one.embeddings.create(model=NAMES[up], input=["a", "b"]).data]
    else:
        found = [row.values for row in one.models.embed_content(model=NAMES[up], contents=["a", "b"]).embeddings]

    assert found == [[0.5, 0.0], [0.5, 1.0]]


@pytest.mark.parametrize("client", ["chat-sdk", "gemini-sdk"])
def test_embeddings_that_the_vendor_does_not_have_are_refused(
    clients: Clients, upstream: RemoteUpstream, client: str
) -> None:
    one = clients[client]
    with pytest.raises(one.refused()) as caught:
        if client == "chat-sdk":
            one.client.embeddings.create(model=NAMES[ANTHROPIC], input="a")
        else:
            one.client.models.embed_content(model=NAMES[ANTHROPIC], contents="a")

    raised: Any = caught.value
    assert getattr(raised, "status_code", getattr(raised, "code", None)) == 501
    assert upstream.requests() == []


def test_every_sdk_lists_every_model(clients: Clients) -> None:
    expected = set(NAMES.values())
    assert {model.id for model in clients["chat-sdk"].client.models.list()} >= expected
    assert {model.id for model in clients["anthropic-sdk"].client.models.list()} >= expected
    assert {model.name.removeprefix("models/") for model in clients["gemini-sdk"].client.models.list()} >= expected


@pytest.mark.parametrize("up", [CHAT, RESPONSES, GEMINI])
def test_a_mistake_in_a_request_names_its_place(clients: Clients, upstream: RemoteUpstream, up: str) -> None:
    """B27: found while translating, before anybody is asked."""
    wrong: Any = [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]
    with pytest.raises(anthropic.BadRequestError) as caught:
        clients["anthropic-sdk"].client.messages.create(model=NAMES[up], max_tokens=9, messages=wrong)

    assert "messages[0].content[0].source" in str(caught.value)
    assert upstream.requests() == []


def test_openais_client_reads_the_place_as_param(clients: Clients, upstream: RemoteUpstream) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        clients["chat-sdk"].client.chat.completions.create(
            model=NAMES[ANTHROPIC], messages=[{"role": "user", "content": "hi"}], logprobs=True
        )

    assert caught.value.param == "logprobs"
    assert upstream.requests() == []


UNDER_TRIO = """
import sys

import anthropic
import openai
import trio

url, key, *models = sys.argv[1:]
messages = [{"role": "user", "content": "hi"}]


async def main() -> None:
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as one,
        anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0) as two,
    ):
        for model in models:
            async with await one.chat.completions.create(model=model, messages=messages, stream=True) as chunks:
                print("".join([part.choices[0].delta.content or "" async for part in chunks if part.choices]))
            async with two.messages.stream(model=model, max_tokens=99, messages=messages) as events:
                print(await events.get_final_text())


trio.run(main)
"""
"""A process of its own, because the SDKs leave async generators behind when they have read a stream's end."""


def test_the_async_sdks_under_trio_stream_from_every_upstream(gateway: Gateway, upstream: RemoteUpstream) -> None:
    plays = {up: Play(events=stream(up, Said(text="Hello there."))) for up in UPSTREAMS}
    rules = (Rule(key=f"sk-{up}-0123456789", always=play) for up, play in plays.items())
    upstream.use(Script(rules=tuple(rules)))
    command = [sys.executable, "-c", UNDER_TRIO, gateway.url, gateway.key, *NAMES.values()]

    with Process(command, env={}) as process:
        assert process.wait_code(60) == 0, process.stderr.text

    assert process.stdout.text.splitlines() == ["Hello there."] * 8
