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

BODIES: dict[str, dict[str, Any]] = {
    "openai.chat": {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    },
    "openai.responses": {
        "input": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "name": "f"}],
        "text": {},
        "reasoning": {},
    },
    "anthropic.messages": {
        "messages": [
            {"role": "assistant", "content": [CALL]},
            {"role": "user", "content": [RESULT, {"type": "text", "text": "hi"}]},
        ],
        "tools": [{"name": "f", "input_schema": {}}],
        "max_tokens": 9,
        "metadata": {},
    },
    "gemini.generate": {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {}},
}

# Values of a type that the member needs; the rest are objects or texts with a mark.
VALUES: dict[str, Any] = {
    "seed": 4711,
    "presence_penalty": 1.4711,
    "frequency_penalty": 1.4711,
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
}
TRACES = {
    "parallel_tool_calls": ("parallel", '"disable_parallel_tool_use":true'),
    "is_error": ('"error":"x"', "is_error"),
    "store": ('"store":true',),
    "eager_input_streaming": ("eager",),
}


def with_member(drop: Drop) -> tuple[bytes, tuple[str, ...]]:
    """A request that has the member, and what would show it in another dialect."""
    body: dict[str, Any] = json.loads(json.dumps(BODIES[drop.source] | {"model": "m"}))
    *way, name = re.sub(r"\[\]", ".0", drop.path).split(".")
    if name == "reasoning_content":
        body["messages"].insert(0, {"role": "assistant", "content": "x"})
    holder: Any = body
    for step in way:
        holder = holder[0] if step == "0" else holder[step]
    if name == "is_error":
        holder = body["messages"][1]["content"][0]
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
