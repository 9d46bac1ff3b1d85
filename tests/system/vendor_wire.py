"""What a vendor's upstream answers, in its own format: whole, or event by event.

Shapes from platform.openai.com/docs/api-reference (chat, responses and their streaming), platform.claude.com/docs/en/
build-with-claude/streaming and ai.google.dev/api/generate-content (read 2026-11-23).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

CHAT, RESPONSES, ANTHROPIC, GEMINI = "chat", "responses", "anthropic", "gemini"
UPSTREAMS = (CHAT, RESPONSES, ANTHROPIC, GEMINI)


@attrs.frozen(kw_only=True)
class Said:
    """What the model says."""

    text: str = ""
    thought: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()


INPUT, OUTPUT = 11, 7
"""Tokens."""

SEALED = "c2VhbGVk"
"""What a vendor signs its reasoning with; Gemini signs the first of several calls."""


def whole(upstream: str, said: Said) -> bytes:
    return json.dumps(_WHOLE[upstream](said)).encode()


def stream(upstream: str, said: Said) -> tuple[bytes, ...]:
    """One piece for each event."""
    return tuple(_STREAM[upstream](said))


def error(upstream: str, status: int, message: str) -> bytes:
    """The body of a refusal."""
    if upstream == ANTHROPIC:
        kind = {429: "rate_limit_error", 400: "invalid_request_error"}[status]
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    if upstream == GEMINI:
        word = {429: "RESOURCE_EXHAUSTED", 400: "INVALID_ARGUMENT"}[status]
        return json.dumps({"error": {"code": status, "message": message, "status": word}}).encode()
    kind = {429: "rate_limit_exceeded", 400: "invalid_request_error"}[status]
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": None}}).encode()


def _pieces(text: str) -> list[str]:
    """Two halves, as a stream brings a text."""
    half = len(text) // 2
    return [piece for piece in (text[:half], text[half:]) if piece]


def _chat_usage() -> dict[str, Any]:
    return {
        "prompt_tokens": INPUT,
        "completion_tokens": OUTPUT,
        "total_tokens": INPUT + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


def _chat_head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": "gpt-5.2"}


def _chat_call(place: int, name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_whole(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.thought:
        message["reasoning_content"] = said.thought
    if said.calls:
        message["tool_calls"] = [
            _chat_call(place, name, json.dumps(arguments)) for place, (name, arguments) in enumerate(said.calls)
        ]
    finish = "tool_calls" if said.calls else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return _chat_head("chat.completion") | {"choices": [choice], "usage": _chat_usage()}


def _chat_stream(said: Said) -> Iterator[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in _pieces(said.thought)]
    deltas += [{"content": piece} for piece in _pieces(said.text)]
    for place, (name, arguments) in enumerate(said.calls):
        deltas.append({"tool_calls": [{"index": place, **_chat_call(place, name, "")}]})
        deltas += [
            {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}
            for piece in _pieces(json.dumps(arguments))
        ]
    finish = "tool_calls" if said.calls else "stop"
    head = _chat_head("chat.completion.chunk")
    for delta in deltas:
        yield _data(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield _data(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    yield _data(head | {"choices": [], "usage": _chat_usage()})
    yield b"data: [DONE]\n\n"


def _data(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


def _response(status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    usage = {
        "input_tokens": INPUT,
        "output_tokens": OUTPUT,
        "total_tokens": INPUT + OUTPUT,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "gpt-5.2",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if status == "completed" else None,
    }


def _items(said: Said) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if said.thought:
        summary = [{"type": "summary_text", "text": said.thought}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": SEALED})
    if said.text:
        part = {"type": "output_text", "text": said.text, "annotations": []}
        items.append({"type": "message", "id": "m_1", "role": "assistant", "status": "completed", "content": [part]})
    for place, (name, arguments) in enumerate(said.calls):
        own = {"call_id": f"call_{place}", "name": name, "arguments": json.dumps(arguments)}
        items.append({"type": "function_call", "id": f"fc_{place}", "status": "completed", **own})
    return items


def _responses_whole(said: Said) -> dict[str, Any]:
    return _response("completed", _items(said))


def _responses_stream(said: Said) -> Iterator[bytes]:
    number = iter(range(1000))

    def event(kind: str, **members: Any) -> bytes:
        return _event(kind, **members, sequence_number=next(number))

    yield event("response.created", response=_response("in_progress", []))
    for place, item in enumerate(_items(said)):
        at = {"item_id": item["id"], "output_index": place}
        opened: dict[str, dict[str, Any]] = {
            "reasoning": {"summary": []},
            "message": {"content": []},
            "function_call": {"arguments": ""},
        }
        kind = item["type"]
        yield event("response.output_item.added", output_index=place, item=item | opened[kind])
        if kind == "reasoning":
            part = item["summary"][0]
            yield event("response.reasoning_summary_part.added", **at, summary_index=0, part=part | {"text": ""})
            for piece in _pieces(part["text"]):
                yield event("response.reasoning_summary_text.delta", **at, summary_index=0, delta=piece)
            yield event("response.reasoning_summary_text.done", **at, summary_index=0, text=part["text"])
            yield event("response.reasoning_summary_part.done", **at, summary_index=0, part=part)
        elif kind == "message":
            part = item["content"][0]
            yield event("response.content_part.added", **at, content_index=0, part=part | {"text": ""})
            for piece in _pieces(part["text"]):
                yield event("response.output_text.delta", **at, content_index=0, delta=piece, logprobs=[])
            yield event("response.output_text.done", **at, content_index=0, text=part["text"], logprobs=[])
            yield event("response.content_part.done", **at, content_index=0, part=part)
        else:
            for piece in _pieces(item["arguments"]):
                yield event("response.function_call_arguments.delta", **at, delta=piece)
            own = {"name": item["name"], "arguments": item["arguments"]}
            yield event("response.function_call_arguments.done", **at, **own)
        yield event("response.output_item.done", output_index=place, item=item)
    yield event("response.completed", response=_response("completed", _items(said)))


def _blocks(said: Said) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": SEALED})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for place, (name, arguments) in enumerate(said.calls):
        blocks.append({"type": "tool_use", "id": f"toolu_{place}", "name": name, "input": dict(arguments)})
    return blocks


def _anthropic_whole(said: Said) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": _blocks(said),
        "stop_reason": "tool_use" if said.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT - 4, "cache_read_input_tokens": 4, "output_tokens": OUTPUT},
    }


def _anthropic_stream(said: Said) -> Iterator[bytes]:
    message = _anthropic_whole(said)
    usage = message["usage"] | {"output_tokens": 1}
    yield _event("message_start", message=message | {"content": [], "stop_reason": None, "usage": usage})
    yield _event("ping")
    for place, block in enumerate(_blocks(said)):
        opened: dict[str, dict[str, Any]] = {
            "thinking": {"thinking": "", "signature": ""},
            "text": {"text": ""},
            "tool_use": {"input": {}},
        }
        kind = block["type"]
        yield _event("content_block_start", index=place, content_block=block | opened[kind])
        deltas: list[dict[str, Any]]
        if kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif kind == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
        else:
            pieces = _pieces(json.dumps(block["input"]))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        for delta in deltas:
            yield _event("content_block_delta", index=place, delta=delta)
        yield _event("content_block_stop", index=place)
    stopped = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=stopped, usage={"output_tokens": OUTPUT})
    yield _event("message_stop")


def _parts(said: Said) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if said.thought:
        parts.append({"text": said.thought, "thought": True})
    if said.text:
        parts.append({"text": said.text})
    calls: list[dict[str, Any]] = [
        {"functionCall": {"name": name, "args": dict(arguments)}} for name, arguments in said.calls
    ]
    if calls:
        calls[0]["thoughtSignature"] = SEALED
    return parts + calls


def _content(parts: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
    counts = {
        "promptTokenCount": INPUT,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": OUTPUT,
        "totalTokenCount": INPUT + OUTPUT,
    }
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0} | members
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "gemini-3.8-flash", "responseId": "r1"}


def _gemini_whole(said: Said) -> dict[str, Any]:
    return _content(_parts(said), finishReason="STOP")


def _gemini_stream(said: Said) -> Iterator[bytes]:
    for part in _parts(said):
        for piece in _pieces(part["text"]) if "text" in part else [""]:
            shown = part | ({"text": piece} if piece else {})
            yield _data(_content([shown])).replace(b"\n\n", b"\r\n\r\n")
    yield _data(_content([{"text": ""}], finishReason="STOP")).replace(b"\n\n", b"\r\n\r\n")


_WHOLE: Mapping[str, Callable[[Said], dict[str, Any]]] = {
    CHAT: _chat_whole,
    RESPONSES: _responses_whole,
    ANTHROPIC: _anthropic_whole,
    GEMINI: _gemini_whole,
}
_STREAM: Mapping[str, Callable[[Said], Iterator[bytes]]] = {
    CHAT: _chat_stream,
    RESPONSES: _responses_stream,
    ANTHROPIC: _anthropic_stream,
    GEMINI: _gemini_stream,
}
