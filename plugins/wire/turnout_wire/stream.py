"""An open stream of events: reads the exchange, gives chunks. The thin shell around `PassedEvents`."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, final

import trio

from turnout import Chunk, Failure, Remaining
from turnout.errors import UpstreamFailed
from turnout_wire._passing import Grammar, PassedEvents, decoded
from turnout_wire._verdict import error_alone, status_of_error
from turnout_wire.exchange import COMPRESSED, Exchange, broken

EVENT_STREAM = "text/event-stream"

_TAIL_SECONDS = 0.25
"""How long the connection's own end may follow the stream's, so that it can serve another call."""

_TAIL_READS = 4


@final
class PassedStream:
    """The chunks of a stream, one at most for each read from the upstream once it has begun to answer.

    Attributes:
        headers: those that a client may see.
        remaining: what the upstream says is left of the credential's limits; None when it says nothing.
    """

    def __init__(
        self,
        exchange: Exchange,
        headers: Mapping[str, str],
        events: PassedEvents,
        remaining: Remaining | None = None,
    ) -> None:
        self.headers = headers
        self.remaining = remaining
        self._exchange = exchange
        self._events = events
        self._ready: list[Chunk] = []  # seldom more than one: a deque takes 760 bytes, for every stream that is open
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk; waits. Raises StopAsyncIteration at the proper end, UpstreamFailed otherwise."""
        while (chunk := self.take_nowait()) is None:
            await self.wait()
        return chunk

    def take_nowait(self) -> Chunk | None:
        """The next chunk, if what it is made of has come; None otherwise. Raises as `__anext__` does.

        After the end of the stream the rest of the body is read, which usually has come already: then the connection is
        kept.
        """
        events = self._events
        while not self._ready:
            if events.failure is not None:
                raise UpstreamFailed(events.failure)
            if self._over:
                raise StopAsyncIteration
            try:
                data = self._exchange.more_nowait()
            except UpstreamFailed as exc:
                events.cut_off()
                if events.failure is not None:
                    raise UpstreamFailed(events.failure) from exc
                if not events.done:
                    raise
                data = b""  # the answer is complete; its connection just cannot be used again
            if data is None:
                return None
            if not data:
                self._over = True
            if not events.done:
                self._ready.extend(events.feed(data) if data else events.end())
        return self._ready.pop(0)

    def wait(self, enough: Callable[[], bool] | None = None) -> Coroutine[Any, Any, None]:
        """Wait until `take_nowait`, which has just given None, has something; see `turnout.abc.TakesNowait`."""
        if self._events.done:
            return self._finish()
        return self._exchange.wait(None if enough is None else partial(self._is_enough, enough))

    def _is_enough(self, enough: Callable[[], bool]) -> bool:
        return enough() or self._events.done  # after which the rest is waited for in another way

    async def _finish(self) -> None:
        """Wait for the end of the body a little: it only decides whether the connection can be used again."""
        self._over = True
        with trio.move_on_after(_TAIL_SECONDS):
            try:
                for _ in range(_TAIL_READS):
                    if not await self._exchange.read_more():
                        return
            except UpstreamFailed:
                return


def _nothing(_: Mapping[str, str]) -> None:
    return None


@final
class OpenStream:
    """A streaming call, as an async context manager: entering waits until the upstream accepted it."""

    __slots__ = ("_begin", "_exchange", "_grammar", "_headers", "_judge", "_remaining")

    def __init__(
        self,
        begin: Callable[[], Exchange],
        grammar: Grammar,
        *,
        headers: Callable[[Exchange], Mapping[str, str]],
        judge: Callable[[Exchange, int, bytes], Failure],
        remaining: Callable[[Mapping[str, str]], Remaining | None] = _nothing,
    ) -> None:
        """Keep what entering needs.

        Args:
            begin: makes the exchange; may raise what entering raises.
            grammar: how the dialect streams.
            headers: those of the answer that a client may see.
            judge: the verdict of a status and a body.
            remaining: what those headers say is left of the credential's limits.
        """
        self._begin = begin
        self._grammar = grammar
        self._headers = headers
        self._judge = judge
        self._remaining = remaining

    async def __aenter__(self) -> PassedStream:
        self._exchange = exchange = self._begin()
        await exchange.__aenter__()
        accepted = False
        try:
            await self._accept(exchange)
            accepted = True
        finally:
            if not accepted:
                await exchange.__aexit__(None, None, None)
        events = PassedEvents(self._grammar, lambda status, body: self._judge(exchange, status, body))
        headers = self._headers(exchange)
        return PassedStream(exchange, headers, events, self._remaining(headers))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)

    @property
    def closes_at_once(self) -> bool:
        """Leaving never waits: the kernel needs no limit for it, whose setting costs 4 µs."""
        return self._exchange.closes_at_once

    async def _accept(self, exchange: Exchange) -> None:
        if not 200 <= exchange.status < 300:
            raise UpstreamFailed(self._judge(exchange, exchange.status, await exchange.read_error()))
        if exchange.encoded:
            raise broken(COMPRESSED)
        if exchange.media_type == "application/json":
            raise self._not_a_stream(exchange, await exchange.read_error())
        if exchange.media_type not in {EVENT_STREAM, ""}:
            raise broken("the answer is not a stream of events")

    def _not_a_stream(self, exchange: Exchange, body: bytes) -> UpstreamFailed:
        """What JSON in place of a stream means: an error as if it had its status (B22), or nonsense (B14)."""
        error = decoded(body).get("error")
        if not error:
            return broken("the answer is not a stream of events")
        return UpstreamFailed(self._judge(exchange, status_of_error(error), error_alone(error, body)))
