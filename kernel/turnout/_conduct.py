"""The attempt loop: pick, call, judge, go on or stop.

One loop serves every operation; what an attempt is (execute, or open a stream up to its first payload) is a
parameter. The rules it follows are values in `_attempts`, the choice is the schedule's and the selector's, what an
outcome means is the ledger's; here they are only put in order, under one deadline.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from logging import DEBUG, getLogger
from typing import Any, TypeVar

import attrs
import trio

from turnout._affinity import digest
from turnout._attempts import Step
from turnout._bootstrap import StreamAttempt
from turnout._clock import Clock
from turnout._custody import Custody
from turnout._entry import Entry
from turnout._events import CallDecided
from turnout._generation import Generation, ProviderInstance
from turnout._hedge import Hedges, Moves
from turnout._judge import DONE, Judge
from turnout._lasting import LastingScope
from turnout._left_out import left_out
from turnout._live import LiveStream
from turnout._names import ModelName, Upstream, advanced, parse, pool_key, rotate
from turnout._observers import Observers
from turnout._origins import Origins
from turnout._pick_log import log_pick
from turnout._plugin_calls import plugin_code
from turnout._quick import quick
from turnout._readings import ident
from turnout._ready import ReadyView
from turnout._recovery import Recovery
from turnout._refresh import RefreshRoom
from turnout._run import NOBODY, Run
from turnout._scope import CallScope, Open
from turnout._slot import Slot
from turnout._standing import IS_READY, blocked
from turnout._streaming import Entered, Streaming
from turnout._values import Answer, Ask, Call, Credential, Decision, Remaining, Reply
from turnout._verdicts import FIRST_PAYLOAD, HEADERS, Overloaded, Sent
from turnout.abc import AnswerStream
from turnout.errors import (
    Draining,
    NoCredential,
    NotSupported,
    TurnoutError,
    Unavailable,
    UnknownModel,
    UpstreamFailed,
)

T = TypeVar("T")
Attempt = Callable[[Run, Entry, Credential, Upstream], Awaitable[T]]

_Answer, _Call = quick(Answer), quick(Call)

PAUSE, OVERLOAD_PAUSE, PAUSE_CAP = 0.05, 1.0, 2.0
"""Seconds before another try at an origin that has failed in the same call: full jitter up to this, doubled each time.

An origin that says it is overloaded gets the longer one (acceptance, section 4).
"""

PASSED_OVER = 8
"""Credentials with an ended token that one pick passes over at most: after a night's sleep all may have one."""

log = getLogger("turnout.conduct")


