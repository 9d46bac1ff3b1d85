"""Generated requests in every dialect, and what the vendors' own types say of one."""

import json
from collections.abc import Callable
from typing import Any

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google.genai import types
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import BaseModel, ConfigDict, TypeAdapter

from turnout_dialects import DIALECTS

CHAT, RESPONSES, MESSAGES, GENERATE = "openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"
MODELS = {
    CHAT: "gpt-6-astra",
    RESPONSES: "gpt-6-astra",
    MESSAGES: "claude-sonnet-5-5",
    GENERATE: "gemini-3.8-flash",
}
PAIRS = [(a, b) for a in sorted(DIALECTS) for b in sorted(DIALECTS) if a != b]

TEXTS = st.text(min_size=1, max_size=6)
NAMES = st.sampled_from(["f", "get_weather"])
ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers(-5, 5) | st.text(max_size=3) | st.none(), max_size=2)
SHOWN = st.sampled_from(["image", "linked image", "file"]) | TEXTS.map(lambda text: ("text", text))
CALLED = st.tuples(NAMES, ARGUMENTS, TEXTS, st.booleans())

# What was said: ("user", what is shown), ("say", a text), ("call", calls with their results).
Step = tuple[str, Any]
USER = st.tuples(st.just("user"), st.lists(SHOWN, min_size=1, max_size=3))
STEPS: st.SearchStrategy[list[Step]] = st.builds(
    lambda steps, last: [*steps, last],
    st.lists(
        USER | st.tuples(st.just("say"), TEXTS) | st.tuples(st.just("call"), st.lists(CALLED, min_size=1, max_size=2)),
        max_size=4,
    ),
    USER,
)

STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
SCHEMAS = st.sampled_from(
    [
        STRICT,
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"type": ["string", "null"]}}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {}},
    ]
)
PIXEL = "iVBORw0KGgo="
SHORT = st.integers(1, 9)
UNIT = st.sampled_from([0, 0.5, 1])


def _chat_part(shown: Any) -> dict[str, Any]:
    if shown == "image":
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}}
    if shown == "linked image":
        return {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    if shown == "file":
        return {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}}
    return {"type": "text", "text": shown[1]}


