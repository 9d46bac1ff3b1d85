"""A conversation that began at another vendor, and goes on at the one whose dialect the client speaks."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from stream_reading import read_stream

from turnout import Ask, Call, Credential, Secret
from turnout_anthropic import Anthropic, AnthropicSettings
from turnout_dialects import DIALECTS, StreamTranslator, translate_reply
from turnout_gemini import Gemini, GeminiSettings
from turnout_openai import OpenAI, OpenAISettings
from turnout_wire import BlockReader
from turnout_wire.testing import Script, ScriptedTransport

CHAT, RESPONSES, MESSAGES, GENERATE = "openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"
CREDENTIAL = Credential(id="a", provider="p", api_key=Secret("sk-canary-0123456789"))
JSON = {"content-type": "application/json"}
UNSIGNED = "skip_thought_signature_validator"

NATIVES: dict[str, Any] = {
    MESSAGES: Anthropic(AnthropicSettings(), now=lambda: 0.0),
    RESPONSES: OpenAI(OpenAISettings(), now=lambda: 0.0),
    GENERATE: Gemini(GeminiSettings(), now=lambda: 0.0),
}
ANSWERS = {MESSAGES: b'{"content":[]}', RESPONSES: b'{"output":[]}', GENERATE: b'{"candidates":[]}'}
TURNS = {MESSAGES: "messages", RESPONSES: "input", GENERATE: "contents"}


def chat(**thought: str) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "so", "tool_calls": [call]} | thought
    return {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}


def message(**signed: str) -> dict[str, Any]:
    blocks = [
        {"type": "thinking", "thinking": "mull", **signed},
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {}},
    ]
    return {"type": "message", "content": blocks, "stop_reason": "tool_use"}


def response(**signed: str) -> dict[str, Any]:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "mull"}], **signed},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    return {"status": "completed", "output": items}


def generated(**signed: str) -> dict[str, Any]:
    parts = [
        {"text": "mull", "thought": True},
        {"text": "so"},
        {"functionCall": {"id": "c", "name": "f", "args": {}}, **signed},
    ]
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}


REPLIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "a chat without thoughts": (CHAT, chat()),
    "a chat that tells thoughts": (CHAT, chat(reasoning_content="mull")),
    "Anthropic": (MESSAGES, message(signature="c2ln")),
    "a look-alike of Anthropic": (MESSAGES, message()),
    "OpenAI": (RESPONSES, response(encrypted_content="c2ln")),
    "a look-alike of OpenAI": (RESPONSES, response()),
    "Gemini": (GENERATE, generated(thoughtSignature="c2ln")),
    "a Gemini of old": (GENERATE, generated()),
}
PAIRS = [
    pytest.param(client, name, id=f"{name} for {client}")
    for client in TURNS
    for name, (source, _) in REPLIES.items()
    if source != client
]


def chunks(reply: dict[str, Any]) -> Iterable[bytes]:
    """A chat's whole reply as its stream."""
    said = reply["choices"][0]["message"]
    call = said["tool_calls"][0] | {"index": 0}
    thought = {"reasoning_content": said["reasoning_content"]} if "reasoning_content" in said else {}
    for delta in (thought, {"content": said["content"]}, {"tool_calls": [call]}):
        yield b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"
    yield b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'


def answered(client: str, said: list[Any]) -> dict[str, Any]:
    """What a client sends next that keeps the model's turn as it came, and answers its call."""
    if client == MESSAGES:
        result = {"type": "tool_result", "tool_use_id": "c", "content": "42"}
        turns = [{"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
        return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}, *turns]}
    if client == GENERATE:
        response = {"functionResponse": {"id": "c", "name": "f", "response": {"output": "42"}}}
        asked = {"role": "user", "parts": [{"text": "hi"}]}
        return {"contents": [asked, {"role": "model", "parts": said}, {"role": "user", "parts": [response]}]}
    result = {"type": "function_call_output", "call_id": "c", "output": "42"}
    return {"model": "m", "input": [{"role": "user", "content": "hi"}, *said, result]}


def said_in(client: str, body: dict[str, Any]) -> list[Any]:
    """The model's turn in a whole reply."""
    if client == GENERATE:
        return list(body["candidates"][0]["content"]["parts"])
    return list(body["content"] if client == MESSAGES else body["output"])


