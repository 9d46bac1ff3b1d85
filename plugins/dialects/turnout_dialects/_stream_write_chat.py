"""Writer of streams of `openai.chat`.

`platform.openai.com/docs/api-reference/chat-streaming` (read 2026-11-23).
"""

from typing import Any

from turnout_dialects._chat_reply import WRITTEN_STOPS
from turnout_dialects._form import CHAT, GEMINI, Logprob, Signature, Usage
from turnout_dialects._ids import call_id
from turnout_dialects._json import encoded
from turnout_dialects._openai import written_logprobs, written_usage
from turnout_dialects._seal import seal
from turnout_dialects._stream_form import Stopped
from turnout_dialects._stream_order import Block

_MEMBERS = {"text": b"content", "refusal": b"refusal", "thought": b"reasoning_content"}


class ChatWriter:
    """Chunks of a chat completion.

    `include_usage`: in a chunk of its own without choices, as clients ask for with `stream_options`; otherwise usage
    stands in the chunk that says why it stopped, where it disturbs no client.
    """

    def __init__(self, *, model: str, id: str, now: float, include_usage: bool) -> None:
        self._chunk: dict[str, Any] = {
            "id": f"chatcmpl-{id}",
            "object": "chat.completion.chunk",
            "created": int(now),
            "model": model,
        }
        self._head = b"data: " + encoded(self._chunk)[:-1] + b',"choices":[{"index":0,"delta":'
        self._include_usage = include_usage
        self._calls = 0
        self._signature: Signature | None = None
        self._refused = False

    def start(self, usage: Usage) -> bytes:  # noqa: ARG002  # a chat tells usage at its end
        """The chunk that says whose turn it is."""
        return self._delta(b'{"role":"assistant","content":""}')

    def open(self, block: Block) -> bytes:
        """A call's id and name; nothing for the rest."""
        if block.kind != "call":
            self._refused = self._refused or block.kind == "refusal"
            return b""
        call: dict[str, Any] = {"index": self._calls, "id": call_id(block.id, CHAT), "type": "function"}
        call["function"] = {"name": block.name, "arguments": ""}
        if self._signature and self._signature.origin == GEMINI:
            call["extra_content"] = {"google": {"thought_signature": seal(self._signature, GEMINI)}}
        self._signature = None
        return self._delta(encoded({"tool_calls": [call]}))

    def delta(self, block: Block, text: str, logprobs: tuple[Logprob, ...]) -> bytes:
        """A chunk."""
        if block.kind == "call":
            return self._arguments(text)
        told = encoded({"content": written_logprobs(logprobs), "refusal": None}) if logprobs else b"null"
        return self._delta(b'{"%s":%s}' % (_MEMBERS[block.kind], encoded(text)), told)

    def close(self, block: Block, stopped: Stopped | None) -> bytes:  # noqa: ARG002  # it can show a cut call
        """Nothing, but a call's arguments are never empty."""
        self._signature = block.signature if block.kind == "thought" else None
        if block.kind != "call":
            return b""
        self._calls += 1
        return b"" if block.text.strip() else self._arguments("{}", done=1)

    def finish(self, stopped: Stopped, usage: Usage | None) -> bytes:
        """Why it stopped, usage and the sentinel."""
        reason = "stop" if self._refused else WRITTEN_STOPS[stopped.stop]
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
        told = {"usage": written_usage(usage, "prompt", "completion")} if usage else {}
        if not self._include_usage:
            return _event(self._chunk | {"choices": [choice]} | told) + b"data: [DONE]\n\n"
        last = _event(self._chunk | {"choices": []} | told) if told else b""
        return _event(self._chunk | {"choices": [choice], "usage": None}) + last + b"data: [DONE]\n\n"

    def _arguments(self, text: str, done: int = 0) -> bytes:
        index = self._calls - done
        return self._delta(b'{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}' % (index, encoded(text)))

    def _delta(self, delta: bytes, logprobs: bytes = b"null") -> bytes:
        return b'%s%s,"logprobs":%s,"finish_reason":null}]}\n\n' % (self._head, delta, logprobs)


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + encoded(chunk) + b"\n\n"
