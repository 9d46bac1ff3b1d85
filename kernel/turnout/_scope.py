"""The cancel scope above everything that a call waits for: an attempt, a pause, a refresh.

One scope does three things: the limit of what is waited for, the deadline of the whole call, and the kernel's hand
while it drains. Which of them ended it is worked out when it has ended. A scope costs 9 µs, a call has one per attempt;
whoever makes one call after another lends them the same one (`_lasting`).
"""

import math
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import trio

from turnout._lasting import LastingScope, left
from turnout._verdicts import MAYBE, Phase, TimedOut
from turnout.errors import DeadlineExceeded, Draining, TurnoutError, UpstreamFailed

MESSAGES = {
    Phase.CONNECT: "no connection came about in time",
    Phase.HEADERS: "no answer came in time",
    Phase.FIRST_PAYLOAD: "no payload came in time",
    Phase.IDLE: "the upstream went silent",
}


TICK = 0.5
"""Seconds between two looks at silent streams, at the least; an idle limit ends at most that much late (B10: 1 s)."""


class Open:
    """The scopes that are open in one kernel, each with the generation of its call.

    Attributes:
        ended: True when no scope may be entered any more: a drain has taken too long.
        look: when the watch looks around next, on Trio's clock.
        time: that clock itself, which costs a third of `trio.current_time()`.
    """

    __slots__ = ("_left", "_sooner", "_waiting", "ended", "look", "scopes", "time")

    def __init__(self) -> None:
        self.scopes: dict[CallScope, Terms] = {}
        self.ended = False
        self.look = math.inf
        self.time: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._sooner = trio.lowlevel.ParkingLot()
        self._left = trio.lowlevel.ParkingLot()
        self._waiting = 0

    def enter(self, scope: "CallScope", terms: "Terms") -> None:
        """Count a scope in; raises Draining when none may be entered any more."""
        if self.ended:
            raise Draining("the gateway is closing and takes no new calls")
        self.scopes[scope] = terms

    def expect(self, at: float) -> None:
        """A limit that is watched passes at this time, unless it is taken back."""
        if at < self.look:
            self.look = at
            self._sooner.unpark_all()

    async def watch(self) -> None:
        """End what has waited longer than it may; runs until cancelled.

        Two kinds of limits have no deadline at Trio: those of streams on silence, and all those of scopes that are
        lent. A deadline that is set before each chunk and taken back after it costs 5 µs a chunk, and 2 µs for a whole
        call; a look around costs 0.2 µs a scope, and comes when the first one was due, which mostly has ended by then.
        """
        while True:
            with trio.move_on_at(self.look) as sleep:
                await self._sooner.park()
            if sleep.cancelled_caught:
                self._look_around()

    def _look_around(self) -> None:
        """End what is due now, and say when the next one is."""
        now = trio.current_time()
        silent = watched = math.inf
        for scope in list(self.scopes):
            if now - scope.waiting_since >= scope.idle:
                scope.end_idle()
            elif now >= scope.watched:
                scope.end_watched()
            silent = min(silent, min(scope.waiting_since, now) + scope.idle)
            watched = min(watched, scope.watched)
        self.look = min(max(now + TICK, silent), watched)

    def leave(self, scope: "CallScope") -> None:
        """Count a scope out and let those who wait look again."""
        self.scopes.pop(scope, None)
        if self._waiting:
            self._left.unpark_all()

    async def wait_gone(self, generation: int | None = None) -> None:
        """Wait until nothing of this generation or an earlier one is open; None: nothing at all."""
        self._waiting += 1
        try:
            while any(generation is None or call.generation.number <= generation for call in self.scopes.values()):
                await self._left.park()
        finally:
            self._waiting -= 1

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

    `until` and `phase` are the limit of what is waited for: a time on Trio's clock, and what it is called. `under` is
    the lasting scope to make use of, if there is one and nobody does.

    Attributes:
        watched: the time on Trio's clock at which `Open.watch` ends it; infinity when Trio does.
        sent: how far the request has got, for the failure of a limit.
        idle: seconds that a stream may be silent while somebody waits for its next chunk.
        waiting_since: when that wait began, on Trio's clock; infinity while nobody waits.
    """

    __slots__ = (
        "_ended",
        "_idled",
        "_lender",
        "_open",
        "_phase",
        "_scope",
        "_terms",
        "_until",
        "idle",
        "sent",
        "waiting_since",
        "watched",
    )

    def __init__(
        self,
        open_scopes: Open,
        terms: Terms,
        until: float = math.inf,
        phase: Phase | None = None,
        under: LastingScope | None = None,
    ) -> None:
        self._open = open_scopes
        self._terms = terms
        self._phase = phase
        self._ended = False
        self._idled = False
        self._until = until = min(until, terms.deadline)
        self._lender = None if under is None or under.lent else under
        self._scope: trio.CancelScope
        self.watched = math.inf
        self.sent = MAYBE
        self.idle = math.inf
        self.waiting_since = math.inf

    def __enter__(self) -> Self:
        self._open.enter(self, self._terms)
        if self._lender is None:
            self._scope = trio.CancelScope(deadline=self._until)
            self._scope.__enter__()
        else:
            self._scope = self._lender.lend()
            self._watch(self._until)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.close(error):
            raise self.reason() from None

    def close(self, error: BaseException | None) -> bool:
        """Leave the scope; gives whether `error` was its own cancellation. May raise what else `error` holds."""
        self._open.leave(self)
        if self._lender is None:
            return left(self._scope, error)
        if not self._ended:
            self._lender.lent = False  # and no question whether it is cancelled, which reads the clock: 1 µs less
            return False
        return self._lender.give_back(error)

    def limit(self, seconds: float, phase: Phase) -> None:
        """From now, wait at most so many seconds."""
        self._phase = phase
        self._limit(min(self._open.time() + seconds, self._terms.deadline))

    def flow(self, idle: float) -> None:
        """No limit of its own any more but on silence, in seconds; the deadline of the call stays."""
        self._phase = None
        self._limit(self._terms.deadline)
        self.idle = idle
        self._open.expect(self._open.time() + idle)

    def waits(self) -> None:
        """Somebody waits for the next chunk from now on."""
        self.waiting_since = self._open.time()

    def _limit(self, until: float) -> None:
        self._until = until
        if self._lender is None:
            self._scope.deadline = until
        else:
            self._watch(until)

    def _watch(self, until: float) -> None:
        self.watched = until
        if until < self._open.look:
            self._open.expect(until)
        if until == self._terms.deadline and until <= self._open.time():
            self.cancel()  # now, as Trio does

    def end_idle(self) -> None:
        """Cancel it because the stream has been silent for too long."""
        self._idled = True
        self.cancel()

    def end_watched(self) -> None:
        """Cancel it because a limit has passed that is watched."""
        self.watched = math.inf
        self.cancel()

    def cancel(self) -> None:
        """Cancel what runs in it."""
        self._ended = True
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
        if self._phase is not None and now >= self._until:
            return UpstreamFailed(TimedOut(message=MESSAGES[self._phase], phase=self._phase, sent=self.sent))
        return Draining("the gateway is closing and the time for open calls is over")
