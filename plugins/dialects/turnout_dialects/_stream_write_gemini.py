"""Writer of streams of `gemini.generate`.

`ai.google.dev/api/generate-content`, streamGenerateContent (read 2026-11-23).

Each event is a response; a call comes in one piece, as the Gemini API tells it.
"""

from typing import Any

from turnout_dialects._errors import BadReply
from turnout_dialects._form import CUTS, GEMINI, Logprob, Usage
from turnout_dialects._gemini_parts import UNSIGNED
from turnout_dialects._gemini_reply import written_event, written_logprobs
from turnout_dialects._json import encoded, is_whole, parsed
from turnout_dialects._seal import seal
from turnout_dialects._stream_form import Stopped
from turnout_dialects._stream_order import Block


class GeminiWriter:
    """Events of `streamGenerateContent` as server-sent events."""

    def __init__(self, *, model: str, id: str) -> None:
        self._model = model
        self._id = id
        whole = encoded(written_event(model=model, id=id, parts=[]))
        self._head, self._tail = whole.split(b'"parts":[', 1)
        self._signature: str | None = None
        self._called = False

    def start(self, usage: Usage) -> bytes:  # noqa: ARG002  # nothing opens a stream
        """Nothing."""
        return b""

    def open(self, block: Block) -> bytes:
        """A thought behind another one: the signature of the first gets a part of its own."""
        if block.kind == "thought" and self._signature:
            return self._event([self._signed({"text": ""})])
        return b""

    def delta(self, block: Block, text: str, logprobs: tuple[Logprob, ...]) -> bytes:
        """Text and thought at once; arguments wait for their end."""
        if block.kind == "call":
            return b""
        if block.kind == "thought":
            return self._event([{"text": text, "thought": True}])
        return self._event([self._signed({"text": text})], logprobs)

    def close(self, block: Block, stopped: Stopped | None) -> bytes:
        """A call; the signature of a thought goes to the part behind it. Raises BadReply.

        A call that was cut in the middle of its arguments is left out: the finish reason says so.
        """
        if block.kind == "thought":
            self._signature = seal(block.signature, GEMINI)
        if block.kind != "call":
            return b""
        if stopped and stopped.stop in CUTS and block.text.strip() and not is_whole(block.text):
            return b""
        if not self._called:
            self._called = True
            self._signature = self._signature or UNSIGNED
        args = parsed(block.text, f"call {block.id}", BadReply)
        return self._event([self._signed({"functionCall": {"id": block.id, "name": block.name, "args": args}})])

    def finish(self, stopped: Stopped, usage: Usage | None) -> bytes:
        """Why it stopped, with usage."""
        parts = [self._signed({"text": ""})]
        return _written(written_event(model=self._model, id=self._id, parts=parts, stop=stopped.stop, usage=usage))

    def _signed(self, part: dict[str, Any]) -> dict[str, Any]:
        if self._signature is not None:
            part["thoughtSignature"] = self._signature
            self._signature = None
        return part

    def _event(self, parts: list[dict[str, Any]], logprobs: tuple[Logprob, ...] = ()) -> bytes:
        if not logprobs:
            return b'data: %s"parts":%s%s\n\n' % (self._head, encoded(parts)[:-1], self._tail)
        made = written_event(model=self._model, id=self._id, parts=parts)
        made["candidates"][0]["logprobsResult"] = written_logprobs(logprobs)
        return _written(made)


def _written(event: dict[str, Any]) -> bytes:
    return b"data: " + encoded(event) + b"\n\n"
