"""A committed stream, as the caller of the kernel gets it."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from turnout._bootstrap import StreamAttempt
from turnout._judge import DONE
from turnout._slot import Slot
from turnout._values import Chunk, Decision
from turnout._verdicts import Verdict
from turnout.errors import UpstreamFailed


class LiveStream:
    """Chunks of an upstream past the first payload; implements `abc.AnswerStream`.

    Its outcome is recorded exactly once, when the block is left: a failure if the upstream failed, else a success,
    also when the caller left early (O36): the credential evidently works.
    """

    __slots__ = ("_ended", "_slot", "_source", "_verdict", "decision", "headers")

    decision: Decision

    def __init__(self, source: StreamAttempt, slot: Slot, ended: Callable[[Verdict], Any]) -> None:
        self._source = source
        self._slot = slot
        self._ended = ended
        self._verdict: Verdict = DONE
        self.headers = source.headers

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        try:
            return await self._source.next_chunk()
        except UpstreamFailed as failure:
            self._verdict = failure.verdict
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._source.__aexit__(kind, error, trace)
        except UpstreamFailed as failure:
            self._verdict = failure.verdict
            raise
        finally:
            self._slot.__exit__(None, None, None)
            self._ended(self._verdict)
