"""What is lost on purpose is listed, does no harm, and is really all that is lost in silence."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from turnout_dialects import DIALECTS, DROPS, Drop, Untranslatable, translate_request

README = Path(__file__).parents[2] / "plugins" / "dialects" / "README.md"
MARK = "mark-4711"
CALL = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "x"}
DATA = "data:application/pdf;base64,AAAA"
IMAGE = "data:image/png;base64,AAAA"
SCHEMA = {"type": "object", "properties": {}}

BODIES: dict[str, dict[str, Any]] = {
    "openai.chat": {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
    },
    "openai.responses": {
        "input": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "name": "f"}],
        "text": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "reasoning": {},
    },
    "anthropic.messages": {
        "messages": [
            {"role": "assistant", "content": [CALL]},
            {"role": "user", "content": [RESULT, {"type": "text", "text": "hi"}]},
        ],
        "system": [{"type": "text", "text": "x"}],
        "tools": [{"name": "f", "input_schema": SCHEMA | {"additionalProperties": False}}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "adaptive"},
        "max_tokens": 9,
        "metadata": {},
    },
    "gemini.generate": {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"thinkingConfig": {}}},
}

CALLS: list[dict[str, Any]] = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
PDF = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}

# Where a member stands that is not in the bodies above: what comes first in the conversation, and the way to it there.
PLACES: dict[tuple[str, str], tuple[dict[str, Any], tuple[Any, ...]]] = {
    ("openai.chat", "messages[].reasoning_content"): ({"role": "assistant", "content": "x"}, ()),
    ("openai.chat", "messages[].reasoning"): ({"role": "assistant", "content": "x"}, ()),
    ("openai.chat", "messages[].annotations"): ({"role": "assistant", "content": "x"}, ()),
    ("openai.chat", "messages[].extra_content"): ({"role": "assistant", "content": "x"}, ()),
    ("openai.chat", "messages[].content[].thinking"): (
        {"role": "assistant", "content": [{"type": "thinking"}, {"type": "text", "text": "x"}]},
        ("content", 0),
    ),
    ("openai.chat", "messages[].content[].reference_ids"): (
        {"role": "assistant", "content": [{"type": "reference"}, {"type": "text", "text": "x"}]},
        ("content", 0),
    ),
    ("openai.chat", "messages[].tool_calls[].extra_content"): (
        {"role": "assistant", "tool_calls": CALLS},
        ("tool_calls", 0),
    ),
    ("openai.chat", "messages[].tool_calls[].index"): ({"role": "assistant", "tool_calls": CALLS}, ("tool_calls", 0)),
    ("openai.chat", "messages[].content[].cache_control"): (
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        ("content", 0),
    ),
    ("openai.chat", "messages[].content[].prompt_cache_breakpoint"): (
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        ("content", 0),
    ),
    ("openai.chat", "messages[].content[].image_url.detail"): (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]},
        ("content", 0, "image_url"),
    ),
    ("openai.chat", "messages[].content[].file.filename"): (
        {"role": "user", "content": [{"type": "file", "file": {"file_data": DATA}}]},
        ("content", 0, "file"),
    ),
    ("openai.responses", "input[].caller"): (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        (),
    ),
    ("openai.responses", "input[].content[].annotations"): (
        {"role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        ("content", 0),
    ),
    ("openai.responses", "input[].content[].logprobs"): (
        {"role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        ("content", 0),
    ),
    ("openai.responses", "input[].content[].prompt_cache_breakpoint"): (
        {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
        ("content", 0),
    ),
    ("openai.responses", "input[].content[].detail"): (
        {"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]},
        ("content", 0),
    ),
    ("openai.responses", "input[].content[].filename"): (
        {"role": "user", "content": [{"type": "input_file", "file_data": DATA}]},
        ("content", 0),
    ),
    ("anthropic.messages", "messages[].content[].citations"): (
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        ("content", 0),
    ),
    ("anthropic.messages", "messages[].content[].title"): (
        {"role": "user", "content": [{"type": "document", "source": PDF}]},
        ("content", 0),
    ),
    ("anthropic.messages", "messages[].content[].is_error"): (
        {"role": "user", "content": [RESULT]},
        ("content", 0),
    ),
    ("gemini.generate", "contents[].parts[].inlineData.displayName"): (
        {"parts": [{"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}]},
        ("parts", 0, "inlineData"),
    ),
}

# Values of a type that the member needs; the rest are objects or texts with a mark.
VALUES: dict[str, Any] = {
    "seed": 4711,
    "presence_penalty": 1.4711,
    "frequency_penalty": 1.4711,
    "presencePenalty": 1.4711,
    "frequencyPenalty": 1.4711,
    "disable_parallel_tool_use": True,
    "strict": True,
    "summary": "auto",
    "generate_summary": "auto",
    "display": "summarized",
    "includeThoughts": True,
    "top_k": 4711,
    "topK": 4711,
    "parallel_tool_calls": False,
    "is_error": True,
    "include": [MARK],
    "safetySettings": [{"category": MARK}],
    "input_examples": [{"a": MARK}],
    "eager_input_streaming": True,
    "store": True,
    "citations": [{"cited_text": MARK}],
    "cache_control": {"type": MARK},
    "prompt_cache_breakpoint": {"mode": MARK},
    "annotations": [{"type": MARK}],
    "logprobs": [{"token": MARK}],
    "thinking": [{"type": "text", "text": MARK}],
    "reference_ids": [MARK],
    "index": 4711,
    "caller": {"type": "direct"},
    "extra_content": {"google": {"thought_signature": MARK}},
}
SHOWN = ('"summary":"auto"', '"includeThoughts":true', '"display":"summarized"')
TRACES = {
    "parallel_tool_calls": ("parallel", '"disable_parallel_tool_use":true'),
    "disable_parallel_tool_use": ('"parallel_tool_calls":false',),
    "strict": ('"strict":true',),
    "summary": SHOWN,
    "generate_summary": SHOWN,
    "display": SHOWN,
    "includeThoughts": SHOWN,
    "is_error": ('"error":"x"', "is_error"),
    "store": ('"store":true',),
    "eager_input_streaming": ("eager",),
    "caller": ("direct",),
}
TURNS = {"openai.chat": "messages", "openai.responses": "input", "anthropic.messages": "messages"}


def with_member(drop: Drop) -> tuple[bytes, tuple[str, ...]]:
    """A request that has the member, and what would show it in another dialect."""
    body: dict[str, Any] = json.loads(json.dumps(BODIES[drop.source] | {"model": "m"}))
    *way, name = re.sub(r"\[\]", ".0", drop.path).split(".")
    turn, inside = PLACES.get((drop.source, drop.path), ({}, ()))
    holder: Any = body
    if turn:
        holder = json.loads(json.dumps(turn))
        body[TURNS.get(drop.source, "contents")].insert(1 if name == "is_error" else 0, holder)
        way = list(inside)
    for step in way:
        holder = holder[0] if step == "0" else holder[step]
    holder[name] = VALUES.get(name, MARK)
    value = VALUES.get(name)
    trace = (str(value),) if isinstance(value, int | float) and not isinstance(value, bool) else (MARK,)
    return json.dumps(body).encode(), TRACES.get(name, trace)


@pytest.mark.parametrize("drop", DROPS, ids=lambda drop: f"{drop.source}:{drop.path}")
def test_each_drop_is_dropped_and_nothing_else(drop: Drop) -> None:
    """Issue item 3: a documented, tested drop, never silent."""
    body, traces = with_member(drop)
    for target in sorted(DIALECTS - {drop.source}):
        made = translate_request(body, drop.source, target, model="claude-sonnet-4-5", stream=False).decode()
        assert any(trace in made for trace in traces) is (target in drop.kept), target


def test_the_readme_lists_each_drop() -> None:
    text = README.read_text(encoding="utf-8")
    missing = [drop.path for drop in DROPS if f"`{drop.path}`" not in text]
    assert missing == []


def test_a_place_where_a_request_must_be_computed_is_never_dropped() -> None:
    body = json.dumps(BODIES["anthropic.messages"] | {"inference_geo": "eu"}).encode()
    for target in sorted(DIALECTS - {"anthropic.messages"}):
        with pytest.raises(Untranslatable, match="inference_geo"):
            translate_request(body, "anthropic.messages", target, model="m", stream=False)
