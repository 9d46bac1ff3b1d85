"""The cancel scope above everything that a call waits for: an attempt, a pause, a refresh.

One scope does three things: the limit of what is waited for, the deadline of the whole call, and the kernel's hand
while it drains. Which of them ended it is worked out when it has ended. A scope costs 9 µs, a call has one per attempt.
"""

import math
from types import TracebackType
from typing import Protocol, Self

import trio

from turnout._verdicts import MAYBE, Phase, TimedOut
from turnout.errors import DeadlineExceeded, Draining, TurnoutError, UpstreamFailed

MESSAGES = {
    Phase.CONNECT: "no connection came about in time",
    Phase.HEADERS: "no answer came in time",
    Phase.FIRST_PAYLOAD: "no payload came in time",
    Phase.IDLE: "the upstream went silent",
}


TICK = 0.5
"""Seconds between two looks at the streams, at the least; an idle limit ends at most that much late (B10: 1 s)."""


class Open:
    """The scopes that are open in one kernel, each with the generation of its call.

    Attributes:
        ended: True when no scope may be entered any more: a drain has taken too long.
    """

    __slots__ = ("_left", "_look", "_sooner", "ended", "scopes")

    def __init__(self) -> None:
        self.scopes: dict[CallScope, int] = {}
        self.ended = False
        self._look = math.inf
        self._sooner = trio.lowlevel.ParkingLot()
        self._left = trio.lowlevel.ParkingLot()

    def enter(self, scope: "CallScope", generation: int) -> None:
        """Count a scope in; raises Draining when none may be entered any more."""
        if self.ended:
            raise Draining("the gateway is closing and takes no new calls")
        self.scopes[scope] = generation

    def flows(self, scope: "CallScope") -> None:
        """A stream has come to its first payload: from now on it has an idle limit."""
        if trio.current_time() + scope.idle < self._look:
            self._sooner.unpark_all()

    async def watch_idle(self) -> None:
        """End streams that have waited for a chunk longer than they may; runs until cancelled.

        A deadline that is set before each chunk and taken back after it costs 5 µs a chunk; a look around costs 0.2 µs
        a stream, and comes when the one that has waited longest is due, which mostly has its chunk by then.
        """
        while True:
            now = trio.current_time()
            due = [min(scope.waiting_since, now) + scope.idle for scope in self.scopes]
            self._look = max(now + TICK, min(due, default=math.inf))
            with trio.move_on_at(self._look):
                await self._sooner.park()
            now = trio.current_time()
            for scope in [scope for scope in self.scopes if now - scope.waiting_since >= scope.idle]:
                scope.end_idle()

    def leave(self, scope: "CallScope") -> None:
        """Count a scope out and let those who wait look again."""
        self.scopes.pop(scope, None)
        if self._left:
            self._left.unpark_all()

    async def wait_gone(self, generation: int | None = None) -> None:
        """Wait until nothing of this generation or an earlier one is open; None: nothing at all."""
        while any(generation is None or number <= generation for number in self.scopes.values()):
            await self._left.park()

    def end(self) -> None:
        """Cancel everything that is open: each raises Draining in its own task. Nothing may be entered any more."""
        self.ended = True
        for scope in self.scopes:
            scope.cancel()


class Numbered(Protocol):
    """A generation of the configuration."""

    @property
    def number(self) -> int: ...


class Terms(Protocol):
    """What a scope asks of its call.

    Attributes:
        deadline: of the whole call, on Trio's clock.
        total: the seconds that it was given.
        generation: of the configuration under which it began.
    """

    @property
    def deadline(self) -> float: ...
    @property
    def total(self) -> float: ...
    @property
    def generation(self) -> Numbered: ...


class CallScope:
    """A scope of one call.

    As a context manager, leaving it raises the reason in place of the cancellation that it brought about: the limit's
    `UpstreamFailed(TimedOut)`, `DeadlineExceeded` or `Draining`.

    `until` and `phase` are the limit of what is waited for: a time on Trio's clock, and what it is called.

    Attributes:
        sent: how far the request has got, for the failure of a limit.
        idle: seconds that a stream may be silent while somebody waits for its next chunk.
        waiting_since: when that wait began, on Trio's clock; infinity while nobody waits.
    """

    __slots__ = (
        "_idled",
        "_open",
        "_phase",
        "_scope",
        "_terms",
        "idle",
        "sent",
        "waiting_since",
    )

    def __init__(self, open_scopes: Open, terms: Terms, until: float = math.inf, phase: Phase | None = None) -> None:
        self._open = open_scopes
        self._terms = terms
        self._phase = phase
        self._idled = False
        self._scope = trio.CancelScope(deadline=min(until, terms.deadline))
        self.sent = MAYBE
        self.idle = math.inf
        self.waiting_since = math.inf

    def __enter__(self) -> Self:
        self._open.enter(self, self._terms.generation.number)
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.close(error):
            raise self.reason() from None

    def close(self, error: BaseException | None) -> bool:
        """Leave the scope; gives whether `error` was its own cancellation. May raise what else `error` holds."""
        self._open.leave(self)
        if error is None:
            self._scope.__exit__(None, None, None)
            return False
        return bool(self._scope.__exit__(type(error), error, error.__traceback__))

    def limit(self, seconds: float, phase: Phase) -> None:
        """From now, wait at most so many seconds."""
        self._phase = phase
        self._scope.deadline = min(trio.current_time() + seconds, self._terms.deadline)

    def flow(self, idle: float) -> None:
        """No limit of its own any more but on silence, in seconds; the deadline of the call stays."""
        self._phase = None
        self._scope.deadline = self._terms.deadline
        self.idle = idle
        self._open.flows(self)

    def end_idle(self) -> None:
        """Cancel it because the stream has been silent for too long."""
        self._idled = True
        self._scope.cancel()

    def cancel(self) -> None:
        """Cancel what runs in it."""
        self._scope.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled, by whatever."""
        return self._scope.cancel_called

    def reason(self) -> TurnoutError:
        """Why it was cancelled."""
        now = trio.current_time()
        if self._idled:
            return UpstreamFailed(TimedOut(message=MESSAGES[Phase.IDLE], phase=Phase.IDLE))
        if now >= self._terms.deadline:
            return DeadlineExceeded(f"the call took longer than its {self._terms.total:g} s")
        if self._phase is not None and now >= self._scope.deadline:
            return UpstreamFailed(TimedOut(message=MESSAGES[self._phase], phase=self._phase, sent=self.sent))
        return Draining("the gateway is closing and the time for open calls is over")
