"""Hedged streams: when the first payload of a candidate is late, a second candidate starts beside it (design 8, 8a).

    the caller's task        the attempt loop as ever; the stream it opens is handed on without a detour
    a task of the rival      waits for the delay, then opens a stream of its own; if its payload comes first, the
                             caller's scope is cancelled and the chunks go through a channel of no capacity

A stream is entered, read and left in one task, whoever wins. What the loser held is closed at once; it is told in the
decision record and recorded nowhere else, for to be slower says nothing about a credential.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from logging import getLogger

import attrs
import trio

from turnout._entry import Entry
from turnout._hedging import Budget, Latencies
from turnout._live import HandedStream, LiveStream
from turnout._names import Upstream
from turnout._run import ENDED, Run
from turnout._scope import CallScope
from turnout._sections import Hedge
from turnout._values import Credential, Decision
from turnout._verdicts import Blame, Failed, Sent
from turnout.abc import AnswerStream
from turnout.errors import DeadlineExceeded, Draining, TurnoutError, UpstreamFailed

OpenStream = Callable[[Run, Entry, Credential, Upstream], Awaitable[LiveStream]]

LOST = Failed(message="another candidate was faster", sent=Sent.MAYBE)
"""How the attempt that was cut off stands in the decision record."""

log = getLogger("turnout.hedge")


@attrs.frozen(kw_only=True, eq=False)
class Moves:
    """What the attempt loop lends to a hedged stream.

    Attributes:
        conduct: the whole loop, with this way to open a stream.
        pick: the next credential to call.
        call: call one credential; None when the loop would walk on.
        open: open a stream up to its first payload.
        scope: a scope with the call's deadline.
        decide: make the decision record, once.
    """

    conduct: Callable[[Run, OpenStream], Awaitable[LiveStream]]
    pick: Callable[[Run], Entry | None]
    call: Callable[[Run, Entry, OpenStream], Awaitable[LiveStream | None]]
    open: OpenStream
    scope: Callable[[Run], CallScope]
    decide: Callable[[Run, BaseException | None], Decision]


class Lane:
    """One of the two who race.

    Attributes:
        scope: what is cancelled when it loses.
        running: its attempt under way, as the decision record will name it.
        called: it has a candidate.
        ended: it has failed, or its stream is over.
    """

    __slots__ = ("called", "ended", "running", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.running: tuple[Credential, str, float] | None = None
        self.called = False
        self.ended = trio.Event()


class Hedges:
    """Hedged streams of one kernel: their budget, and what is known about latencies."""

    __slots__ = ("_budget", "_latencies", "_moves")

    def __init__(self, moves: Moves) -> None:
        self._moves = moves
        self._budget = Budget()
        self._latencies: dict[tuple[str, str], Latencies] = {}

    @asynccontextmanager
    async def stream(self, run: Run, rules: Hedge) -> AsyncIterator[AnswerStream]:
        """Conduct a streaming call that may hedge. Raises as one that may not."""
        self._budget.called(rules.share)
        decision: Decision | None = None
        try:
            with _own_errors():
                async with trio.open_nursery() as nursery:
                    race = Race(self, run, rules, nursery, self._moves)
                    with race.first.scope:
                        live = await self._moves.conduct(run, race.open_first)
                        async with live:
                            live.decision = decision = self._moves.decide(run, None)
                            yield live
                    if race.first.scope.cancelled_caught:
                        with self._moves.scope(run):
                            handed = race.won_by_rival()
                            handed.decision = decision = self._moves.decide(run, None)
                            yield handed
                            if handed.over:
                                return
                    nursery.cancel_scope.cancel()
        except BaseException as error:
            if decision is None:
                self._moves.decide(run, error)
            raise

    def delay(self, run: Run, rules: Hedge, provider: str) -> float | None:
        """Seconds after which a candidate of this provider is late for this call; None: never."""
        after = rules.delay(provider, run.name.key)
        if isinstance(after, float):
            return after
        known = self._latencies.get((provider, run.name.key)) if after == "learned" else None
        return None if known is None else known.estimate()

    def learn(self, run: Run, rules: Hedge, provider: str, seconds: float) -> None:
        """A first payload took so long, or an attempt was cut off at that age."""
        key = (provider, run.name.key)
        if rules.delay(*key) == "learned":
            self._latencies.setdefault(key, Latencies()).feed(seconds)

    def candidate(self, run: Run) -> Entry | None:
        """A second candidate, if the budget allows one and there is one."""
        if not self._budget.allows() or (entry := self._moves.pick(run)) is None:
            return None
        self._budget.take()
        return entry


class Race:
    """One call that may hedge: the caller's attempts, and beside one of them a rival."""

    def __init__(self, hedges: Hedges, run: Run, rules: Hedge, nursery: trio.Nursery, moves: Moves) -> None:
        self._hedges = hedges
        self._run = run
        self._rules = rules
        self._nursery = nursery
        self._moves = moves
        self._rival: Lane | None = None
        self._decided = False
        self._spent = False
        self._handed: HandedStream | None = None
        self._error: TurnoutError | None = None
        self.first = Lane()

    def won_by_rival(self) -> HandedStream:
        """The rival's stream, once the first lane is cancelled; raises the failure by which it ended the call."""
        if self._handed is None:
            raise self._error or TurnoutError("a hedge ended the call and left nothing")
        return self._handed

    async def open_first(self, run: Run, entry: Entry, credential: Credential, upstream: Upstream) -> LiveStream:
        """Open a stream for the caller's own candidate; a rival may start meanwhile."""
        self._start_rival(credential.provider)
        try:
            live = await self._open(self.first, run, entry, credential, upstream)
        except TurnoutError as error:
            if not isinstance(error, UpstreamFailed):
                self._decide_against(self._rival, ENDED)
            elif error.verdict.blame is Blame.REQUEST:
                self._decide_against(self._rival)
            else:
                await self._wait_for_rival(error)
            raise
        if self._decided:  # the rival was faster by a hair, and this lane is cancelled
            async with live:
                await trio.sleep_forever()
        self._decide_against(self._rival)
        return live

    async def _open(self, lane: Lane, run: Run, entry: Entry, credential: Credential, upstream: Upstream) -> LiveStream:
        began = trio.current_time()
        lane.running = (credential, upstream.model, began)
        try:
            live = await self._moves.open(run, entry, credential, upstream)
        finally:
            lane.running = None
        self._hedges.learn(run, self._rules, credential.provider, trio.current_time() - began)
        return live

    def _decide_against(self, loser: Lane | None, how: Failed = LOST) -> None:
        """The race is decided: what the loser has under way is told and cut off."""
        self._decided = True
        if loser is None:
            return
        if loser.running is not None:
            credential, model, began = loser.running
            loser.running = None
            age = self._run.note_cut(credential, model, began, trio.current_time(), how)
            self._hedges.learn(self._run, self._rules, credential.provider, age)
        loser.scope.cancel()

    def _start_rival(self, provider: str) -> None:
        self._rival = None
        after = None if self._spent else self._hedges.delay(self._run, self._rules, provider)
        if after is not None:
            self._rival = Lane()
            self._nursery.start_soon(self._race, self._rival, after, name=f"hedge of {self._run.id}")

    async def _wait_for_rival(self, failure: UpstreamFailed) -> None:
        """The first candidate has failed: whoever runs beside it is waited for, then the loop walks on."""
        rival = self._rival
        if rival is None:
            return
        if not rival.called:
            rival.scope.cancel()
            return
        earlier = rival.ended.is_set()
        await rival.ended.wait()
        if self._error is not None:  # the rival's failure allows no further attempt
            self._error = failure if earlier else self._error
            self.first.scope.cancel()
            await trio.sleep_forever()

    async def _race(self, lane: Lane, after: float) -> None:
        with lane.scope:
            await trio.sleep(after)
            try:
                await self._run_rival(lane)
            except TurnoutError as error:
                self._failed(error)
            finally:
                lane.ended.set()
                if self._handed is not None:
                    self._handed.close()

    async def _run_rival(self, lane: Lane) -> None:
        entry = self._hedges.candidate(self._run)
        if entry is None:
            return
        self._spent = lane.called = True
        log.debug("call %s: a second candidate starts, %s", self._run.id, entry.id)
        live = await self._moves.call(self._run, entry, partial(self._open, lane))
        if live is None:
            return
        async with live:
            if not self._decided:  # else the first was faster by a hair
                self._handed = handed = HandedStream(live)
                self._decide_against(self.first)
                await handed.pump(live)

    def _failed(self, error: TurnoutError) -> None:
        """The rival has failed: after its first payload for the caller, before it perhaps for the whole call."""
        if self._handed is not None:
            self._handed.close(error)
        elif isinstance(error, UpstreamFailed):
            if not self._decided and error.verdict.blame is Blame.REQUEST:
                self._decide_against(self.first)
            self._error = error
        elif not isinstance(error, DeadlineExceeded | Draining):  # these end the first one as well
            log.warning("call %s: its second candidate broke: %s", self._run.id, error)


@contextmanager
def _own_errors() -> Iterator[None]:
    """The nursery wraps what leaves its block; the caller gets its own error back, and one cancellation for several."""
    try:
        yield
    except BaseExceptionGroup as group:
        rest = group.split(trio.Cancelled)[1]
        if rest is not None and len(group.exceptions) > 1:
            raise
        error = group.exceptions[0]
        raise error from error.__cause__
