"""What holds for any valid request and any answer, whatever the dialects; the vendors' own types are the judges."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anthropic.types import Message
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from spoken_requests import MODELS, PAIRS, check_request, requests, texts
from spoken_streams import SPEAKERS, USAGES, Heard, Said, counted, replies, sse

from turnout.errors import InvalidAsk
from turnout_dialects import (
    DIALECTS,
    StreamTranslator,
    Untranslatable,
    Usage,
    translate_reply,
    translate_request,
)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def attempt(body: Any, source: str, target: str) -> dict[str, Any] | InvalidAsk:
    """The translated request, or why there is none."""
    given = json.dumps(body).encode()
    try:
        found: dict[str, Any] = json.loads(translate_request(given, source, target, model=MODELS[target], stream=False))
    except InvalidAsk as exc:
        return exc
    return found


@settings(max_examples=25)
@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
def test_any_valid_request_becomes_a_valid_one_that_says_the_same_or_is_refused(
    source: str, target: str, data: st.DataObject
) -> None:
    """Issue item 3: nothing is lost in silence, and no vendor refuses what is made."""
    steps, body = data.draw(requests(source))
    check_request(body, source)
    made = attempt(body, source, target)
    if isinstance(made, Untranslatable):
        assert made.path
        return
    assert isinstance(made, dict), "a valid request is no bad one"
    check_request(made, target)
    told = list(strings(made))
    assert [text for text in texts(steps) if not any(text in one for one in told)] == []


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2.5, "", "x", [], [1], {}, {"a": 1}, [{}], [None], [{"type": "text"}]]
)


def mutated(value: Any, draw: Callable[..., Any]) -> Any:
    """The same with one value somewhere replaced, or one member more."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(ODD)
    if isinstance(value, list):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], mutated(value[place], draw), *value[place + 1 :]]
    name = draw(st.sampled_from([*sorted(value), "odd"]))
    return value | {name: mutated(value.get(name), draw)}


@settings(max_examples=60)
@pytest.mark.parametrize("source", sorted(DIALECTS))
@given(data=st.data())
def test_a_request_with_anything_in_any_place_is_translated_or_refused_with_a_place(
    source: str, data: st.DataObject
) -> None:
    """F11: never another error, whatever a client writes."""
    _, body = data.draw(requests(source))
    for _ in range(data.draw(st.integers(1, 2))):
        body = mutated(body, data.draw)
    for target in sorted(DIALECTS - {source}):
        made = attempt(body, source, target)
        assert isinstance(made, dict) or made.argument