def streamed(client: str, source: str, events: bytes) -> list[Any]:
    """The model's turn as a client puts it together from a stream."""
    machine = StreamTranslator(source, client, model="m", id="77", now=0)
    made = b"".join([*map(machine.feed, BlockReader().feed(events)), machine.end()])
    found = [json.loads(line[6:]) for line in made.splitlines() if line.startswith(b"data: ")]
    if client == GENERATE:
        parts = [part for one in found for part in one["candidates"][0]["content"]["parts"]]
        return [part for part in parts if part != {"text": ""}]
    if client == RESPONSES:
        return list(found[-1]["response"]["output"])
    blocks: list[Any] = []
    for one in found:
        if one["type"] == "content_block_start":
            blocks.append(one["content_block"])
        elif one["type"] == "content_block_delta":
            for name in {"thinking", "signature", "text"} & one["delta"].keys():
                blocks[-1][name] += one["delta"][name]
    return blocks


def made_call(client: str, body: bytes, transport: ScriptedTransport) -> Call:
    ask = Ask(model="m", dialect=client, payload=body)
    return Call(ask=ask, credential=CREDENTIAL, model="m", transport=transport)


async def sent(client: str, body: bytes, *, operation: str = "execute") -> bytes:
    """What the vendor of the client's own dialect gets."""
    answer = {"count": b'{"input_tokens":1,"totalTokens":1}'}.get(operation, ANSWERS[client])
    transport = ScriptedTransport(Script(headers=JSON, body=[answer]))
    call = made_call(client, body, transport)
    if operation == "stream":
        await read_stream(NATIVES[client].stream(call), transport)
    else:
        await getattr(NATIVES[client], operation)(call)
    return transport.requests[0].read()


def kinds(client: str, turn: Any) -> list[str]:
    """What a request says, without what was thought."""
    if client == MESSAGES:
        return [block["type"] for block in turn["content"]]
    if client == GENERATE:
        return [next(name for name in ("functionCall", "thought", "text") if name in part) for part in turn["parts"]]
    return [str(turn.get("type"))]


def assert_clean(client: str, body: bytes) -> None:
    """Nothing of the foreign thoughts is left, the text and the call with its result are."""
    assert b"mull" not in body
    assert b"dHVybm91dDE6" not in body
    turns = json.loads(body)[TURNS[client]]
    assert b"42" in body
    told = [one for turn in turns[1:-1] for one in kinds(client, turn)]
    assert (
        told
        == {
            MESSAGES: ["text", "tool_use"],
            RESPONSES: ["message", "function_call"],
            GENERATE: ["text", "functionCall"],
        }[client]
    )
    if client == GENERATE:
        assert turns[1]["parts"][-1]["thoughtSignature"] == UNSIGNED


@pytest.mark.parametrize(("client", "name"), PAIRS)
async def test_what_another_vendor_thought_does_not_reach_the_clients_own(client: str, name: str) -> None:
    source, reply = REPLIES[name]
    made = translate_reply(json.dumps(reply).encode(), source, client, model="m", id="77", now=0)
    body = answered(client, said_in(client, json.loads(made)))
    assert_clean(client, await sent(client, json.dumps(body).encode()))


@pytest.mark.parametrize("name", ["a chat without thoughts", "a chat that tells thoughts"])
@pytest.mark.parametrize("client", sorted(TURNS))
async def test_nor_does_what_it_thought_in_a_stream(client: str, name: str) -> None:
    source, reply = REPLIES[name]
    body = answered(client, streamed(client, source, b"".join(chunks(reply))))
    assert_clean(client, await sent(client, json.dumps(body).encode()))


@pytest.mark.parametrize("client", sorted(TURNS))
@pytest.mark.parametrize("operation", ["stream", "count"])
async def test_each_operation_leaves_it_out(client: str, operation: str) -> None:
    made = translate_reply(json.dumps(REPLIES["a chat that tells thoughts"][1]).encode(), CHAT, client, **META)
    body = answered(client, said_in(client, json.loads(made)))
    assert_clean(client, await sent(client, json.dumps(body).encode(), operation=operation))


META: dict[str, Any] = {"model": "m", "id": "77", "now": 0}


def sealed(origin: str, value: str = "own") -> str:
    """What this library hands out for a signature of another dialect's, as it did in every version."""
    text = json.dumps({"origin": origin, "value": value, "redacted": False, "id": ""}, separators=(",", ":"))
    return base64.urlsafe_b64encode(b"turnout1:" + text.encode()).decode()


