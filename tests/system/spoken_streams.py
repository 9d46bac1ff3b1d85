"""Generated streams in every dialect, and a client that understands them: what the tests of J5 share."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from turnout_dialects import Usage
from turnout_wire import BlockReader

RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
PIECE = st.tuples(st.sampled_from(["thought", "text", "call"]), st.lists(st.text(min_size=1, max_size=5), max_size=4))
ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers(-5, 5) | st.text(max_size=3) | st.none(), max_size=3)

# A reply: what was thought, said and called, in order; each with the pieces in which it is told.
Said = list[tuple[str, list[str], dict[str, Any]]]


@st.composite
def replies(draw: st.DrawFn) -> Said:
    said = []
    for kind, drawn in draw(st.lists(PIECE, max_size=5)):
        pieces, arguments = drawn, draw(ARGUMENTS) if kind == "call" else {}
        if kind == "call":
            text = json.dumps(arguments)
            cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)))
            pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        said.append((kind, pieces, arguments))
    return said


USAGES = st.builds(
    lambda cached, fresh, reasoning, visible: Usage(
        input=cached + fresh, cached=cached, output=reasoning + visible, reasoning=reasoning
    ),
    *[st.integers(0, 1000)] * 4,
)


def sse(data: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more})


def chat_stream(said: Said, usage: Usage, shuffle: Callable[[list[Any]], list[Any]]) -> Iterator[bytes]:
    """A chat tells thoughts, then text, then calls, whose deltas may come in any mixture."""
    yield chunk({"role": "assistant", "content": ""})
    for kind, member in (("thought", "reasoning_content"), ("text", "content")):
        for piece in (piece for one, pieces, _ in said if one == kind for piece in pieces):
            yield chunk({member: piece})
    calls = [pieces for kind, pieces, _ in said if kind == "call"]
    turns = shuffle([place for place, pieces in enumerate(calls) for _ in pieces])
    begun: dict[int, int] = {}
    for place in turns:
        call: dict[str, Any] = {"index": place, "function": {"arguments": calls[place][begun.get(place, 0)]}}
        if place not in begun:
            call |= {"id": f"id_{place}", "type": "function"}
            call["function"]["name"] = f"tool_{place}"
        begun[place] = begun.get(place, 0) + 1
        yield chunk({"tool_calls": [call]})
    yield chunk({}, "tool_calls" if calls else "stop")
    told = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    yield sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": told})
    yield b"data: [DONE]\n\n"


def anthropic_stream(said: Said, usage: Usage, _: object) -> Iterator[bytes]:
    start = {"input_tokens": usage.input - usage.cached, "cache_read_input_tokens": usage.cached, "output_tokens": 1}
    yield sse({"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": start}}, "message_start")
    yield sse({"type": "ping"}, "ping")
    calls = 0
    for index, (kind, pieces, _arguments) in enumerate(said):
        block: dict[str, Any] = {"type": "text", "text": ""}
        if kind == "thought":
            block = {"type": "thinking", "thinking": "", "signature": ""}
        elif kind == "call":
            block = {"type": "tool_use", "id": f"id_{calls}", "name": f"tool_{calls}", "input": {}}
            calls += 1
        yield sse({"type": "content_block_start", "index": index, "content_block": block}, "content_block_start")
        for piece in pieces:
            more = {"type": "text_delta", "text": piece}
            if kind == "thought":
                more = {"type": "thinking_delta", "thinking": piece}
            elif kind == "call":
                more = {"type": "input_json_delta", "partial_json": piece}
            yield sse({"type": "content_block_delta", "index": index, "delta": more}, "content_block_delta")
        if kind == "thought":
            signed = {"type": "signature_delta", "signature": "c2ln"}
            yield sse({"type": "content_block_delta", "index": index, "delta": signed}, "content_block_delta")
        yield sse({"type": "content_block_stop", "index": index}, "content_block_stop")
    told = {"output_tokens": usage.output, "output_tokens_details": {"thinking_tokens": usage.reasoning}}
    delta: dict[str, Any] = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
    yield sse({"type": "message_delta", "delta": delta, "usage": told}, "message_delta")
    yield sse({"type": "message_stop"}, "message_stop")


def responses_stream(said: Said, usage: Usage, _: object) -> Iterator[bytes]:
    def event(kind: str, **members: Any) -> bytes:
        return sse({"type": kind, "sequence_number": 0} | members, kind)

    yield event("response.created", response={"id": "resp_1", "status": "in_progress", "output": []})
    calls = 0
    for index, (kind, pieces, _arguments) in enumerate(said):
        text = "".join(pieces)
        place = {"output_index": index, "item_id": f"item_{index}"}
        if kind == "call":
            call = {"type": "function_call", "call_id": f"id_{calls}", "name": f"tool_{calls}"}
            calls += 1
            yield event("response.output_item.added", output_index=index, item=call | {"arguments": ""})
            for piece in pieces:
                yield event("response.function_call_arguments.delta", **place, delta=piece)
            yield event("response.function_call_arguments.done", **place, arguments=text)
            yield event("response.output_item.done", output_index=index, item=call | {"arguments": text})
        elif kind == "thought":
            item: dict[str, Any] = {"type": "reasoning", "id": f"rs_{index}", "summary": []}
            yield event("response.output_item.added", output_index=index, item=item)
            for piece in pieces:
                yield event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=piece)
            done = item | {"encrypted_content": "sealed", "summary": [{"type": "summary_text", "text": text}]}
            yield event("response.output_item.done", output_index=index, item=done)
        else:
            item = {"type": "message", "id": f"msg_{index}", "role": "assistant", "content": []}
            yield event("response.output_item.added", output_index=index, item=item)
            for piece in pieces:
                yield event("response.output_text.delta", **place, content_index=0, delta=piece, logprobs=[])
            yield event("response.output_item.done", output_index=index, item=item)
    told = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "total_tokens": usage.total,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    yield event("response.completed", response={"id": "resp_1", "status": "completed", "output": [], "usage": told})


def gemini_stream(said: Said, usage: Usage, _: object) -> Iterator[bytes]:
    def event(*parts: dict[str, Any], **more: Any) -> bytes:
        return sse({"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0} | more]})

    calls = 0
    for kind, pieces, arguments in said:
        if kind == "call":
            call = {"id": f"id_{calls}", "name": f"tool_{calls}", "args": arguments}
            calls += 1
            yield event({"functionCall": call, "thoughtSignature": "c2ln"})
            continue
        for piece in pieces:
            yield event({"text": piece} | ({"thought": True} if kind == "thought" else {}))
    told = {
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.total,
    }
    last = {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}], "usageMetadata": told}
    yield sse(last)


SPEAKERS: dict[str, Callable[..., Iterator[bytes]]] = {
    "openai.chat": chat_stream,
    "openai.responses": responses_stream,
    "anthropic.messages": anthropic_stream,
    "gemini.generate": gemini_stream,
}


class Heard:
    """What a client understands of a stream: written apart from the library, as a client would be."""

    def __init__(self, stream: bytes, dialect: str) -> None:
        self.thought = self.text = ""
        self.calls: dict[Any, list[str]] = {}
        self.stops: list[str] = []
        self.ends = 0
        self.usage: dict[str, Any] = {}
        self.open: set[int] = set()
        blocks = BlockReader().feed(stream)
        assert b"".join(blocks) == stream, "events are complete"
        hear = {
            "openai.chat": self.chat,
            "openai.responses": self.responses,
            "anthropic.messages": self.anthropic,
            "gemini.generate": self.gemini,
        }[dialect]
        for block in blocks:
            data = block.split(b"data: ", 1)[1].strip()
            assert not self.ends or dialect == "gemini.generate", "nothing follows the end"
            if data == b"[DONE]":
                self.ends += 1
            else:
                hear(json.loads(data))
        assert not self.open

    @property
    def called(self) -> list[tuple[str, str, Any]]:
        return [(id, name, json.loads(arguments)) for id, name, arguments in self.calls.values()]

    def chat(self, event: dict[str, Any]) -> None:
        ChatCompletionChunk.model_validate(event, strict=True)
        self.usage |= event.get("usage") or {}
        for choice in event["choices"]:
            delta = choice["delta"]
            self.thought += delta.get("reasoning_content") or ""
            self.text += delta.get("content") or ""
            for call in delta.get("tool_calls", ()):
                known = self.calls.setdefault(call["index"], [call.get("id", ""), call["function"].get("name", ""), ""])
                known[2] += call["function"].get("arguments", "")
            self.stops += [choice["finish_reason"]] if choice["finish_reason"] else []

    def responses(self, event: dict[str, Any]) -> None:
        RESPONSE_EVENT.validate_python(event)
        kind = event["type"]
        if kind == "response.output_item.added":
            assert not self.open
            self.open = {event["output_index"]}
            if event["item"]["type"] == "function_call":
                self.calls[event["output_index"]] = [event["item"]["call_id"], event["item"]["name"], ""]
        elif kind == "response.output_item.done":
            self.open.remove(event["output_index"])
        elif kind == "response.output_text.delta":
            self.text += event["delta"]
        elif kind == "response.reasoning_summary_text.delta":
            self.thought += event["delta"]
        elif kind == "response.function_call_arguments.delta":
            self.calls[event["output_index"]][2] += event["delta"]
        elif kind == "response.function_call_arguments.done":
            assert self.calls[event["output_index"]][2] == event["arguments"]
        elif kind == "response.completed":
            self.ends += 1
            self.usage = event["response"]["usage"]
            self.stops.append(event["response"]["status"])

    def anthropic(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "content_block_start":
            assert not self.open
            self.open = {event["index"]}
            if event["content_block"]["type"] == "tool_use":
                self.calls[event["index"]] = [event["content_block"]["id"], event["content_block"]["name"], ""]
        elif kind == "content_block_delta":
            assert event["index"] in self.open
            delta = event["delta"]
            self.text += delta.get("text", "")
            self.thought += delta.get("thinking", "")
            if delta["type"] == "input_json_delta":
                self.calls[event["index"]][2] += delta["partial_json"]
        elif kind == "content_block_stop":
            self.open.remove(event["index"])
        elif kind == "message_delta":
            self.stops.append(event["delta"]["stop_reason"])
            self.usage = event["usage"]
        elif kind == "message_stop":
            self.ends += 1

    def gemini(self, event: dict[str, Any]) -> None:
        assert not self.ends
        candidate = event["candidates"][0]
        for part in candidate["content"]["parts"]:
            if "functionCall" in part:
                call = part["functionCall"]
                self.calls[len(self.calls)] = [call["id"], call["name"], json.dumps(call["args"])]
            elif part.get("thought"):
                self.thought += part["text"]
            else:
                self.text += part["text"]
        if "finishReason" in candidate:
            self.stops.append(candidate["finishReason"])
            self.usage = event.get("usageMetadata", {})
            self.ends += 1


def counted(usage: dict[str, Any], dialect: str) -> tuple[int, int, int, int]:
    """Prompt, cached, output and reasoning tokens, as each vendor tells them."""
    if dialect == "anthropic.messages":
        cached = usage["cache_read_input_tokens"]
        reasoning = usage.get("output_tokens_details", {}).get("thinking_tokens", 0)
        return usage["input_tokens"] + cached, cached, usage["output_tokens"], reasoning
    if dialect == "gemini.generate":
        reasoning = usage.get("thoughtsTokenCount", 0)
        output = usage["candidatesTokenCount"] + reasoning
        return usage["promptTokenCount"], usage.get("cachedContentTokenCount", 0), output, reasoning
    before, after = ("prompt", "completion") if dialect == "openai.chat" else ("input", "output")
    return (
        usage[f"{before}_tokens"],
        usage[f"{before}_tokens_details"]["cached_tokens"],
        usage[f"{after}_tokens"],
        usage[f"{after}_tokens_details"]["reasoning_tokens"],
    )


STOPS = {
    "openai.chat": ("tool_calls", "stop"),
    "openai.responses": ("completed", "completed"),
    "anthropic.messages": ("tool_use", "end_turn"),
    "gemini.generate": ("STOP", "STOP"),
}
