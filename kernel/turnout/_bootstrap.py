"""Open one upstream stream under its scope and wait for the first payload (design 1, 8a).

The attempt's cancel scope is opened here and stays open for the stream's whole life, in the caller's task: until the
first payload its deadline is the first-payload limit, afterwards the idle limit while the caller waits for a chunk.
Leaving cancels the scope first and the provider's context manager second, so that nothing is ever drained (O37).
"""

import math
from collections.abc import Mapping
from functools import partial
from logging import DEBUG, WARNING, getLogger
from types import TracebackType
from typing import Self

from turnout._handing_on import HandingOn, Take, hand_on_each
from turnout._plugin_calls import offers, plugin_code
from turnout._scope import CallScope
from turnout._values import EMPTY, Call, Chunk, Remaining
from turnout._verdicts import ANSWERED, IDLE, Empty, Protocol
from turnout.abc import Limits, Provider, ReplyStream, TakesNowait
from turnout.errors import TurnoutError, UpstreamFailed

ENDED_LIMIT = 1.0
"""Seconds that a stream which has come to its end may take to give its connection back."""

log = getLogger("turnout.bootstrap")


class StreamAttempt:
    """One attempt at a stream, as an async context manager: entering waits for the first payload.

    More ahead of it than `held_bytes` (`turnout.bootstrap_bytes`, 64 KiB) and twice the call's payload are a failure of
    the protocol (design 8a). Twice, because upstreams say the request back: OpenAI's `response.created` and
    `response.in_progress` repeat its `instructions` and `tools`, whatever their size.

    Entering raises UpstreamFailed when the stream fails before that, in whatever way (O33, O34, O38); its connection
    is closed then. Leaving closes it at once, and raises the reason if it was the scope that ended the block.

    Attributes:
        failure: of the upstream, which reading has raised.
    """

    __slots__ = (
        "_border",
        "_ended",
        "_entered",
        "_held",
        "_held_bytes",
        "_idle",
        "_late",
        "_next",
        "_ready",
        "_scope",
        "_source",
        "failure",
        "headers",
        "remaining",
    )

    def __init__(
        self,
        provider: Provider,
        call: Call,
        limits: Limits,
        scope: CallScope,
        border: plugin_code,
        *,
        held_bytes: int,
    ) -> None:
        self._border = border
        try:
            self._source = provider.stream(call)
        except BaseException as error:
            border.translate(error)
            raise
        self._scope = scope
        self._entered = False
        self._ended = False
        self._held_bytes = held_bytes + 2 * len(call.ask.payload)
        self._held: list[Chunk] = []  # few: a deque takes 760 bytes, for every stream that is open
        self._idle = limits.idle
        self._late: BaseException | None = None
        self.failure: UpstreamFailed | None = None
        self.headers: Mapping[str, str] = EMPTY
        self.remaining: Remaining | None = None

    async def __aenter__(self) -> Self:
        self._scope.__enter__()
        try:
            try:
                stream = await self._source.__aenter__()
                self._entered = True
                self._scope.sent = ANSWERED
                self._next = stream.__anext__
                self._ready = stream if offers(stream, TakesNowait) else None
                await self._hold_until_payload(stream)
                self.headers = stream.headers
                self.remaining = getattr(stream, "remaining", None)
            except BaseException as error:
                self._border.translate(error)
                raise
        except BaseException as error:
            if await self._leave(error):
                raise self._scope.reason() from None
            raise
        self._scope.flow(self._idle)
        return self

    async def _hold_until_payload(self, stream: ReplyStream) -> None:
        size = 0
        async for chunk in stream:
            if type(chunk) is not Chunk or type(chunk.data) is not bytes:
                raise self._border.wrong(f"gave a {type(chunk).__name__} that is no Chunk of bytes")
            self._held.append(chunk)
            if chunk.payload and chunk.data:  # nobody can use an empty one, whatever the provider says (C9.3)
                return
            size += len(chunk.data)
            if size > self._held_bytes:
                held = f"{self._held_bytes // 1024} KiB"
                message = f"more than {held} came before any payload (turnout.bootstrap_bytes, and twice the request)"
                raise UpstreamFailed(Protocol(message=message))
        raise UpstreamFailed(Empty(message="upstream stream closed before first payload"))

    async def next_chunk(self) -> Chunk:
        """The next chunk; raises StopAsyncIteration at the end, UpstreamFailed when the upstream fails.

        When a limit passes, the attempt's scope is cancelled: the caller's block ends, and leaving it raises.
        """
        if self._held:
            return self._held.pop(0)
        scope = self._scope
        chunk: Chunk | None
        try:
            if self._ready is None:
                scope.waits()
                chunk = await self._next()
            elif (chunk := self._ready.take_nowait()) is None:  # two coroutines less for every chunk
                scope.waits()  # once, or a drip of bytes would buy time (F8)
                while chunk is None:
                    await self._ready.wait()
                    chunk = self._ready.take_nowait()
        except BaseException as error:
            self._note(error)
            raise
        finally:
            scope.waiting_since = math.inf
        return self._checked(chunk)

    async def hand_on(self, take: Take) -> bytes | None:
        """See `abc.AnswerStream.hand_on`; a limit that passes does what it does in `next_chunk`."""
        scope, ready = self._scope, self._ready
        if ready is None:
            return await hand_on_each(self.next_chunk, take)
        if self._late is not None:
            raise self._late
        handing = HandingOn(take, partial(self._read_nowait, ready), self._unread, scope.waits)
        scope.waits()
        try:
            while not handing.more():
                try:
                    await ready.wait(handing.more)
                except BaseException as error:
                    self._note(error)
                    raise
        finally:
            scope.waiting_since = math.inf
        if handing.refused:
            self._late = handing.fault  # what came before it goes first
        elif handing.fault is not None:
            raise handing.fault
        return handing.last

    def _read_nowait(self, ready: TakesNowait) -> Chunk | None:
        """The next chunk, None when it has not come; raises as `next_chunk` does."""
        if self._held:
            return self._held.pop(0)
        try:
            chunk = ready.take_nowait()
        except BaseException as error:
            self._note(error)
            raise
        return chunk if chunk is None else self._checked(chunk)

    def _unread(self, chunk: Chunk) -> None:
        self._held.insert(0, chunk)

    def _note(self, error: BaseException) -> None:
        """Take note of what the provider has raised, and raise what the kernel has words for in its place."""
        if isinstance(error, StopAsyncIteration):
            self._ended = True
            return
        try:
            self._border.translate(error)
        except UpstreamFailed as failure:
            self.failure = failure
            raise
        self.failure = error if isinstance(error, UpstreamFailed) else None

    def _checked(self, chunk: Chunk) -> Chunk:
        if type(chunk) is Chunk and type(chunk.data) is bytes:  # or no frontend could send it (acceptance H10)
            return chunk
        raise self._border.wrong(f"gave a {type(chunk).__name__} that is no Chunk of bytes")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if await self._leave(error):
            raise self._scope.reason() from None

    async def _leave(self, error: BaseException | None) -> bool:
        """Close the source inside the scope, then the scope; say whether `error` was the scope's own cancellation.

        The source is left as after a normal end, and what it raises is kept apart from `error`: it must not replace an
        error of the caller, nor the cancellation that the scope is to meet again. A stream that is left early breaks
        off, so what the upstream's side says to that is no failure of the upstream.
        """
        if not self._ended:
            self._scope.cancel()
        elif not getattr(self._source, "closes_at_once", False):
            self._scope.limit(ENDED_LIMIT, IDLE)
        closing: BaseException | None = None
        if self._entered:
            try:
                try:
                    await self._source.__aexit__(None, None, None)
                except BaseException as raised:
                    self._border.translate(raised)
                    raise
            except BaseException as raised:  # noqa: BLE001 # told or raised below, or the scope's own cancellation
                closing = raised
        if error is None and (self._ended or not isinstance(closing, UpstreamFailed)):
            if not self._scope.close(closing) and closing is not None:
                raise closing
            return False
        if isinstance(closing, TurnoutError):
            level = DEBUG if isinstance(closing, UpstreamFailed) else WARNING
            log.log(level, "while a stream was broken off: %s", closing)
        return self._scope.close(error)
