"""One block after another: what the events of a source say, in blocks that do not overlap.

Chat streams may tell parallel calls interleaved, and say nowhere that one is complete; the other dialects have blocks
that begin and end. The open call streams on. Whatever else comes meanwhile waits until it is complete: when its source
says so, when its arguments are a whole JSON object as another block comes, or at the end. So in the usual case, one
call after another, nothing waits.
"""

from typing import Protocol

from turnout_dialects._errors import BadReply
from turnout_dialects._form import Logprob, Signature, Usage
from turnout_dialects._json import is_whole
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

_SAYINGS = (TextDelta, RefusalDelta, ThoughtDelta)
_KINDS = {TextDelta: "text", RefusalDelta: "refusal", ThoughtDelta: "thought"}


class Block:
    """One piece of a reply as it grows.

    Attributes:
        kind: `text`, `refusal`, `thought` or `call`.
        key: of a call, -1 for the rest.
    """

    __slots__ = ("_judged", "id", "key", "kind", "name", "pieces", "signature")

    def __init__(self, kind: str, key: int = -1, id: str = "", name: str = "") -> None:
        self.kind = kind
        self.key = key
        self.id = id
        self.name = name
        self.pieces: list[str] = []
        self.signature: Signature | None = None
        self._judged = 0

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self.pieces)

    def is_whole(self) -> bool:
        """Whether a call's arguments are complete. Judged once for what there is, however many events wait for it."""
        if self._judged == len(self.pieces):
            return False
        self._judged = len(self.pieces)
        return is_whole(self.text)


class StreamWriter(Protocol):
    """Writes a stream in one dialect. Blocks never overlap; each method gives the bytes to send."""

    def start(self, usage: Usage) -> bytes:
        """Once, before anything else; `usage` as far as it is known."""
        ...

    def open(self, block: Block) -> bytes:
        """A block begins."""
        ...

    def delta(self, block: Block, text: str, logprobs: tuple[Logprob, ...]) -> bytes:
        """More of the open block; `block.pieces` has it already."""
        ...

    def close(self, block: Block, stopped: Stopped | None) -> bytes:
        """The open block is complete; `stopped` when the reply is, too, and it may have been cut."""
        ...

    def finish(self, stopped: Stopped, usage: Usage | None) -> bytes:
        """Once, at the end."""
        ...


class Order:
    """Feeds a writer with blocks one after another.

    Attributes:
        finished: whether the end was written.
    """

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer
        self._block: Block | None = None
        self._waiting: list[StreamEvent] = []
        self._waiting_calls: set[int] = set()
        self._usage: Usage | None = None
        self._stopped: Stopped | None = None
        self._started = False
        self.finished = False

    def take(self, event: StreamEvent) -> bytes:
        """The bytes that an event leads to; none after the end. Raises BadReply."""
        if self.finished:
            return b""
        if isinstance(event, Counted):
            self._usage = event.usage
        elif isinstance(event, Stopped):
            self._stopped = event
        elif isinstance(event, Finished):
            return self.finish()
        else:
            return self._place(event)
        return b""

    def finish(self) -> bytes:
        """The end, once. Raises BadReply when the source never said why it stopped: a fake end would hide a cut."""
        if self.finished:
            return b""
        if self._stopped is None:
            raise BadReply("", "the stream ended before the reply did")
        made = self._started_bytes()
        while self._block is not None or self._waiting:
            made += self._close()
        self.finished = True
        return made + self._writer.finish(self._stopped, self._usage)

    def _place(self, event: StreamEvent) -> bytes:
        if isinstance(event, CallDelta):
            return self._arguments(self._block, event)
        if isinstance(event, Ended):
            return self._ended(self._block, event)
        made = b""
        if self._block is not None and self._block.kind == "call":
            if not self._block.is_whole():
                return self._wait(event)
            made = self._close()
            if self._block is not None:  # what waited has opened a call of its own
                return made + self._place(event)
        return made + self._begin(event)

    def _begin(self, event: StreamEvent) -> bytes:
        if isinstance(event, _SAYINGS):
            return self._say(_KINDS[type(event)], event)
        if isinstance(event, Signed):
            return self._sign(event)
        return self._open(Block("call", event.key, event.id, event.name)) if isinstance(event, CallStart) else b""

    def _wait(self, event: StreamEvent) -> bytes:
        self._waiting.append(event)
        if isinstance(event, CallStart):
            self._waiting_calls.add(event.key)
        return b""

    def _arguments(self, block: Block | None, event: CallDelta) -> bytes:
        if block is not None and block.kind == "call" and block.key == event.key:
            block.pieces.append(event.text)
            return self._writer.delta(block, event.text, ()) if event.text else b""
        if event.key in self._waiting_calls:
            return self._wait(event)
        if event.text.strip():
            raise BadReply("", "arguments of a call that is complete, or never began")
        return b""

    def _ended(self, block: Block | None, event: Ended) -> bytes:
        if event.key in self._waiting_calls or (event.key is None and self._waiting):
            return self._wait(event)
        mine = block is not None and (block.key == event.key if block.kind == "call" else event.key is None)
        if not mine:
            return b""
        return self._close()

    def _say(self, kind: str, event: TextDelta | RefusalDelta | ThoughtDelta) -> bytes:
        if not event.text:
            return b""
        block = self._block
        made = b""
        if block is None or block.kind != kind or block.signature is not None:
            block = Block(kind)
            made = self._open(block)
        block.pieces.append(event.text)
        return made + self._writer.delta(block, event.text, event.logprobs if isinstance(event, TextDelta) else ())

    def _sign(self, event: Signed) -> bytes:
        block = self._block
        made = b""
        if block is None or block.kind != "thought" or block.signature is not None:
            block = Block("thought")
            made = self._open(block)
        block.signature = event.signature
        return made

    def _open(self, block: Block) -> bytes:
        made = self._started_bytes() + self._close_one()
        self._block = block
        return made + self._writer.open(block)

    def _close(self) -> bytes:
        """Close what is open, and let what waits come."""
        made = [self._close_one()]
        waiting, self._waiting = self._waiting, []
        self._waiting_calls = set()
        made.extend(map(self._place, waiting))
        return b"".join(made)

    def _close_one(self) -> bytes:
        block, self._block = self._block, None
        return b"" if block is None else self._writer.close(block, self._stopped)

    def _started_bytes(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return self._writer.start(self._usage or Usage())
