"""An upstream's open stream as the client's: the thin shell around `StreamTranslator`."""

from collections.abc import Callable, Mapping
from typing import Self, final

from turnout import Chunk, Failure, Protocol, Remaining
from turnout.abc import ReplyStream
from turnout.errors import UpstreamFailed
from turnout_dialects._errors import BadReply
from turnout_dialects._stream import StreamTranslator
from turnout_wire import BlockReader, EventTooLarge


@final
class TranslatedStream:
    """The chunks of a stream in the client's dialect, one at most for each of the upstream's.

    Attributes:
        headers: none: the upstream's are another vendor's.
        remaining: what the upstream says is left of the credential's limits.
    """

    def __init__(self, source: ReplyStream, machine: StreamTranslator, judge: Callable[[BadReply], Failure]) -> None:
        """`judge` gives the verdict of what cannot be translated."""
        self.headers: Mapping[str, str] = {}
        self.remaining: Remaining | None = getattr(source, "remaining", None)
        self._next = source.__anext__
        self._machine = machine
        self._judge = judge
        self._reader = BlockReader.measured()
        self._payload = False
        self._failure: Failure | None = None
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk; waits. Raises StopAsyncIteration at the proper end, UpstreamFailed otherwise."""
        while True:
            if self._failure is not None:
                raise UpstreamFailed(self._failure)
            if self._over:
                raise StopAsyncIteration
            try:
                data = self._translated((await self._next()).data)
            except StopAsyncIteration:
                self._over = True
                data = self._end()
            if data:
                payload, self._payload = self._payload, False
                return Chunk(data, payload)

    def _translated(self, data: bytes) -> bytes:
        """The client's events for whole events of the upstream; what came before a failure goes out first."""
        made: list[bytes] = []
        machine = self._machine
        try:
            for block in self._reader.feed(data):
                made.append(machine.feed(block))
                self._payload = self._payload or machine.payload
        except EventTooLarge as exc:
            self._failure = Protocol(message=str(exc))
        except BadReply as exc:
            self._failure = self._judge(exc)
        return b"".join(made)

    def _end(self) -> bytes:
        """The rest of the client's end; a source that did not say that it is complete has none (B12)."""
        try:
            return self._machine.end()
        except BadReply as exc:
            self._failure = self._judge(exc)
            return b""