def _chat(steps: list[Step]) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"role": "system", "content": "s"}]
    for place, (kind, what) in enumerate(steps):
        if kind == "user":
            turns.append({"role": "user", "content": [_chat_part(one) for one in what]})
        elif kind == "say":
            turns.append({"role": "assistant", "content": what})
        else:
            calls = [
                {"id": f"c{place}_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
                for n, (name, given, *_) in enumerate(what)
            ]
            turns.append({"role": "assistant", "content": None, "tool_calls": calls})
            turns.extend(
                {"role": "tool", "tool_call_id": f"c{place}_{n}", "content": one[2]} for n, one in enumerate(what)
            )
    return {"model": "m", "messages": turns}


def _responses_part(shown: Any) -> dict[str, Any]:
    if shown == "image":
        return {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "low"}
    if shown == "linked image":
        return {"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"}
    if shown == "file":
        return {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}
    return {"type": "input_text", "text": shown[1]}


def _responses(steps: list[Step]) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for place, (kind, what) in enumerate(steps):
        if kind == "user":
            items.append({"role": "user", "content": [_responses_part(one) for one in what]})
        elif kind == "say":
            items.append({"role": "assistant", "content": what})
        else:
            for n, (name, given, *_) in enumerate(what):
                call = {"type": "function_call", "call_id": f"c{place}_{n}", "name": name}
                items.append(call | {"arguments": json.dumps(given), "status": "completed", "id": "fc"})
            items.extend(
                {"type": "function_call_output", "call_id": f"c{place}_{n}", "output": one[2]}
                for n, one in enumerate(what)
            )
    return {"model": "m", "input": items, "instructions": "s"}


def _anthropic_block(shown: Any) -> dict[str, Any]:
    if shown == "image":
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    if shown == "linked image":
        return {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    if shown == "file":
        source = {"type": "base64", "media_type": "application/pdf", "data": PIXEL}
        return {"type": "document", "source": source, "title": "a.pdf", "context": "c", "citations": {"enabled": True}}
    return {"type": "text", "text": shown[1], "cache_control": {"type": "ephemeral"}}


def _anthropic(steps: list[Step]) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for place, (kind, what) in enumerate(steps):
        if kind == "user":
            turns.append({"role": "user", "content": [_anthropic_block(one) for one in what]})
        elif kind == "say":
            turns.append({"role": "assistant", "content": what})
        else:
            calls = [
                {"type": "tool_use", "id": f"c{place}_{n}", "name": name, "input": given, "caller": {"type": "direct"}}
                for n, (name, given, *_) in enumerate(what)
            ]
            results = [
                {"type": "tool_result", "tool_use_id": f"c{place}_{n}", "content": one[2], "is_error": one[3]}
                for n, one in enumerate(what)
            ]
            turns += [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    return {"model": "m", "max_tokens": 9, "messages": turns, "system": [{"type": "text", "text": "s"}]}


def _gemini_part(shown: Any) -> dict[str, Any]:
    if shown == "image":
        return {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    if shown == "linked image":
        return {"fileData": {"mimeType": "image/png", "fileUri": "https://x/y.png"}}
    if shown == "file":
        return {"inlineData": {"mimeType": "application/pdf", "data": PIXEL, "displayName": "a.pdf"}}
    return {"text": shown[1]}


def _gemini(steps: list[Step]) -> dict[str, Any]:
    contents: list[dict[str, Any]] = []
    for kind, what in steps:
        if kind == "user":
            contents.append({"role": "user", "parts": [_gemini_part(one) for one in what]})
        elif kind == "say":
            contents.append({"role": "model", "parts": [{"text": what}]})
        else:
            calls = [{"functionCall": {"name": name, "args": given}} for name, given, *_ in what]
            results = [
                {"functionResponse": {"name": name, "response": {"error" if failed else "output": result}}}
                for name, _, result, failed in what
            ]
            contents += [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]
    return {"contents": contents, "systemInstruction": {"parts": [{"text": "s"}]}}


def _function(schema: Any, strict: bool) -> dict[str, Any]:
    return {"name": "f", "description": "d", "parameters": schema, "strict": strict and schema is STRICT}


_CHAT_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "tools": st.builds(
        lambda schema, strict: [{"type": "function", "function": _function(schema, strict)}], SCHEMAS, st.booleans()
    ),
    "tool_choice": st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "f"}}]),
    "parallel_tool_calls": st.booleans(),
    "response_format": SCHEMAS.map(
        lambda schema: {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "description": "d"}}
    )
    | st.just({"type": "json_object"})
    | st.just({"type": "text"}),
    "reasoning_effort": st.sampled_from(["none", "minimal", "low", "high", "xhigh"]),
    "max_completion_tokens": SHORT,
    "temperature": UNIT,
    "top_p": UNIT,
    "stop": st.sampled_from(["x", ["x", "y"]]),
    "seed": SHORT,
    "presence_penalty": UNIT,
    "logprobs": st.booleans(),
    "user": st.just("u"),
    "metadata": st.just({"a": "b"}),
    "store": st.booleans(),
    "verbosity": st.sampled_from(["low", "high"]),
    "n": st.just(1),
}
_RESPONSES_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "tools": st.builds(
        lambda schema, strict: [{"type": "function"} | _function(schema, strict)], SCHEMAS, st.booleans()
    ),
    "tool_choice": st.sampled_from(["auto", "none", "required", {"type": "function", "name": "f"}]),
    "parallel_tool_calls": st.booleans(),
    "text": SCHEMAS.map(lambda schema: {"format": {"type": "json_schema", "name": "x", "schema": schema}})
    | st.just({"verbosity": "low"}),
    "reasoning": st.sampled_from([{"effort": "low"}, {"effort": "high", "summary": "auto"}]),
    "max_output_tokens": SHORT,
    "temperature": UNIT,
    "top_p": UNIT,
    "top_logprobs": SHORT,
    "include": st.just(["reasoning.encrypted_content"]),
    "truncation": st.just("auto"),
    "safety_identifier": st.just("u"),
}
# Not `temperature` and `top_k`: only older models take them, and the vendor's types have them no more.
_ANTHROPIC_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "tools": st.builds(
        lambda schema, strict: [{"name": "f", "description": "d", "input_schema": schema, "strict": strict}],
        SCHEMAS,
        st.booleans(),
    ),
    "tool_choice": st.sampled_from(
        [{"type": "auto", "disable_parallel_tool_use": True}, {"type": "any"}, {"type": "tool", "name": "f"}]
    ),
    "output_config": st.just({"format": {"type": "json_schema", "schema": STRICT}}) | st.just({"effort": "low"}),
    "thinking": st.sampled_from(
        [{"type": "adaptive"}, {"type": "disabled"}, {"type": "enabled", "budget_tokens": 1024}]
    ),
    "stop_sequences": st.just(["x"]),
    "metadata": st.just({"user_id": "u"}),
    "service_tier": st.just("auto"),
}
_GEMINI_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "tools": SCHEMAS.map(lambda schema: [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]),
    "toolConfig": st.sampled_from(["AUTO", "ANY", "NONE", "VALIDATED"]).map(
        lambda mode: {"functionCallingConfig": {"mode": mode}}
    ),
    "generationConfig": st.fixed_dictionaries(
        {},
        optional={
            "temperature": UNIT,
            "topP": UNIT,
            "topK": SHORT,
            "maxOutputTokens": SHORT,
            "stopSequences": st.just(["x"]),
            "seed": SHORT,
            "responseLogprobs": st.booleans(),
            "thinkingConfig": st.sampled_from([{"thinkingBudget": 128}, {"includeThoughts": True}]),
        },
    )
    | SCHEMAS.map(lambda schema: {"responseMimeType": "application/json", "responseJsonSchema": schema}),
    "safetySettings": st.just([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
}

_SPELLERS: dict[str, tuple[Callable[[list[Step]], dict[str, Any]], dict[str, st.SearchStrategy[Any]]]] = {
    CHAT: (_chat, _CHAT_OPTIONS),
    RESPONSES: (_responses, _RESPONSES_OPTIONS),
    MESSAGES: (_anthropic, _ANTHROPIC_OPTIONS),
    GENERATE: (_gemini, _GEMINI_OPTIONS),
}


def requests(dialect: str) -> st.SearchStrategy[tuple[list[Step], dict[str, Any]]]:
    """What was said, and a request of the dialect that says it, with some of the members that it may have."""
    speller, members = _SPELLERS[dialect]
    options = st.lists(st.sampled_from(sorted(members)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: members[name] for name in names})
    )
    return st.tuples(STEPS, options).map(lambda drawn: (drawn[0], speller(drawn[0]) | drawn[1]))