@pytest.mark.parametrize("client", sorted(TURNS))
async def test_thoughts_that_the_vendor_signed_itself_pass(client: str) -> None:
    source, reply = next(one for one in REPLIES.values() if one[0] == client and "c2ln" in json.dumps(one))
    assert source == client
    body = json.dumps(answered(client, said_in(client, reply)), indent=1).encode()
    assert await sent(client, body) == body


@pytest.mark.parametrize(
    ("client", "thought", "opened"),
    [
        (MESSAGES, {"type": "thinking", "thinking": "a", "signature": sealed(MESSAGES)}, "signature"),
        (MESSAGES, {"type": "redacted_thinking", "data": sealed(MESSAGES)}, "data"),
        (RESPONSES, {"type": "reasoning", "summary": [], "encrypted_content": sealed(RESPONSES)}, "encrypted_content"),
        (GENERATE, {"text": "a", "thoughtSignature": sealed(GENERATE)}, "thoughtSignature"),
        (GENERATE, {"text": "a", "thought_signature": sealed(GENERATE)}, "thought_signature"),
    ],
)
async def test_a_seal_around_the_vendors_own_signature_is_opened(client: str, thought: Any, opened: str) -> None:
    said = [{"text": "mull", "thought": True}, thought] if client == GENERATE else [thought]
    body = answered(client, said)
    expected = json.loads(json.dumps(body).replace(thought[opened], "own"))
    assert json.loads(await sent(client, json.dumps(body).encode())) == expected


@pytest.mark.parametrize("damage", ["dHVybm91dDE6eyJvcmlnaW4i", "dHVybm91dDE6eyJvcmlnaW4iOiJ4In0", sealed("")])
async def test_a_damaged_seal_is_no_signature_of_the_vendors(damage: str) -> None:
    thought = {"type": "thinking", "thinking": "mull", "signature": damage}
    body = answered(MESSAGES, [thought, {"type": "text", "text": "x"}])
    assert b"mull" not in await sent(MESSAGES, json.dumps(body).encode())


async def test_all_else_of_such_a_request_stays_as_it_was_written() -> None:
    """Numbers beyond what most readers hold, order, spelling, escapes; a seal that somebody only talks about."""
    seal = sealed(RESPONSES)
    text = b'{"type" : "text", "text": "\\u00e9 \\ud83d\\ude00 %s", "n": 1.10}' % seal.encode()
    call = b'{"type":"tool_use", "id":"c","name":"f", "input":{"a":123456789012345678901234567890, "b":[ ], "a0":1e-7}}'
    own = b'{"type":"thinking","thinking":"%s","signature":"RE=="}' % seal.encode()
    thought = b'{"type":"thinking","thinking":"mull","signature":"%s"}' % seal.encode()
    asked = b'{"role":"user","content":"what is %s?"}' % seal.encode()
    turn = b'{"role":"assistant","content":[%s]}' % b",".join((own, thought, text, call))
    made = await sent(MESSAGES, b'{"zeta": 1.0, "messages":[%s,%s], "alpha" : {"x":  0.10}}' % (asked, turn))
    left = b'{"role":"assistant","content":[%s]}' % b",".join((own, text, call))
    assert made == b'{"zeta":1.0,"messages":[%s,%s],"alpha":{"x":  0.10}}' % (asked, left)


@pytest.mark.parametrize("client", sorted(TURNS))
async def test_a_turn_of_foreign_thoughts_alone_goes_as_a_whole(client: str) -> None:
    thoughts: dict[str, list[Any]] = {
        MESSAGES: [{"type": "thinking", "thinking": "mull", "signature": sealed("")}],
        RESPONSES: [{"type": "reasoning", "summary": [], "encrypted_content": sealed("")}],
        GENERATE: [{"text": "mull", "thought": True}, {"text": "", "thoughtSignature": sealed("")}],
    }
    made = json.loads(await sent(client, json.dumps(answered(client, thoughts[client])).encode()))
    assert len(made[TURNS[client]]) == 2


