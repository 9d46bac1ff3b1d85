"""Reader of streams of `anthropic.messages`.

`platform.claude.com/docs/en/build-with-claude/streaming` (read 2026-11-23).
"""

from collections.abc import Iterator

from turnout_dialects._anthropic_blocks import read_thinking
from turnout_dialects._anthropic_reply import STOPS, read_usage
from turnout_dialects._errors import BadReply, ErrorEvent
from turnout_dialects._form import ANTHROPIC, Usage
from turnout_dialects._json import Node, decoded, encoded
from turnout_dialects._seal import unseal
from turnout_dialects._stream_form import (
    CallDelta,
    CallStart,
    Counted,
    Ended,
    Finished,
    Signed,
    Stopped,
    StreamEvent,
    TextDelta,
    ThoughtDelta,
)


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
                yield Stopped(STOPS.get(reason, "end"), delta.text_or_none("stop_sequence"))
        elif kind == "message_stop":
            yield Finished()
        elif kind == "error":
            raise ErrorEvent(event.any("error"))

    def _count(self, usage: Node | None) -> Iterator[StreamEvent]:
        self._usage = read_usage(usage, self._usage)
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
        elif kind == "signature_delta" and (found := unseal(delta.text("signature"), ANTHROPIC)):
            yield Signed(found)
