"""Replies of `anthropic.messages`.

`platform.claude.com/docs/en/api/messages/create` as the types of the vendor's SDK 2.12 tell it (read 2026-11-23).
"""

from collections.abc import Iterable
from typing import Any

from turnout_dialects._anthropic_blocks import read_call, read_thinking
from turnout_dialects._errors import BadReply, ErrorEvent
from turnout_dialects._form import ANTHROPIC, Part, Reasoning, Refusal, Reply, Text, ToolCall, Usage
from turnout_dialects._ids import call_id
from turnout_dialects._json import Node, parsed
from turnout_dialects._seal import seal

STOPS = {
    "end_turn": "end",
    "stop_sequence": "sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "calls",
    "pause_turn": "end",
    "refusal": "refusal",
}
WRITTEN_STOPS = {
    "end": "end_turn",
    "sequence": "stop_sequence",
    "length": "max_tokens",
    "calls": "tool_use",
    "filter": "refusal",
    "refusal": "refusal",
}


def read_reply(body: Node, id: str) -> Reply:  # noqa: ARG001  # only Gemini has calls without ids
    """A message in the intermediate form. Raises BadReply, ErrorEvent."""
    if body.text_or_none("type") == "error":
        raise ErrorEvent(body.any("error"))
    if not isinstance(body.any("content"), list):
        body.fail("content", "is missing")
    return Reply(
        parts=tuple(_parts(body.nodes("content"))),
        stop=STOPS.get(body.text("stop_reason"), "end"),
        stop_sequence=body.text_or_none("stop_sequence"),
        usage=read_usage(body.node("usage")),
    )


def _parts(blocks: Iterable[Node]) -> Iterable[Part]:
    for block in blocks:
        kind = block.text("type")
        if kind == "text":
            yield Text(block.text("text"))
        elif kind == "tool_use":
            yield read_call(block)
        elif kind in {"thinking", "redacted_thinking"}:
            yield read_thinking(block)


def read_usage(usage: Node | None, before: Usage | None = None) -> Usage | None:
    """Usage; in a stream the counts so far, `before` what earlier events told.

    `input_tokens` are those that no cache knew: the prompt's are the sum of three counts.
    """
    if usage is None:
        return before
    before = before or Usage()
    cached = usage.count("cache_read_input_tokens") if usage.has("cache_read_input_tokens") else before.cached
    written = usage.has("cache_creation_input_tokens")
    cache_write = usage.count("cache_creation_input_tokens") if written else before.cache_write
    fresh = before.input - before.cached - before.cache_write
    if usage.has("input_tokens"):
        fresh = usage.count("input_tokens")
    details = usage.node("output_tokens_details")
    return Usage(
        input=fresh + cached + cache_write,
        cached=cached,
        cache_write=cache_write,
        output=usage.count("output_tokens") if usage.has("output_tokens") else before.output,
        reasoning=details.count("thinking_tokens") if details else before.reasoning,
    )


def written_usage(usage: Usage) -> dict[str, Any]:
    """Usage as Anthropic tells it."""
    made: dict[str, Any] = {
        "input_tokens": max(0, usage.input - usage.cached - usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
    return made | ({"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {})


def write_reply(reply: Reply, *, model: str, id: str, now: float) -> dict[str, Any]:  # noqa: ARG001  # as its siblings
    """The reply as a message."""
    return {
        "id": f"msg_{id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [block for part in reply.parts if (block := written_block(part)) is not None],
        "stop_reason": WRITTEN_STOPS[reply.stop],
        "stop_sequence": reply.stop_sequence if reply.stop == "sequence" else None,
        "usage": written_usage(reply.usage or Usage()),
    }


def written_block(part: Part) -> dict[str, Any] | None:
    """A block of content; None for empty text and kinds that a model does not say. Raises BadReply."""
    if isinstance(part, Text | Refusal):
        return {"type": "text", "text": part.text} if part.text else None
    if isinstance(part, ToolCall):
        return {
            "type": "tool_use",
            "id": call_id(part.id, ANTHROPIC),
            "name": part.name,
            "input": parsed(part.arguments, part.at, BadReply),
        }
    return written_thinking(part) if isinstance(part, Reasoning) else None


def written_thinking(part: Reasoning) -> dict[str, Any]:
    """A block of thinking; what Anthropic did not sign has a seal for its signature."""
    if part.signature and part.signature.redacted and part.signature.origin == ANTHROPIC:
        return {"type": "redacted_thinking", "data": part.signature.value}
    return {"type": "thinking", "thinking": part.text, "signature": seal(part.signature, ANTHROPIC)}