@attrs.define(kw_only=True, eq=False, repr=False)
class Conductor:
    """Conducts calls over the credentials in custody, by the generation in force when each call begins.

    Attributes:
        generation: for the calls that begin from now on; there is one before the first call.
        calls: those under way.
        draining: no new call is taken.
    """

    _custody: Custody
    _origins: Origins
    _judge: Judge
    generation: Generation = attrs.field(init=False)
    _clock: Clock
    _draw: Callable[[], float]
    _new_id: Callable[[], str]
    _remember: Callable[[Decision], Any]
    _observers: Observers
    _refresh: RefreshRoom
    _pending: Callable[[], Mapping[str, float]]
    calls: Open = attrs.field(init=False, factory=Open)
    draining: trio.Event = attrs.field(init=False, factory=trio.Event)
    _recovery: Recovery = attrs.field(init=False)
    _hedges: Hedges = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._recovery = Recovery(
            custody=self._custody,
            origins=self._origins,
            refresh=self._refresh,
            now=self._clock.now,
            draw=self._draw,
            scope=self.scope,
        )
        moves = Moves(
            conduct=self._conduct,
            pick=self._pick,
            call=self._call_credential,
            open=self._open,
            scope=self.scope,
            decide=self._decide,
        )
        self._hedges = Hedges(moves)

    async def execute(self, ask: Ask, under: LastingScope | None = None) -> Answer:
        """Conduct a call that does not stream. Waits; raises TurnoutError."""
        run = self._begin(ask, stream=False)
        run.under = under
        try:
            reply = await self._conduct(run, self._execute)
        except BaseException as error:
            self._decide(run, error)
            raise
        return _Answer(reply=reply, decision=self._decide(run, None))

    def stream(self, ask: Ask, under: LastingScope | None = None) -> AbstractAsyncContextManager[AnswerStream]:
        """Conduct a streaming call: entering waits for the first payload, leaving closes the upstream at once.

        Raises TurnoutError: on entering, from the stream's `__anext__`, and on leaving when a limit ended the block.
        """
        return Streaming(self._open_stream, ask, under)

    async def _open_stream(self, ask: Ask, under: LastingScope | None) -> Entered:
        run = self._begin(ask, stream=True)
        hedge = run.generation.hedge
        if hedge is not None and ask.pin is None and hedge.concerns(run.providers, run.name.key):
            return self._hedges.stream(run, hedge)  # its attempts run below a nursery, where nothing is lent
        run.under = under
        try:
            live = await self._conduct(run, self._open)
        except BaseException as error:
            self._decide(run, error)
            raise
        live.decision = self._decide(run, None)
        return live

    def scope(self, run: Run) -> CallScope:
        """A scope for something that this call waits for, with no limit but the call's own."""
        return CallScope(self.calls, run)

    def _begin(self, ask: Ask, *, stream: bool) -> Run:
        if self.draining.is_set():
            raise Draining("the gateway is closing and takes no new calls")
        name = parse(ask.model)
        generation = self.generation
        run = Run(ask, name, generation, id=ask.id or self._new_id(), stream=stream, began=self._clock.time())
        try:
            run.providers = self._providers(ask, name, generation)
        except TurnoutError as error:  # nobody is asked, and still it is a call (design 8)
            self._decide(run, error)
            raise
        if ask.affinity and generation.affinity:
            run.affinity = digest(ask.affinity)
        return run

    def _providers(self, ask: Ask, name: ModelName, generation: Generation) -> Sequence[str]:
        """Who serves the model: those that speak the ask's dialect, then those that translate it.

        All are candidates; the order counts where nobody's turn does: within a tier `fill-first` takes the first.
        """
        serving = self._custody.catalogue.providers_of(name.key)
        if len(serving) == 1 and generation.providers[serving[0]].speaks(ask.dialect):
            return serving  # as nearly always: 1 µs less
        providers = [key for key in serving if generation.providers[key].speaks(ask.dialect)]
        if len(providers) < len(serving):
            providers += [key for key in serving if generation.providers[key].takes(ask.dialect)]
        if providers:
            return providers
        self._refuse_while_unlisted(ask, generation)
        if serving:
            raise NotSupported(f"model {ask.model!r} is served, but not in the API that was called")
        raise UnknownModel(ask.model, [name for name, _ in self._custody.catalogue.names()])

    def _refuse_while_unlisted(self, ask: Ask, generation: Generation) -> None:
        """Raise Unavailable while a provider that could take the ask has not said yet what it serves.

        UnknownModel would be final for a client, and perhaps wrong.
        """
        pinned = self._custody.credentials.get(ask.pin) if ask.pin is not None else None
        pending = {
            key: until
            for key, until in self._pending().items()
            if (ask.pin is None or (pinned is not None and pinned.provider == key))
            and (provider := generation.providers.get(key)) is not None
            and (provider.speaks(ask.dialect) or provider.takes(ask.dialect))
        }
        if pending:
            names = ", ".join(sorted(pending))
            message = f"unknown model {ask.model!r}: the models of {names} are not known yet"
            raise Unavailable(message, until=min(pending.values()))

    async def _conduct(self, run: Run, attempt: Attempt[T]) -> T:
        while True:
            while (entry := self._pick(run)) is not None:
                result = await self._call_credential(run, entry, attempt)
                if result is not None:
                    return result
            await self._recovery.wait(run)
            run.tries.begin_pass()
            run.kept = NOBODY

    def _pick(self, run: Run) -> Entry | None:
        """The next credential to call in this pass, None when nobody is left for it (C5.13)."""
        if not run.tries.may_call_another():
            return None
        now = self._clock.now()
        prefer = None
        if run.affinity is not None:
            prefer = self._custody.affinity.find(run.name.key, run.affinity, now)
        ready = self._ready(run, now, run.tries.tried, prefer)
        if ready is None:
            return None
        if ready.preferred is not None:
            return ready.preferred  # nobody's turn: a busy session must not steer the others (D7)
        chosen = self._select(run, ready)
        if self._custody.credentials[chosen.key].metadata is None or run.ask.pin is not None:
            return chosen
        return self._with_sound_token(run, chosen, now)

    def _ready(self, run: Run, now: float, tried: Collection[str], prefer: str | None) -> ReadyView | None:
        return self._custody.schedule.ready(
            run.providers,
            run.name.key,
            now,
            tried=tried,
            pin=run.ask.pin,
            prefer=prefer,
            prefer_tier=run.generation.prefer_tier,
            websocket=run.ask.websocket,
            skip_origins=self._origins.skipped(run.tries.skipped_origins, now),
        )

    def _with_sound_token(self, run: Run, chosen: Entry, now: float) -> Entry:
        """Who is called in place of one whose token has ended: the next of its tier that need not be waited for.

        It is renewed meanwhile. Where there is no other, it is waited for: it is ready by C4, so that no lower tier
        takes its place (C5.8).
        """
        entry, passed_over = chosen, set[str]()
        for _ in range(PASSED_OVER):
            if not self._refresh.ask_if_ended(self._custody.credentials[entry.key]):
                return entry
            passed_over.add(entry.key)
            ready = self._ready(run, now, run.tries.tried | passed_over, None)
            if ready is None or ready.best.priority < chosen.priority:
                break
            entry = self._select(run, ready)
        return chosen

    def _select(self, run: Run, ready: ReadyView) -> Entry:
        generation = run.generation
        try:
            chosen = generation.selector.select(ready, run.ask, self._draw)
        except BaseException as error:
            generation.selector_border.translate(error)
            raise
        if chosen is None:
            raise NoCredential("selector returned no auth")
        if not isinstance(chosen, Entry) or not _is_candidate(chosen, run):
            raise generation.selector_border.wrong(f"chose a {type(chosen).__name__} that is none of the candidates")
        self._custody.schedule.chosen(chosen, ready)
        return chosen

    def _call_credential(self, run: Run, entry: Entry, attempt: Attempt[T]) -> Awaitable[T | None]:
        """Call a credential with each of its upstream models in turn; None: walk on to the next one."""
        run.tries.tried.add(entry.key)
        credential = self._custody.credentials[entry.key]
        if credential.metadata is None and not run.tries.upstream_failures:
            return self._call_members(run, entry, credential, attempt)  # a coroutine less for nearly every call
        return self._call_after_trouble(run, entry, credential, attempt)

    async def _call_after_trouble(
        self, run: Run, entry: Entry, credential: Credential, attempt: Attempt[T]
    ) -> T | None:
        """The same where a token may have ended, or where failures of this call ask for care or a pause."""
        if credential.metadata is not None and self._refresh.has_ended(credential):
            with self.scope(run):
                renewed = await self._refresh.fresh(credential)
            if renewed is None or not entry.admitted:
                return None
            credential = renewed
        if not (failures := run.tries.failures_at(credential.origin)):
            if run.tries.upstream_failures and not self._origins.may_fail_over(credential.origin):
                run.tries.ration(credential.id, credential.origin)
                return None
            return await self._call_members(run, entry, credential, attempt)
        if not self._origins.may_retry(credential.origin, len(self.calls.scopes)):
            run.tries.ration(credential.id, credential.origin)
            return None
        with self._origins.retrying(credential.origin):
            with self.scope(run):
                await trio.sleep(self._draw() * longest_pause(failures, run.last))
            if not entry.admitted:
                return None  # while we waited it was benched, switched off or removed
            return await self._call_members(run, entry, self._custody.credentials[entry.id], attempt)

    async def _call_members(self, run: Run, entry: Entry, credential: Credential, attempt: Attempt[T]) -> T | None:
        members = self._members(run, entry, credential)
        if not members:
            return None
        if len(members) > 1:
            self._take_turn(credential, run.name)
        run.tries.called += 1
        log_pick(run, credential)
        for upstream in members:
            await trio.lowlevel.checkpoint_if_cancelled()
            if len(members) > 1 and not self._is_ready(credential, upstream):
                continue  # it has begun to cool while another member was called
            if run.unanswered:
                _tell_resent(run, credential)
            try:
                return await attempt(run, entry, credential, upstream)
            except UpstreamFailed as failure:
                if run.noted(failure, credential.provider):
                    return None
                if run.tries.failed(failure.verdict, credential.origin) is Step.OVER:
                    raise
                if failure.verdict.sent is Sent.MAYBE:
                    run.unanswered = credential.id
        return None

    def _members(self, run: Run, entry: Entry, credential: Credential) -> Sequence[Upstream]:
        """Upstream models to call on this credential, those that cool left out (C7.4, C7.10)."""
        members = run.generation.providers[credential.provider].aliases.upstreams(credential, run.name)
        if len(members) == 1 and len(entry.recorded) == 1:  # else the entry is ready if any name in its group is
            return members
        turn = self._custody.turns.get(credential.id, {}).get(pool_key(credential, run.name), 0)
        return [one for one in rotate(members, turn) if self._is_ready(credential, one)]

    def _is_ready(self, credential: Credential, upstream: Upstream) -> bool:
        """Whether a member of a pool may be called now; not if the credential has gone or was switched off.

        Nor while somebody else probes it (design 8).
        """
        known = self._custody.credentials.get(credential.id)
        if known is None or self._custody.schedule.is_probed(known.id, upstream.recorded):
            return False
        state = self._custody.states[known.id]
        return blocked(known, state, (upstream.recorded,), self._clock.now()).kind is IS_READY

    def _take_turn(self, credential: Credential, name: ModelName) -> None:
        """The pool's members take turns in being first; only calls count (C7.8 with O29)."""
        key = pool_key(credential, name)
        turns = self._custody.turns.setdefault(credential.id, {})
        turns[key] = advanced(turns.get(key, 0))

    def _call(self, run: Run, credential: Credential, upstream: Upstream) -> tuple[ProviderInstance, Call]:
        generation = run.generation
        transport = None
        if generation.transport is not None:
            try:
                transport = generation.transport.for_credential(credential)
            except BaseException as error:
                generation.transport_border.translate(error)
                raise
        call = _Call(ask=run.ask, credential=credential, model=upstream.model, transport=transport)
        return generation.providers[credential.provider], call

    async def _execute(self, run: Run, entry: Entry, credential: Credential, upstream: Upstream) -> Reply:
        provider, call = self._call(run, credential, upstream)
        now = self._clock.time()
        with Slot(self._custody.schedule, entry, upstream.recorded, now) as slot:
            try:
                with CallScope(self.calls, run, now + run.generation.limits.headers, HEADERS, run.under):
                    try:
                        reply = await provider.operations[run.operation](call)
                    except BaseException as error:
                        provider.border.translate(error)
                        raise
                _check(reply, provider.border)
            except BaseException as error:
                await self._failed(run, credential, upstream, slot, error)
                raise
            _learn(entry, reply.remaining)
            took = self._served(run, credential, upstream, slot)
            self._judge.record(run, credential, upstream.recorded, DONE, took, began=slot.began)
            return reply

    async def _open(self, run: Run, entry: Entry, credential: Credential, upstream: Upstream) -> LiveStream:
        provider, call = self._call(run, credential, upstream)
        limits = run.generation.limits
        now = self._clock.time()
        slot = Slot(self._custody.schedule, entry, upstream.recorded, now).__enter__()
        try:
            scope = CallScope(self.calls, run, now + limits.first_payload, FIRST_PAYLOAD, run.under)
            attempt = StreamAttempt(
                provider.plugin, call, limits, scope, provider.border, held_bytes=run.generation.held_bytes
            )
            source = await attempt.__aenter__()
            _learn(entry, source.remaining)
            took = self._served(run, credential, upstream, slot)
        except BaseException as error:
            try:
                await self._failed(run, credential, upstream, slot, error)
            finally:
                slot.__exit__(None, None, None)
            raise
        ended = partial(self._judge.record, run, credential, upstream.recorded, took=took, began=slot.began)
        return LiveStream(source, slot, ended)

    async def _failed(
        self, run: Run, credential: Credential, upstream: Upstream, slot: Slot, error: BaseException
    ) -> None:
        """Tell how an attempt ended without an answer, and record it if that was a failure of the upstream.

        A failure that meets a cancelled call is its cancellation, and nothing else (C8.3.5, C9.3).
        """
        now = self._clock.time()
        if not isinstance(error, UpstreamFailed):
            run.note_ended(credential, upstream.model, slot.began, now)
            return
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            run.note_ended(credential, upstream.model, slot.began, now)
            raise
        took = run.note(credential, upstream.model, slot.began, now, error.verdict)
        self._judge.record(run, credential, upstream.recorded, error.verdict, took, began=slot.began)

    def _served(self, run: Run, credential: Credential, upstream: Upstream, slot: Slot) -> float:
        """The reply or the first payload is here; gives the seconds it took."""
        now = self._clock.time()
        took = run.note(credential, upstream.model, slot.began, now, DONE)
        slot.answered(took)
        if run.served_by:  # of two that race, the other one was faster by a hair
            return took
        run.served_by = credential.id
        run.upstream_model = upstream.model
        if run.affinity is not None:
            self._custody.affinity.learn(run.name.key, run.affinity, credential.id, self._clock.at(now))
            if log.isEnabledFor(DEBUG):
                log.debug("call %s: its session stays with %s for model %s", run.id, ident(credential), run.name.key)
        return took

    def _decide(self, run: Run, error: BaseException | None) -> Decision:
        ended = self._clock.time()
        now = self._clock.at(ended)
        skipped: tuple[tuple[str, str], ...] = ()
        if isinstance(error, TurnoutError) or len(run.attempts) > 1:
            skipped = left_out(run, self._custody, self._origins.skipped(run.tries.skipped_origins, now), now)
        decision = run.decision(error, ended - run.began, now, skipped)
        self._remember(decision)
        if self._observers:
            self._observers.tell(CallDecided(at=now, decision=decision))
        return decision