def usage_in(dialect: str, usage: Usage) -> dict[str, Any]:
    if dialect == "anthropic.messages":
        return {
            "input_tokens": usage.input - usage.cached,
            "cache_read_input_tokens": usage.cached,
            "output_tokens": usage.output,
            "output_tokens_details": {"thinking_tokens": usage.reasoning},
        }
    if dialect == "gemini.generate":
        return {
            "promptTokenCount": usage.input,
            "cachedContentTokenCount": usage.cached,
            "candidatesTokenCount": usage.output - usage.reasoning,
            "thoughtsTokenCount": usage.reasoning,
        }
    before, after = ("prompt", "completion") if dialect == "openai.chat" else ("input", "output")
    return {
        f"{before}_tokens": usage.input,
        f"{after}_tokens": usage.output,
        f"{before}_tokens_details": {"cached_tokens": usage.cached},
        f"{after}_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def told(said: Said) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Kind, text, arguments and the number among the calls of each piece."""
    calls = 0
    for kind, pieces, arguments in said:
        yield kind, "".join(pieces), arguments, calls
        calls += kind == "call"


def whole_chat(said: Said, usage: Usage) -> dict[str, Any]:
    listed = list(told(said))
    calls = [
        {"id": f"id_{n}", "type": "function", "function": {"name": f"tool_{n}", "arguments": text}}
        for kind, text, _, n in listed
        if kind == "call"
    ]
    message = {
        "role": "assistant",
        "content": "".join(text for kind, text, *_ in listed if kind == "text"),
        "reasoning_content": "".join(text for kind, text, *_ in listed if kind == "thought"),
        "tool_calls": calls or None,
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {"choices": [choice], "usage": usage_in("openai.chat", usage)}


def whole_message(said: Said, usage: Usage) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    for kind, text, arguments, n in told(said):
        if kind == "call":
            blocks.append({"type": "tool_use", "id": f"id_{n}", "name": f"tool_{n}", "input": arguments})
        elif kind == "text":
            blocks.append({"type": "text", "text": text})
        else:
            blocks.append({"type": "thinking", "thinking": text, "signature": "c2ln"})
    stop = "tool_use" if any(kind == "call" for kind, *_ in said) else "end_turn"
    usage_told = usage_in("anthropic.messages", usage)
    return {"type": "message", "content": blocks, "stop_reason": stop, "usage": usage_told}


def whole_response(said: Said, usage: Usage) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for place, (kind, text, _, n) in enumerate(told(said)):
        if kind == "call":
            items.append({"type": "function_call", "call_id": f"id_{n}", "name": f"tool_{n}", "arguments": text})
        elif kind == "text":
            content = [{"type": "output_text", "text": text, "annotations": []}]
            items.append({"type": "message", "role": "assistant", "content": content})
        else:
            summary = [{"type": "summary_text", "text": text}]
            items.append({"type": "reasoning", "id": f"rs_{place}", "summary": summary, "encrypted_content": "sealed"})
    return {"status": "completed", "output": items, "usage": usage_in("openai.responses", usage)}


def whole_generated(said: Said, usage: Usage) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for kind, text, arguments, n in told(said):
        if kind == "call":
            call = {"id": f"id_{n}", "name": f"tool_{n}", "args": arguments}
            parts.append({"functionCall": call, "thoughtSignature": "c2ln"})
        elif text:
            parts.append({"text": text} | ({"thought": True} if kind == "thought" else {}))
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": usage_in("gemini.generate", usage)}


WHOLE = {
    "openai.chat": whole_chat,
    "openai.responses": whole_response,
    "anthropic.messages": whole_message,
    "gemini.generate": whole_generated,
}


def check_reply(reply: dict[str, Any], dialect: str) -> None:
    """Raises pydantic.ValidationError when the vendor's own types do not take an answer."""
    if dialect == "gemini.generate":
        types.GenerateContentResponse.model_validate_json(json.dumps(reply))
    else:
        kinds: dict[str, Any] = {
            "openai.chat": ChatCompletion,
            "openai.responses": Response,
            "anthropic.messages": Message,
        }
        kinds[dialect].model_validate(reply)


Meaning = tuple[str, str, list[tuple[str, str, Any]], str, tuple[int, int, int, int]]


def understood(reply: dict[str, Any], dialect: str) -> Meaning:
    """What a client understands of a whole answer: thoughts, text, calls, why it stopped, tokens."""
    if dialect == "openai.chat":
        message = reply["choices"][0]["message"]
        functions = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
        return (
            message.get("reasoning_content") or "",
            message["content"] or "",
            [(id, function["name"], json.loads(function["arguments"])) for id, function in functions],
            reply["choices"][0]["finish_reason"],
            counted(reply["usage"], dialect),
        )
    if dialect == "openai.responses":
        items = reply["output"]
        return (
            "".join(part["text"] for item in items for part in item.get("summary", ())),
            "".join(part["text"] for item in items for part in item.get("content", ())),
            [(one["call_id"], one["name"], json.loads(one["arguments"])) for one in items if "call_id" in one],
            reply["status"],
            counted(reply["usage"], dialect),
        )
    if dialect == "anthropic.messages":
        blocks = reply["content"]
        return (
            "".join(block.get("thinking", "") for block in blocks),
            "".join(block.get("text", "") for block in blocks),
            [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
            reply["stop_reason"],
            counted(reply["usage"], dialect),
        )
    heard = Heard(sse(reply), dialect)
    return heard.thought, heard.text, heard.called, heard.stops[0], counted(heard.usage, dialect)


@settings(max_examples=20)
@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(said=replies(), usage=USAGES)
def test_the_events_of_a_translated_stream_add_up_to_the_translated_answer(
    source: str, target: str, said: Said, usage: Usage
) -> None:
    """J5: text, thoughts, calls with their ids, why it stopped and tokens, once in one piece and once in events."""
    whole = json.dumps(WHOLE[source](said, usage)).encode()
    reply = json.loads(translate_reply(whole, source, target, model="m", id="1", now=1_700_000_000.5))
    check_reply(reply, target)

    machine = StreamTranslator(source, target, model="m", id="1", now=1_700_000_000.5)
    events = b"".join(map(machine.feed, SPEAKERS[source](said, usage, list))) + machine.end()
    heard = Heard(events, target)
    thought, text, called, stop, tokens = understood(reply, target)
    # A chat has one member for all thoughts: apart by a blank line in one piece, told on and on in a stream.
    thoughts = [heard.thought, thought]
    if target == "openai.chat":
        thoughts = [one.replace("\n\n", "") for one in thoughts]
    assert thoughts[0] == thoughts[1]
    assert (heard.text, heard.called, heard.stops) == (text, called, [stop])
    assert counted(heard.usage, target) == tokens
