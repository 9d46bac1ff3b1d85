"""Readers of streams: one event in, what it says out. Each keeps only what later events refer to.

Unknown kinds of events are dropped (B15): vendors add them without notice. Sources as in the modules of whole replies,
and of events `platform.openai.com/docs/api-reference/responses-streaming` and
`platform.claude.com/docs/en/build-with-claude/streaming` (read 2026-11-23).
"""

from collections.abc import Iterator
from typing import Protocol

from turnout_dialects import _anthropic_reply, _chat_reply, _gemini_reply, _responses_reply
from turnout_dialects._anthropic_request_read import read_thinking
from turnout_dialects._chat_request_read import carried
from turnout_dialects._errors import BadReply, ErrorEvent
from turnout_dialects._form import ANTHROPIC, CHAT, GEMINI, RESPONSES, Reasoning, Text, ToolCall, Usage
from turnout_dialects._gemini_request_read import PartReader
from turnout_dialects._json import Node, decoded, encoded
from turnout_dialects._openai import read_logprobs, unsealed
from turnout_dialects._responses_request_read import read_reasoning
from turnout_dialects._stream_form import (
    CallDelta,
    CallStart,
    Counted,
    Ended,
    Finished,
    RefusalDelta,
    Signed,
    Stopped,
    StreamEvent,
    TextDelta,
    ThoughtDelta,
)


class StreamReader(Protocol):
    """Reads the data of one event after another."""

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """What an event says. Raises BadReply, ErrorEvent."""
        ...


def reader_of(dialect: str, id: str) -> StreamReader:
    """A reader of a stream in `dialect`; `id` is what ids of calls are made from that have none."""
    if dialect == CHAT:
        return ChatReader(id)
    if dialect == RESPONSES:
        return ResponsesReader()
    return AnthropicReader() if dialect == ANTHROPIC else GeminiReader(id)


class ChatReader:
    """Chunks of a chat completion."""

    def __init__(self, id: str) -> None:
        self._prefix = f"call_{id}"
        self._calls: dict[int, tuple[int, str]] = {}
        self._count = 0
        self._refused = False

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """What a chunk says."""
        if data.strip() == b"[DONE]":
            yield Finished()
            return
        chunk = decoded(data, BadReply)
        if chunk.has("error"):
            raise ErrorEvent(chunk.any("error"))
        for choice in chunk.nodes("choices"):
            if not choice.count("index"):
                yield from self._choice(choice)
        if (usage := _chat_reply.read_chat_usage(chunk)) is not None:
            yield Counted(usage)

    def _choice(self, choice: Node) -> Iterator[StreamEvent]:
        delta = choice.node("delta") or Node({}, "", BadReply)
        if thought := delta.text_or_none("reasoning_content") or delta.text_or_none("reasoning"):
            yield ThoughtDelta(thought)
        if text := delta.text_or_none("content"):
            yield TextDelta(text, read_logprobs(choice.node("logprobs"), "content"))
        if refusal := delta.text_or_none("refusal"):
            self._refused = True
            yield RefusalDelta(refusal)
        for place, call in enumerate(delta.nodes("tool_calls")):
            yield from self._call(call, place)
        if (reason := choice.text_or_none("finish_reason")) is not None:
            yield Stopped("refusal" if self._refused else _chat_reply.STOPS.get(reason, "end"))

    def _call(self, call: Node, place: int) -> Iterator[StreamEvent]:
        """One delta of a call. Look-alikes leave out `index`, or give each call the same: a new id is a new call."""
        index = call.whole("index")
        index = place if index is None else index
        id = call.text_or_none("id")
        function = call.node("function") or Node({}, "", BadReply)
        known = self._calls.get(index)
        if known is None or (id and id != known[1] and function.has("name")):
            known = self._count, id or f"{self._prefix}_{self._count}"
            self._count += 1
            self._calls[index] = known
            if (signature := carried(call)) and (found := unsealed(signature, GEMINI)):
                yield Signed(found)
            yield CallStart(*known, function.text("name"))
        if arguments := function.text_or_none("arguments"):
            yield CallDelta(known[0], arguments)