@pytest.mark.parametrize(
    ("thinking", "said", "kept"),
    [
        ({"type": "enabled", "budget_tokens": 2000}, [], False),
        ({"type": "adaptive"}, [], True),
        ({"type": "enabled", "budget_tokens": 2000}, [{"type": "thinking", "thinking": "a", "signature": "S"}], True),
    ],
)
async def test_a_budget_of_thinking_goes_with_the_thought_that_it_insists_on(
    thinking: Any, said: list[Any], kept: bool
) -> None:
    """Anthropic refuses a budget when the model's last turn, whose call is being answered, begins with no thought."""
    foreign = {"type": "thinking", "thinking": "mull", "signature": sealed("")}
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    body = answered(MESSAGES, [*said, foreign, call]) | {"thinking": thinking}
    made = json.loads(await sent(MESSAGES, json.dumps(body).encode()))
    assert ("thinking" in made) is kept

    body["messages"].append({"role": "assistant", "content": [*said, {"type": "text", "text": "done"}]})
    body["messages"].append({"role": "user", "content": "go on"})
    assert "thinking" in json.loads(await sent(MESSAGES, json.dumps(body).encode()))


@pytest.mark.parametrize("client", sorted(TURNS))
@pytest.mark.parametrize(
    "wrong", [b"[%s]", b'{"%s', b'{"TURNS":"%s"}', b'{"TURNS":["%s",7,null]}', b'{"TURNS":[{"content":{},"parts":7}]}']
)
async def test_a_body_that_is_wrong_goes_to_its_vendor_as_it_is(client: str, wrong: bytes) -> None:
    mark = sealed("").encode()
    body = wrong.replace(b"TURNS", TURNS[client].encode()).replace(b"%s", mark)
    made = await sent(client, body)
    assert made == body


def test_every_dialect_but_the_chat_has_a_place_for_seals() -> None:
    assert set(TURNS) == DIALECTS - {CHAT}


SIGNED = {"google": {"thought_signature": "c2ln"}}


def chat_signed(extra: Any) -> bytes:
    """A chat that goes on after a call, with Google's signatures where its own surface has them."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
    turn = {"role": "assistant", "content": None, "tool_calls": [call], "extra_content": extra}
    result = {"role": "tool", "tool_call_id": "c", "content": 'what is "thought_signature"?'}
    return json.dumps({"model": "m", "messages": [turn, result]}, indent=1).encode()


async def chatted(body: bytes, model: str, *, stream: bool) -> bytes:
    """What a native chat upstream gets."""
    events = [b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n']
    kind = {"content-type": "text/event-stream"} if stream else JSON
    transport = ScriptedTransport(Script(headers=kind, body=events if stream else [b'{"choices":[]}']))
    ask = Ask(model=model, dialect=CHAT, payload=body)
    call = Call(ask=ask, credential=CREDENTIAL, model=model, transport=transport)
    provider = OpenAI(OpenAISettings(), now=lambda: 0.0)
    if stream:
        await read_stream(provider.stream(call), transport)
    else:
        await provider.execute(call)
    return transport.requests[0].read()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("extra", "left"),
    [
        (SIGNED, None),
        ({"vertex": {"thought_signature": "c2ln"}}, None),
        (SIGNED | {"other": {"x": 1.10}}, {"other": {"x": 1.10}}),
        ({"google": {"thought_signature": "c2ln", "x": 1}}, {"google": {"x": 1}}),
    ],
)
async def test_googles_signatures_do_not_reach_other_native_chats(stream: bool, extra: Any, left: Any) -> None:
    """Many vendors refuse a message with a member that they do not know."""
    made = json.loads(await chatted(chat_signed(extra), "m", stream=stream))
    assert made["messages"][0].get("extra_content") == left
    assert made["messages"][0]["tool_calls"][0].get("extra_content") == left
    assert made["messages"][1] == json.loads(chat_signed(extra))["messages"][1]
    assert made["messages"][0]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "google/gemini-3-pro", "models/Gemini-3-pro"])
async def test_googles_signatures_reach_googles_own_chat_as_they_are(model: str) -> None:
    """Gemini 3 refuses calls without them."""
    body = chat_signed(SIGNED).replace(b'"m"', json.dumps(model).encode())
    assert await chatted(body, model, stream=False) == body


@pytest.mark.parametrize("extra", [None, 1, [], {"google": 1}, {"other": {"thought_signature": "c2ln"}}])
async def test_what_only_looks_like_a_signature_goes_as_it_is(extra: Any) -> None:
    made = json.loads(await chatted(chat_signed(extra), "m", stream=False))
    assert made["messages"] == json.loads(chat_signed(extra))["messages"]