def texts(steps: list[Step]) -> list[str]:
    """All texts that somebody said."""
    return [
        *(one[1] for kind, what in steps if kind == "user" for one in what if isinstance(one, tuple)),
        *(what for kind, what in steps if kind == "say"),
        *(one[2] for kind, what in steps if kind == "call" for one in what),
    ]


class _Generate(BaseModel):
    """The body of `generateContent`, which the vendor's SDK has no type for, made of the types that it has."""

    model_config = ConfigDict(extra="forbid")

    contents: list[types.Content]
    systemInstruction: types.Content | None = None  # noqa: N815  # as the vendor spells it
    tools: list[types.Tool] | None = None
    toolConfig: types.ToolConfig | None = None  # noqa: N815
    generationConfig: types.GenerationConfig | None = None  # noqa: N815
    safetySettings: list[types.SafetySetting] | None = None  # noqa: N815


def _closed(kind: Any) -> TypeAdapter[Any]:
    """A vendor's type that takes no members besides its own, at any depth."""
    return TypeAdapter(list[kind], config=ConfigDict(extra="forbid"))


_TYPES = {
    CHAT: _closed(CompletionCreateParamsNonStreaming),
    RESPONSES: _closed(ResponseCreateParamsNonStreaming),
    MESSAGES: _closed(MessageCreateParamsNonStreaming),
}


def check_request(body: dict[str, Any], dialect: str) -> None:
    """Raises pydantic.ValidationError when the vendor's own types do not take a request."""
    if dialect == GENERATE:
        _Generate.model_validate_json(json.dumps(body))
        return
    if dialect == RESPONSES:
        body = body | {"input": [_as_returned(item) for item in body["input"]]}
    _consume(_TYPES[dialect].validate_python([body]))


def _as_returned(item: dict[str, Any]) -> dict[str, Any]:
    """The type of an assistant's message is that of a returned one; the API takes it without what only that has."""
    if item.get("role") != "assistant" or isinstance(item["content"], str):
        return item
    content = [{"annotations": []} | part if part["type"] == "output_text" else part for part in item["content"]]
    return {"id": "msg_1", "status": "completed"} | item | {"content": content}


def _consume(value: Any) -> None:
    """Read all of it: pydantic checks an `Iterable` when it is read."""
    if isinstance(value, dict):
        for one in value.values():
            _consume(one)
    elif value is not None and not isinstance(value, str | int | float):
        for one in value:
            _consume(one)
