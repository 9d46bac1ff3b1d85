"""The judge of a simulation: what must hold at every moment, however the faults fall.

It reads the kernel's rooms, and decides for itself, in the plainest way, what they should say. What it knows of a call
is in `_case`, of tries again in `_rations`, of sessions in `_sessions`; what times allow is in `_readiness`, what
a whole call may do in `_decided`, and that each attempt is recorded once in `_tally`.
"""
# ruff: noqa: SLF001  # a judge looks behind the counter

from collections.abc import Sequence

import trio

from turnout._due import SPREAD
from turnout._kernel import Kernel
from turnout._ledger_renewals import refused
from turnout._names import parse
from turnout._records import decode_credential
from turnout._values import Ask, Call, Credential, Decision, Outcome
from turnout.errors import TurnoutError
from turnout.testing._case import Attempt, Case
from turnout.testing._decided import overdrawn
from turnout.testing._faulty_store import FaultyStore
from turnout.testing._rations import Rations
from turnout.testing._readiness import is_ready, is_usable, serves_any
from turnout.testing._sessions import Sessions
from turnout.testing._tally import miscounted
from turnout.testing._transcript import Transcript
from turnout.testing._wall import JumpingWall

LEAD = 300.0 * (1 + SPREAD)
"""Seconds before its end at which a token is renewed at the earliest."""

SLACK = 0.1
"""Seconds by which a call may outlast its deadline (D4)."""