def _check(reply: object, border: plugin_code) -> None:
    """Raise PluginError for what is no reply, or none that a frontend could send (acceptance H10)."""
    if type(reply) is not Reply:
        raise border.wrong(f"gave a {type(reply).__name__} where a Reply is due")
    if not isinstance(reply.body, bytes):
        raise border.wrong(f"gave a Reply whose body is a {type(reply.body).__name__}, not bytes")


def _learn(entry: Entry, remaining: Remaining | None) -> None:
    """Take note of what an upstream says is left, for selectors to see."""
    if type(remaining) is Remaining:
        entry.remaining = remaining


def _tell_resent(run: Run, credential: Credential) -> None:
    """Log that a request which was sent and not answered is tried again: it may be billed twice (B6)."""
    log.warning("call %s: sent to %s and not answered, tried again with %s", run.id, run.unanswered, credential.id)
    run.unanswered = ""


def longest_pause(failures: int, last: UpstreamFailed | None) -> float:
    """Seconds that the pause before the next try lasts at most, after so many failures at one origin."""
    overloaded = last is not None and isinstance(last.verdict, Overloaded)
    return min(PAUSE_CAP, (OVERLOAD_PAUSE if overloaded else PAUSE) * 2.0 ** (failures - 1))


def _is_candidate(entry: Entry, run: Run) -> bool:
    """Whether a selector may have seen this entry in this pick: it may have kept one from another (H10)."""
    return (
        entry.admitted
        and entry.base == run.name.key
        and entry.key not in run.tries.tried
        and (run.ask.pin is None or run.ask.pin == entry.key)
        and entry.provider in run.providers
    )
