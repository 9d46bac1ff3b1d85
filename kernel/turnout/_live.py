"""A committed stream, as the caller of the kernel gets it: read in its own task, or handed over from another one."""

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import trio

from turnout._bootstrap import StreamAttempt
from turnout._handing_on import Take, hand_on_each
from turnout._judge import DONE
from turnout._slot import Slot
from turnout._values import Chunk, Decision
from turnout._verdicts import Verdict
from turnout.errors import TurnoutError, UpstreamFailed


class LiveStream:
    """Chunks of an upstream past the first payload; implements `abc.AnswerStream`.

    Its outcome is recorded exactly once, when the block is left: a failure if the upstream failed, else a success,
    also when the caller left early (O36): the credential evidently works.
    """

    __slots__ = ("_ended", "_slot", "_source", "decision", "headers")

    decision: Decision

    def __init__(self, source: StreamAttempt, slot: Slot, ended: Callable[[Verdict], Any]) -> None:
        self._source = source
        self._slot = slot
        self._ended = ended
        self.headers = source.headers

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Chunk]:
        return self._source.next_chunk()  # and not awaited here: one coroutine less for every chunk

    def hand_on(self, take: Take) -> Coroutine[Any, Any, bytes | None]:
        """See `abc.AnswerStream`."""
        return self._source.hand_on(take)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = self._source.failure
        try:
            await self._source.__aexit__(kind, error, trace)
        except UpstreamFailed as failure:
            failed = failure
            raise
        finally:
            self._slot.__exit__(None, None, None)
            self._ended(DONE if failed is None else failed.verdict)


class HandedStream:
    """A stream that lives in the rival's task; implements `abc.AnswerStream`.

    Attributes:
        over: it has come to its end, so that its connection may be given back.
    """

    __slots__ = ("_error", "_receive", "_send", "decision", "headers", "over")

    decision: Decision

    def __init__(self, source: LiveStream) -> None:
        self._send, self._receive = trio.open_memory_channel[Chunk](0)
        self._error: TurnoutError | None = None
        self.headers = source.headers
        self.over = False

    async def pump(self, source: LiveStream) -> None:
        """Hand over every chunk of the source, each when it is asked for. Raises what reading raises."""
        async for chunk in source:
            await self._send.send(chunk)
        self.over = True
        self._send.close()

    def close(self, error: TurnoutError | None = None) -> None:
        """Nothing more comes; the caller reads on to this error."""
        self._error = self._error or error
        self._send.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            pass
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def hand_on(self, take: Take) -> bytes | None:
        """See `abc.AnswerStream`; each chunk has to be asked for, so that the other task reads no further."""
        return await hand_on_each(self.__anext__, take)
