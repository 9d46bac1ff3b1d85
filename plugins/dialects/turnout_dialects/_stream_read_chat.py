"""Reader of streams of `openai.chat`.

`platform.openai.com/docs/api-reference/chat-streaming` (read 2026-11-23).
"""

from collections.abc import Iterator

from turnout_dialects._chat_reply import read_chat_usage, read_content, stop_of
from turnout_dialects._chat_request_read import carried
from turnout_dialects._errors import BadReply, ErrorEvent
from turnout_dialects._form import GEMINI, Reasoning
from turnout_dialects._json import Node, decoded
from turnout_dialects._openai import read_logprobs
from turnout_dialects._seal import unseal
from turnout_dialects._stream_form import (
    CallDelta,
    CallStart,
    Counted,
    Finished,
    RefusalDelta,
    Signed,
    Stopped,
    StreamEvent,
    TextDelta,
    ThoughtDelta,
)


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
        if (usage := read_chat_usage(chunk)) is not None:
            yield Counted(usage)

    def _choice(self, choice: Node) -> Iterator[StreamEvent]:
        delta = choice.node("delta") or Node({}, "", BadReply)
        if thought := delta.text_or_none("reasoning_content") or delta.text_or_none("reasoning"):
            yield ThoughtDelta(thought)
        logprobs = read_logprobs(choice.node("logprobs"), "content")
        for part in read_content(delta):
            if isinstance(part, Reasoning):
                yield ThoughtDelta(part.text)
            else:
                yield TextDelta(part.text, logprobs)
                logprobs = ()
        if refusal := delta.text_or_none("refusal"):
            self._refused = True
            yield RefusalDelta(refusal)
        for place, call in enumerate(delta.nodes("tool_calls")):
            yield from self._call(call, place)
        if (reason := choice.text_or_none("finish_reason")) is not None:
            yield Stopped("refusal" if self._refused else stop_of(reason, called=self._count > 0))

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
            if (signature := carried(call)) and (found := unseal(signature, GEMINI)):
                yield Signed(found)
            yield CallStart(*known, function.text("name"))
        if arguments := function.text_or_none("arguments"):
            yield CallDelta(known[0], arguments)
