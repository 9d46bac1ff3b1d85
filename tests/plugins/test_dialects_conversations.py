"""Generated conversations: there and back again keeps the meaning, and nothing but named errors escapes (J5)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.errors import InvalidAsk
from turnout_dialects import DIALECTS, translate_request

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
IMAGE = st.sampled_from(["https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo="])
ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers(-9, 9) | st.text(max_size=3), max_size=2)
LEVELS = {
    "openai.responses": ["low", "high"],
    "anthropic.messages": ["low", "high"],
    "gemini.generate": ["low", "high"],
}
MODELS = {"gemini.generate": "gemini-3.8-flash", "anthropic.messages": "claude-sonnet-5-5"}


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """A chat as the library itself writes one, so that the way back can be compared."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(TEXT)})
    for turn in range(draw(st.integers(0, 3))):
        messages.append({"role": "user", "content": draw(TEXT | st.just(None)) or parts(draw)})
        calls = [(f"id_{turn}_{one}", f"tool_{one}", draw(ARGUMENTS)) for one in range(draw(st.integers(0, 2)))]
        if not calls:
            messages.append({"role": "assistant", "content": draw(TEXT)})
            continue
        told = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": compact(arguments)}}
            for id, name, arguments in calls
        ]
        messages.append({"role": "assistant", "content": draw(TEXT | st.none()), "tool_calls": told})
        messages += [{"role": "tool", "tool_call_id": id, "content": draw(TEXT)} for id, *_ in calls]
        messages.append({"role": "assistant", "content": draw(TEXT)})
    body: dict[str, Any] = {"model": "m", "messages": [*messages, {"role": "user", "content": draw(TEXT)}]}
    body["max_completion_tokens"] = draw(st.integers(2000, 9000))
    if draw(st.booleans()):
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
        tools = [{"name": f"tool_{one}", "description": draw(TEXT), "parameters": schema} for one in range(2)]
        body["tools"] = [{"type": "function", "function": tool} for tool in tools]
        named = {"type": "function", "function": {"name": "tool_0"}}
        body["tool_choice"] = draw(st.sampled_from(["auto", "none", "required", named]))
    return body


def parts(draw: Callable[..., Any]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": draw(TEXT)}, {"type": "image_url", "image_url": {"url": draw(IMAGE)}}]


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def meaning(body: dict[str, Any]) -> dict[str, Any]:
    """A chat without what says nothing: defaults that a target spells out."""
    found: dict[str, Any] = json.loads(json.dumps(body))
    for message in found["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        for part in message["content"] if isinstance(message["content"], list) else ():
            part.get("image_url", {}).pop("detail", None)
    for tool in found.get("tools", ()):
        tool["function"].pop("strict", None)
    return {name: value for name, value in found.items() if name not in {"model", "store"}}


@settings(max_examples=60)
@pytest.mark.parametrize("target", sorted(DIALECTS - {"openai.chat"}))
@given(body=conversations())
def test_there_and_back_again_keeps_the_meaning(target: str, body: dict[str, Any]) -> None:
    """J5: A to B to A."""
    model = MODELS.get(target, "gpt-6-astra")
    there = translate_request(json.dumps(body).encode(), "openai.chat", target, model=model, stream=False)
    back = translate_request(there, target, "openai.chat", model="m", stream=False)
    assert meaning(json.loads(back)) == meaning(body)


@settings(max_examples=40)
@pytest.mark.parametrize("source", sorted(DIALECTS))
@given(body=conversations(), data=st.data())
def test_any_conversation_gets_through_or_is_refused_by_name(
    source: str, body: dict[str, Any], data: st.DataObject
) -> None:
    """J5, F11: mutated requests end in a translation or in an error of the caller's."""
    given = json.dumps(body).encode()
    if source != "openai.chat":
        given = translate_request(given, "openai.chat", source, model="gpt-6-astra", stream=False)
    odd = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.just([1])
    found = mutated(json.loads(given), data.draw, odd | st.just({}))
    for target in sorted(DIALECTS - {source}):
        try:
            translate_request(json.dumps(found).encode(), source, target, model="m", stream=True, thinking="high")
        except InvalidAsk as exc:
            assert exc.argument  # noqa: PT017  # either way is right


def mutated(value: Any, draw: Callable[..., Any], odd: st.SearchStrategy[Any]) -> Any:
    """The same value with one thing somewhere replaced."""
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        name = draw(st.sampled_from(sorted(value)))
        return value | {name: mutated(value[name], draw, odd)}
    if isinstance(value, list) and value and draw(st.integers(0, 5)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], mutated(value[place], draw, odd), *value[place + 1 :]]
    return draw(odd)


@pytest.mark.parametrize("target", sorted(LEVELS))
def test_effort_survives_there_and_back_again(target: str) -> None:
    for level in LEVELS[target]:
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "reasoning_effort": level}
        model = MODELS.get(target, "gpt-6-astra")
        there = translate_request(json.dumps(body).encode(), "openai.chat", target, model=model, stream=False)
        back = json.loads(translate_request(there, target, "openai.chat", model="m", stream=False))
        assert back["reasoning_effort"] == level


@pytest.mark.parametrize("target", sorted(DIALECTS - {"openai.chat"}))
def test_a_schema_for_the_answer_survives_there_and_back_again(target: str) -> None:
    """Issue item 3: structured output."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "response_format": wanted}
    model = MODELS.get(target, "gpt-6-astra")
    there = translate_request(json.dumps(body).encode(), "openai.chat", target, model=model, stream=False)
    back = json.loads(translate_request(there, target, "openai.chat", model="m", stream=False))
    assert back["response_format"]["json_schema"]["schema"] == schema


def test_geminis_own_schema_becomes_json_schema() -> None:
    """`ai.google.dev/api/caching#Schema` (read 2026-11-23)."""
    parameters = {
        "type": "OBJECT",
        "propertyOrdering": ["a", "type"],
        "properties": {
            "a": {"type": "ARRAY", "items": {"type": "STRING", "nullable": True}, "minItems": "2"},
            "type": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}]},
        },
    }
    tools = [{"function_declarations": [{"name": "f", "parameters": parameters}]}]
    body = {"contents": [{"parts": [{"text": "x"}]}], "tools": tools}
    made = translate_request(json.dumps(body).encode(), "gemini.generate", "openai.chat", model="m", stream=False)
    assert json.loads(made)["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 2},
            "type": {"anyOf": [{"type": "number"}, {"type": "boolean"}]},
        },
    }