class Referee(Transcript):
    """Watches one kernel from the outside and from the inside.

    Attributes:
        kernel: to be set before anything happens; `store` likewise.
        wall: the machine's clock.
        opening: a kernel has been opened again and nobody has called yet.
        calls: that clients made.
        attempts: those that reached an upstream.
        sessions: whom each must be served by.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel: Kernel
        self.store: FaultyStore
        self.wall = JumpingWall()
        self.opening = False
        self.calls = 0
        self.attempts: list[Attempt] = []
        self.sessions = Sessions()
        self._rations = Rations(self)
        self._cases: dict[str, Case] = {}
        self._refreshing: set[str] = set()
        self._under_way = 0
        self._ends: dict[tuple[object, ...], float] = {}

    # --- calls -------------------------------------------------------------------------------------------------------

    def called(self, ask: Ask) -> None:
        """A client calls."""
        self.calls += 1
        self._under_way += 1
        self._cases[ask.id] = Case(ask, self.kernel._conductor.generation)

    def _case(self, ask: Ask) -> Case:
        return self._cases.get(ask.id) or self._cases.setdefault(ask.id, Case(ask, self.kernel._conductor.generation))

    def begin(self, call: Call) -> Attempt:
        """An upstream is called: may it be, now?"""
        credential, ask = call.credential, call.ask
        self.note("call", ask.id, credential.id, call.model)
        case = self._case(ask)
        self._may_be_called(credential, parse(call.model).key)
        pin = case.ask.pin  # what the client said: the kernel has its own copy
        self.law(pin in {None, credential.id}, "%s is pinned to %s and went to %s (C5.11)", ask.id, pin, credential.id)
        self.law(not case.committed, "%s is tried again after its first payload (D3)", ask.id)
        unsafe, allowed = case.unsafe, case.retry.retry_unsafe + case.hedged
        self.law(unsafe <= allowed, "%s is sent once more after %s tries without an answer (B6)", ask.id, unsafe)
        if pin is None and not case.begun and case.began == trio.current_time():
            self._must_stay(case, credential)
        again = not case.is_next_member(call) and self._rations.begin(case, credential.origin, self._under_way)
        attempt = case.begin(call, again=again)
        self.attempts.append(attempt)
        return attempt

    def _may_be_called(self, credential: Credential, recorded: str) -> None:
        custody = self.kernel._custody
        known = custody.credentials.get(credential.id)
        self.law(known is not None, "%s is called after it was removed (H3)", credential.id)
        if known is None:
            return
        now = self.kernel._clock.now()
        self.law(not known.disabled, "%s is called while it is switched off (C4.1)", credential.id)
        open_now = is_ready(known, custody.states[known.id], [recorded], now)
        self.law(open_now, "%s is called while it is blocked for %s (C4)", credential.id, recorded)
        self._must_be_durable(known)

    def _must_be_durable(self, credential: Credential) -> None:
        """A renewed token is in the store before it is used, unless the store refused it (E4)."""
        used = generation_of(credential)
        if not used or ("secret", credential.id) in self.store.refused:
            return
        record = self.store.memory.records.get(("secret", credential.id))
        kept = 0 if record is None else generation_of(decode_credential(record.data))
        self.law(kept >= used, "token %s of %s is used, and %s is in the store (E4)", used, credential.id, kept)

    def _must_stay(self, case: Case, called: Credential) -> None:
        """A session goes first to whoever served it last, if that one is ready and no higher tier is (C12.4, O5).

        Only where nobody waited in between, as one may for a token, and nobody probes.
        """
        custody = self.kernel._custody
        wanted = self.sessions.wanted(case, custody.moved)
        known = custody.credentials.get(wanted)
        if wanted == called.id or known is None or known.metadata is not None or called.metadata is not None:
            return
        now, base = self.kernel._clock.now(), parse(case.ask.model).key
        names = custody._serves[wanted].get(base, ())
        passed_over = (
            is_ready(known, custody.states[wanted], names, now)
            and _priority(called) <= _priority(known)
            and known.origin not in self.kernel._origins.cooling(now)
            and not custody.schedule.statistics().probing
        )
        self.law(
            not passed_over, "%s leaves %s, which served its session, for %s (C12)", case.ask.id, wanted, called.id
        )

    def over(self, attempt: Attempt) -> None:
        """An attempt is over."""
        ends, case = attempt.ends, self._cases[attempt.ask]
        self.note("over", attempt.ask, attempt.credential, type(ends).__name__, "cut" if attempt.cut else "")
        case.over(attempt)
        self._rations.over(attempt, counts=attempt.credential in self.kernel._custody.credentials)

    def commit(self, attempt: Attempt) -> None:
        """The kernel got a reply or a payload of this attempt."""
        case = self._cases[attempt.ask]
        if not case.committed:
            certain = case.begun == 1 or not case.hedged
            certain = certain and trio.current_effective_deadline() > trio.current_time()
            self.sessions.served(case, attempt.credential, self.kernel._custody.moved, certain=certain)
        case.committed = True
        self._rations.commit(attempt)

    def answered(self, ask: Ask, began: float, limit: float, error: BaseException | None, *, gone: bool) -> None:
        """A client has its answer, or gave up."""
        self._under_way -= 1
        took = trio.current_time() - began
        self.note("answer", ask.id, "gone" if gone else "ok" if error is None else type(error).__name__)
        self.law(took <= limit + SLACK, "%s took %.3f s of at most %g (D4)", ask.id, took, limit)
        self.law(error is None or isinstance(error, TurnoutError), "%s ended in %r", ask.id, error)
        case = self._cases.get(ask.id)
        open_now = 0 if case is None else case.open
        self.law(not open_now, "%s is over, and %s attempts of it are open upstream (D2)", ask.id, open_now)

    def decided(self, decision: Decision) -> None:
        """A call is over: did it keep to its budgets?"""
        case = self._cases[decision.id]
        for problem in overdrawn(decision, case.retry, hedged=case.hedged):
            self.broken(problem)

    def recorded(self, outcomes: Sequence[Outcome]) -> None:
        """Everything is over: was each attempt recorded, once?"""
        for problem in miscounted(self.attempts, outcomes):
            self.broken(problem)

    # --- refreshes ---------------------------------------------------------------------------------------------------

    def refresh_begins(self, credential: Credential) -> None:
        """A refresh starts: one per credential, sixteen in all, none of one that is off (O55, C11.1.2, E10)."""
        id = credential.id
        self.note("refresh", id)
        self.law(id not in self._refreshing, "%s is refreshed twice at once (O55)", id)
        self._refreshing.add(id)
        self.law(len(self._refreshing) <= 16, "more than 16 refreshes at once (C11.1.2)")
        known = self.kernel._custody.credentials.get(id)
        self.law(known is not None and not known.disabled, "%s is refreshed while it is off (E10)", id)
        if self.opening:
            ends = float(0 if credential.metadata is None else credential.metadata["expires_at"])
            now = self.kernel._clock.now()
            wanted = ends - now <= LEAD or refused(self.kernel._custody.states[id], now)
            self.law(wanted, "%s is refreshed by a restart, and its token lasts %.0f s more", id, ends - now)

    def refresh_ends(self, credential: Credential) -> None:
        """It is over."""
        self._refreshing.discard(credential.id)

    # --- at any moment -----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """What must hold between any two steps: the schedule says of everybody what times say (C4.6, O10 to O12)."""
        custody = self.kernel._custody
        now = self.kernel._clock.now()
        due: dict[tuple[str, str], int] = {}
        for id, credential in custody.credentials.items():
            state, provider = custody.states[id], credential.provider
            usable = is_usable(credential, state, now)
            for base, names in custody._serves[id].items():
                ready = usable and serves_any(state.models, names, now)
                due[provider, base] = due.get((provider, base), 0) + ready
        for (provider, base), count in due.items():
            told = custody.schedule.ready_count(provider, base, now)
            if told != count:
                probing = custody.schedule.statistics().probing
                law = f"{provider} has {count} ready for {base}, and the schedule says {told} ({probing} probe)"
                self.law(count - probing <= told <= count, law)
        self._cooldowns_keep_their_length()

    def _cooldowns_keep_their_length(self) -> None:
        """A block ends when it was to end, by Trio's clock, wherever the wall clock has jumped meanwhile (K1)."""
        anchor = self.kernel._clock.at(0.0)
        for id, state in self.kernel._custody.states.items():
            for name, one in state.models.items():
                if one.next_retry_after is not None:
                    ends = one.next_retry_after - anchor
                    known = self._ends.setdefault((id, name, one.updated_at, one.last_error), ends)
                    self.law(
                        abs(known - ends) < SLACK, "%s cools for %s until %.1f, not %.1f (K1)", id, name, ends, known
                    )

    def restarted(self, kernel: Kernel) -> None:
        """Another kernel takes over: from now on its clock counts, which it has just set by the wall."""
        self.kernel = kernel
        self._ends.clear()
        self.sessions.forget()
        self._rations = Rations(self)

    def at_rest(self) -> None:
        """No client is left: nothing is in flight any more."""
        kernel = self.kernel
        schedule = kernel._custody.schedule
        busy = {id: member.in_flight for id, member in schedule._members.items() if member.in_flight}
        self.law(not busy, f"in flight with nobody calling: {busy}")
        probed = {id: list(member.probes) for id, member in schedule._members.items() if member.probes}
        self.law(not probed, f"probes are never ended: {probed}")
        self.law(not kernel._conductor.calls.scopes, "calls are under way with nobody calling")
        again = {origin: one.retrying for origin, one in kernel._origins._ill.items() if one.retrying}
        self.law(not again, f"tries again are never given back: {again}")


def generation_of(credential: Credential) -> int:
    """How often the token of this credential was renewed."""
    return 0 if credential.metadata is None else int(credential.metadata.get("generation", 0))


def _priority(credential: Credential) -> int:
    return int(credential.attributes.get("priority") or 0)