class AnthropicReader:
    """Events of a message."""

    def __init__(self) -> None:
        self._usage: Usage | None = None
        self._calls: set[int] = set()
        self._skipped: set[int] = set()

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """What an event says."""
        event = decoded(data, BadReply)
        kind = event.text("type")
        if kind == "content_block_delta":
            yield from self._delta(event)
        elif kind == "content_block_start":
            yield from self._start(event)
        elif kind == "content_block_stop":
            index = event.count("index")
            yield Ended(index if index in self._calls else None)
        elif kind == "message_start":
            yield from self._count(event.need("message").node("usage"))
        elif kind == "message_delta":
            yield from self._count(event.node("usage"))
            delta = event.node("delta")
            if delta and (reason := delta.text_or_none("stop_reason")) is not None:
                yield Stopped(_anthropic_reply.STOPS.get(reason, "end"), delta.text_or_none("stop_sequence"))
        elif kind == "message_stop":
            yield Finished()
        elif kind == "error":
            raise ErrorEvent(event.any("error"))

    def _count(self, usage: Node | None) -> Iterator[StreamEvent]:
        self._usage = _anthropic_reply.read_usage(usage, self._usage)
        if self._usage is not None:
            yield Counted(self._usage)

    def _start(self, event: Node) -> Iterator[StreamEvent]:
        block = event.need("content_block")
        kind = block.text("type")
        if kind == "tool_use":
            key = event.count("index")
            self._calls.add(key)
            yield CallStart(key, block.text("id"), block.text("name"))
            if given := block.table("input"):
                yield CallDelta(key, encoded(given).decode())
        elif kind == "text" and (text := block.text_or_none("text")):
            yield TextDelta(text)
        elif kind == "redacted_thinking" and (signature := read_thinking(block).signature):
            yield Signed(signature)
        elif kind == "thinking" and (thought := block.text_or_none("thinking")):
            yield ThoughtDelta(thought)
        elif kind not in {"text", "thinking"}:
            self._skipped.add(event.count("index"))

    def _delta(self, event: Node) -> Iterator[StreamEvent]:
        delta = event.need("delta")
        kind = delta.text("type")
        if event.count("index") in self._skipped:
            return
        if kind == "text_delta":
            yield TextDelta(delta.text("text"))
        elif kind == "input_json_delta":
            yield CallDelta(event.count("index"), delta.text("partial_json"))
        elif kind == "thinking_delta":
            yield ThoughtDelta(delta.text("thinking"))
        elif kind == "signature_delta" and (found := unsealed(delta.text("signature"), ANTHROPIC)):
            yield Signed(found)


class ResponsesReader:
    """Events of a response."""

    def __init__(self) -> None:
        self._told: set[int] = set()
        self._called = False
        self._refused = False

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """What an event says."""
        event = decoded(data, BadReply)
        kind = event.text("type")
        if kind == "response.output_text.delta":
            yield TextDelta(event.text("delta"), read_logprobs(event, "logprobs"))
        elif kind == "response.function_call_arguments.delta":
            self._told.add(event.count("output_index"))
            yield CallDelta(event.count("output_index"), event.text("delta"))
        elif kind in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}:
            yield ThoughtDelta(event.text("delta"))
        elif kind == "response.reasoning_summary_part.added" and event.count("summary_index"):
            yield ThoughtDelta("\n\n")
        elif kind == "response.refusal.delta":
            self._refused = True
            yield RefusalDelta(event.text("delta"))
        elif kind == "response.output_item.added":
            yield from self._added(event)
        elif kind == "response.output_item.done":
            yield from self._done(event)
        else:
            yield from self._end(event, kind)

    def _added(self, event: Node) -> Iterator[StreamEvent]:
        item = event.need("item")
        if item.text("type") == "function_call":
            self._called = True
            yield CallStart(event.count("output_index"), item.text("call_id"), item.text("name"))

    def _done(self, event: Node) -> Iterator[StreamEvent]:
        item = event.need("item")
        kind = item.text("type")
        if kind == "function_call":
            key = event.count("output_index")
            if key not in self._told and (arguments := item.text_or_none("arguments")):
                yield CallDelta(key, arguments)
            yield Ended(key)
            return
        if kind == "reasoning" and (signature := read_reasoning(item).signature):
            yield Signed(signature)
        yield Ended(None)

    def _end(self, event: Node, kind: str) -> Iterator[StreamEvent]:
        if kind == "error":
            raise ErrorEvent(event.members)
        if kind == "response.failed":
            raise ErrorEvent(event.need("response").any("error"))
        if kind in {"response.completed", "response.incomplete"}:
            response = event.need("response")
            if (usage := _responses_reply.read_response_usage(response)) is not None:
                yield Counted(usage)
            stop = _responses_reply.read_stop(response, ())
            if stop == "end":
                stop = "refusal" if self._refused else "calls" if self._called else "end"
            yield Stopped(stop)
            yield Finished()


class GeminiReader:
    """Events of `streamGenerateContent`; they have no end of their own."""

    def __init__(self, id: str) -> None:
        self._parts = PartReader(f"call_{id}", [])
        self._calls = 0

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """What an event says."""
        body = decoded(data, BadReply)
        if body.has("error"):
            raise ErrorEvent(body.any("error"))
        if (usage := _gemini_reply.read_usage(body)) is not None:
            yield Counted(usage)
        candidate = _gemini_reply.first_candidate(body)
        if candidate is not None:
            yield from self._candidate(candidate)
        elif _gemini_reply.is_blocked(body):
            yield Stopped("filter")

    def _candidate(self, candidate: Node) -> Iterator[StreamEvent]:
        logprobs = _gemini_reply.read_logprobs(candidate)
        for part in _gemini_reply.read_parts(candidate, self._parts):
            if isinstance(part, Text):
                yield TextDelta(part.text, logprobs)
                logprobs = ()
            elif isinstance(part, ToolCall):
                yield from self._call(part)
            elif isinstance(part, Reasoning):
                if part.text:
                    yield ThoughtDelta(part.text)
                if part.signature:
                    yield Signed(part.signature)
        if (reason := candidate.text_or_none("finishReason")) is not None:
            yield Stopped(_gemini_reply.read_stop(reason, called=self._calls > 0))

    def _call(self, call: ToolCall) -> Iterator[StreamEvent]:
        key = self._calls
        self._calls += 1
        yield CallStart(key, call.id, call.name)
        yield CallDelta(key, call.arguments)
        yield Ended(key)
