"""Reader of streams of `gemini.generate`.

`ai.google.dev/api/generate-content`, streamGenerateContent (read 2026-11-23).
"""

from collections.abc import Iterator

from turnout_dialects._errors import BadReply, ErrorEvent
from turnout_dialects._form import Reasoning, Text, ToolCall
from turnout_dialects._gemini_parts import PartReader
from turnout_dialects._gemini_reply import first_candidate, is_blocked, read_logprobs, read_parts, read_stop, read_usage
from turnout_dialects._json import Node, decoded
from turnout_dialects._stream_form import (
    CallDelta,
    CallStart,
    Counted,
    Ended,
    Signed,
    Stopped,
    StreamEvent,
    TextDelta,
    ThoughtDelta,
)


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
        if (usage := read_usage(body)) is not None:
            yield Counted(usage)
        candidate = first_candidate(body)
        if candidate is not None:
            yield from self._candidate(candidate)
        elif is_blocked(body):
            yield Stopped("filter")

    def _candidate(self, candidate: Node) -> Iterator[StreamEvent]:
        logprobs = read_logprobs(candidate)
        for part in read_parts(candidate, self._parts):
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
            yield Stopped(read_stop(reason, called=self._calls > 0))

    def _call(self, call: ToolCall) -> Iterator[StreamEvent]:
        key = self._calls
        self._calls += 1
        yield CallStart(key, call.id, call.name)
        yield CallDelta(key, call.arguments)
        yield Ended(key)
