"""Requests to count tokens, and the numbers that come back. Only upstreams count: nothing here guesses.

Formats: `platform.claude.com/docs/en/api/messages/count_tokens`, `ai.google.dev/api/tokens`, and for OpenAI the types
of `responses.input_tokens` in its SDK 3.57 (all read 2026-11-26). OpenAI's chat has no such endpoint.
"""

from collections.abc import Callable, Mapping
from typing import Any

from turnout_dialects._errors import BadReply, BadRequest
from turnout_dialects._form import ANTHROPIC, GEMINI, RESPONSES
from turnout_dialects._json import decoded, encoded
from turnout_dialects._translate import translate_request

COUNTING = frozenset({ANTHROPIC, GEMINI, RESPONSES})
"""Dialects in which tokens can be counted."""

_TAKEN: Mapping[str, frozenset[str]] = {
    RESPONSES: frozenset(
        {"model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice", "tools"}
    ),
    ANTHROPIC: frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}),
}
"""Members of a request that counting takes; what is left out has no tokens."""

_NUMBERS: Mapping[str, str] = {RESPONSES: "input_tokens", ANTHROPIC: "input_tokens", GEMINI: "totalTokens"}

_REPLIES: Mapping[str, Callable[[int], dict[str, Any]]] = {
    RESPONSES: lambda count: {"object": "response.input_tokens", "input_tokens": count},
    ANTHROPIC: lambda count: {"input_tokens": count},
    GEMINI: lambda count: {"totalTokens": count},
}


def translate_count_request(body: bytes, source: str, target: str, *, model: str, thinking: str | None = None) -> bytes:
    """A request to count the tokens of a prompt, for an upstream of another dialect. Raises as `translate_request`."""
    if source == GEMINI:
        body = _unwrapped(body)
    sent = translate_request(body, source, target, model=model, stream=False, thinking=thinking)
    members = decoded(sent, BadRequest).members
    if target == GEMINI:
        return encoded({"generateContentRequest": {"model": f"models/{model}", **members}})
    return encoded({name: value for name, value in members.items() if name in _TAKEN[target]})


def translate_count_reply(body: bytes, source: str, target: str) -> bytes:
    """The number that an upstream counted, as a client of another dialect reads it. Raises BadReply."""
    node = decoded(body, BadReply)
    count = node.whole(_NUMBERS[source])
    if count is None or count < 0:
        node.fail(_NUMBERS[source], "must be a number of tokens")
    return encoded(_REPLIES[target](count))


def _unwrapped(body: bytes) -> bytes:
    """What Google's `countTokens` may hold whole: a request to generate."""
    node = decoded(body, BadRequest)
    inner = node.node("generateContentRequest")
    if inner is None:
        return body
    return encoded({name: value for name, value in inner.members.items() if name != "model"})
