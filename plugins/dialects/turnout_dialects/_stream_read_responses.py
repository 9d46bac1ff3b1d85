"""Reader of streams of `openai.responses`.

`platform.openai.com/docs/api-reference/responses-streaming` (read 2026-11-23).
"""

from collections.abc import Iterator

from turnout_dialects._errors import BadReply, ErrorEvent
from turnout_dialects._json import Node, decoded
from turnout_dialects._openai import read_logprobs
from turnout_dialects._responses_reply import read_response_usage, read_stop
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
            if (usage := read_response_usage(response)) is not None:
                yield Counted(usage)
            stop = read_stop(response, ())
            if stop == "end":
                stop = "refusal" if self._refused else "calls" if self._called else "end"
            yield Stopped(stop)
            yield Finished()
