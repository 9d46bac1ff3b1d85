"""Writer of streams of `anthropic.messages`.

`platform.claude.com/docs/en/build-with-claude/streaming` (read 2026-11-23).
"""

from typing import Any

from turnout_dialects._anthropic_reply import WRITTEN_STOPS, written_usage
from turnout_dialects._form import ANTHROPIC, Logprob, Usage
from turnout_dialects._ids import call_id
from turnout_dialects._json import encoded
from turnout_dialects._seal import seal
from turnout_dialects._stream_form import Stopped
from turnout_dialects._stream_order import Block

_DELTAS = {
    "text": b'"text_delta","text":',
    "refusal": b'"text_delta","text":',
    "thought": b'"thinking_delta","thinking":',
    "call": b'"input_json_delta","partial_json":',
}


class AnthropicWriter:
    """Events of a message."""

    def __init__(self, *, model: str, id: str) -> None:
        self._model = model
        self._id = id
        self._index = -1

    def start(self, usage: Usage) -> bytes:
        """The empty message."""
        message: dict[str, Any] = {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": written_usage(usage),
        }
        return _event("message_start", {"message": message})

    def open(self, block: Block) -> bytes:
        """A block begins; a redacted one waits for its close, as it comes in one piece."""
        self._index += 1
        if block.kind == "call":
            content: dict[str, Any] = {"type": "tool_use", "name": block.name, "input": {}}
            content["id"] = call_id(block.id, ANTHROPIC)
        elif block.kind == "thought":
            return b""
        else:
            content = {"type": "text", "text": ""}
        return self._start(content)

    def delta(self, block: Block, text: str, logprobs: tuple[Logprob, ...]) -> bytes:  # noqa: ARG002  # it has none
        """More of a block."""
        begin = b""
        if block.kind == "thought" and len(block.pieces) == 1:
            begin = self._start({"type": "thinking", "thinking": "", "signature": ""})
        return begin + self._delta(_DELTAS[block.kind], text)

    def close(self, block: Block, stopped: Stopped | None) -> bytes:  # noqa: ARG002  # it can show a cut call
        """The signature of what was thought, and the end of the block."""
        made = b""
        if block.kind == "thought":
            signature = block.signature
            if signature and signature.redacted and signature.origin == ANTHROPIC and not block.pieces:
                made = self._start({"type": "redacted_thinking", "data": signature.value})
            else:
                if not block.pieces:
                    made = self._start({"type": "thinking", "thinking": "", "signature": ""})
                made += self._delta(b'"signature_delta","signature":', seal(signature, ANTHROPIC))
        return made + _event("content_block_stop", {"index": self._index})

    def finish(self, stopped: Stopped, usage: Usage | None) -> bytes:
        """Why it stopped, with all usage, and the end."""
        delta = {
            "stop_reason": WRITTEN_STOPS[stopped.stop],
            "stop_sequence": stopped.sequence if stopped.stop == "sequence" else None,
        }
        told = _event("message_delta", {"delta": delta, "usage": written_usage(usage or Usage())})
        return told + _event("message_stop", {})

    def _start(self, content: dict[str, Any]) -> bytes:
        return _event("content_block_start", {"index": self._index, "content_block": content})

    def _delta(self, kind: bytes, text: str) -> bytes:
        return (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%s%s}}\n\n'
            % (self._index, kind, encoded(text))
        )


def _event(kind: str, members: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), encoded({"type": kind} | members))
