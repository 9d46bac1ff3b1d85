"""Writer of streams of `openai.responses`.

`platform.openai.com/docs/api-reference/responses-streaming` (read 2026-11-23).
"""

from typing import Any

from turnout_dialects._form import Logprob, Reasoning, Refusal, Text, ToolCall, Usage
from turnout_dialects._json import encoded
from turnout_dialects._openai import written_logprobs
from turnout_dialects._responses_reply import sealed, written_call, written_message, written_part, written_response
from turnout_dialects._responses_request_write import written_reasoning
from turnout_dialects._stream_form import Stopped
from turnout_dialects._stream_order import Block

_DELTAS = {
    "text": b"response.output_text.delta",
    "refusal": b"response.refusal.delta",
    "thought": b"response.reasoning_summary_text.delta",
    "call": b"response.function_call_arguments.delta",
}
_PREFIXES = {"text": "msg", "refusal": "msg", "thought": "rs", "call": "fc"}


class ResponsesWriter:
    """Events of a response. Each block is an item of its own."""

    def __init__(self, *, model: str, id: str, now: float) -> None:
        self._model = model
        self._id = id
        self._now = now
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._where = b""
        self._logprobs: list[Logprob] = []

    def start(self, usage: Usage) -> bytes:  # noqa: ARG002  # a response tells usage at its end
        """The response, created and in progress."""
        response = self._response(None, None)
        made = self._event("response.created", {"response": response})
        return made + self._event("response.in_progress", {"response": response})

    def open(self, block: Block) -> bytes:
        """An item begins, and the part of it that grows."""
        self._logprobs = []
        self._where = encoded(self._inside(block))[1:-1]
        made = self._event("response.output_item.added", self._place() | {"item": self._begun(block)})
        if block.kind in {"text", "refusal"}:
            part = written_part(Refusal("") if block.kind == "refusal" else Text(""))
            made += self._event("response.content_part.added", self._inside(block) | {"part": part})
        return made

    def delta(self, block: Block, text: str, logprobs: tuple[Logprob, ...]) -> bytes:
        """More of the item."""
        begin = b""
        if block.kind == "thought" and len(block.pieces) == 1:
            part = {"type": "summary_text", "text": ""}
            begin = self._event("response.reasoning_summary_part.added", self._inside(block) | {"part": part})
        told = b""
        if block.kind == "text":
            self._logprobs.extend(logprobs)
            told = b',"logprobs":%s' % (encoded(written_logprobs(logprobs)) if logprobs else b"[]")
        return begin + self._delta(_DELTAS[block.kind], text, told)

    def close(self, block: Block, stopped: Stopped | None) -> bytes:  # noqa: ARG002  # it can show a cut call
        """The item as a whole."""
        if block.kind == "call":
            return self._close_call(block)
        return self._close_thought(block) if block.kind == "thought" else self._close_message(block)

    def finish(self, stopped: Stopped, usage: Usage | None) -> bytes:
        """The response as a whole."""
        response = self._response(stopped.stop, usage or Usage())
        return self._event(f"response.{response['status']}", {"response": response})

    def _close_message(self, block: Block) -> bytes:
        logprobs = tuple(self._logprobs)
        inside = self._inside(block)
        if block.kind == "refusal":
            part = written_part(Refusal(block.text))
            made = self._event("response.refusal.done", inside | {"refusal": block.text})
        else:
            part = written_part(Text(block.text), logprobs)
            told = {"text": block.text, "logprobs": part["logprobs"]}
            made = self._event("response.output_text.done", inside | told)
        made += self._event("response.content_part.done", inside | {"part": part})
        return made + self._done(written_message(self._name(), [part]))

    def _close_thought(self, block: Block) -> bytes:
        made = b""
        inside = self._inside(block)
        if block.pieces:
            text = block.text
            made = self._event("response.reasoning_summary_text.done", inside | {"text": text})
            part = {"type": "summary_text", "text": text}
            made += self._event("response.reasoning_summary_part.done", inside | {"part": part})
        found = Reasoning(block.text, block.signature)
        _, content = sealed(found, self._name())
        return made + self._done(written_reasoning(found, self._item_id(block), content))

    def _close_call(self, block: Block) -> bytes:
        call = ToolCall(id=block.id, name=block.name, arguments=block.text)
        item = written_call(call, self._name())
        begin = b""
        if not block.text.strip():
            begin = self._delta(_DELTAS["call"], item["arguments"])
        told = {"arguments": item["arguments"], "name": block.name}
        return (
            begin + self._event("response.function_call_arguments.done", self._inside(block) | told) + self._done(item)
        )

    def _done(self, item: dict[str, Any]) -> bytes:
        made = self._event("response.output_item.done", self._place() | {"item": item})
        self._output.append(item)
        return made

    def _begun(self, block: Block) -> dict[str, Any]:
        if block.kind == "call":
            call = ToolCall(id=block.id, name=block.name, arguments="")
            return written_call(call, self._name()) | {"arguments": "", "status": "in_progress"}
        if block.kind == "thought":
            return {"type": "reasoning", "id": self._item_id(block), "summary": []}
        return written_message(self._name(), []) | {"status": "in_progress"}

    def _name(self) -> str:
        return f"{self._id}_{len(self._output)}"

    def _item_id(self, block: Block) -> str:
        return f"{_PREFIXES[block.kind]}_{self._name()}"

    def _place(self) -> dict[str, Any]:
        return {"output_index": len(self._output)}

    def _inside(self, block: Block) -> dict[str, Any]:
        inner = {"text": {"content_index": 0}, "refusal": {"content_index": 0}, "thought": {"summary_index": 0}}
        return {"item_id": self._item_id(block), "output_index": len(self._output), **inner.get(block.kind, {})}

    def _response(self, stop: str | None, usage: Usage | None) -> dict[str, Any]:
        return written_response(
            model=self._model, id=self._id, now=self._now, output=self._output, stop=stop, usage=usage
        )

    def _delta(self, kind: bytes, text: str, told: bytes = b"") -> bytes:
        """The event that comes hundreds of times, without an object made for each."""
        number, self._number = self._number, self._number + 1
        data = b'{"type":"%s","sequence_number":%d,%s,"delta":%s%s}' % (kind, number, self._where, encoded(text), told)
        return b"event: %s\ndata: %s\n\n" % (kind, data)

    def _event(self, kind: str, members: dict[str, Any]) -> bytes:
        data = encoded({"type": kind, "sequence_number": self._number} | members)
        self._number += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)
