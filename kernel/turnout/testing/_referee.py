"""The judge of a simulation: what must hold at every moment, however the faults fall, and the trace of what happened.

It reads the kernel's rooms, and decides for itself, in the plainest way, what they should say.
"""
# ruff: noqa: SLF001  # a judge looks behind the counter

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio

from turnout._attempts import Retry
from turnout._due import SPREAD
from turnout._hedge import LOST
from turnout._kernel import Kernel
from turnout._names import parse
from turnout._origins import LEAST, SHARE
from turnout._records import decode_credential
from turnout._values import Ask, Call, Credential, CredentialState, Decision, Outcome
from turnout._verdicts import Blame, Done, Failure, InvalidRequest, Sent, TimedOut
from turnout.errors import TurnoutError
from turnout.testing._faulty_store import FaultyStore
from turnout.testing._wall import JumpingWall

LEAD = 300.0 * (1 + SPREAD)
"""Seconds before its end at which a token is renewed at the earliest."""

SLACK = 0.1
"""Seconds by which a call may outlast its deadline (D4)."""


@attrs.define(eq=False)
class Attempt:
    """One call that reached the upstream.

    Attributes:
        again: a try at an origin that has failed in the same call.
        ends: what the kernel must record; None while nothing is certain, or when it ended in a bug.
        cut: the kernel cancelled it; after a payload that may be a limit of its own or the client's leaving.
        met: it failed at the very moment at which it was cancelled, so that nobody outside can tell which one counts.
    """

    ask: str
    credential: str
    origin: str
    again: bool
    ends: Done | Failure | None = None
    cut: bool = False
    met: bool = False

    def end(self, verdict: Done | Failure | None) -> None:
        """This is how it ends, as far as is known."""
        self.ends = verdict
        self.met = isinstance(verdict, Failure) and trio.current_effective_deadline() == -math.inf


class Referee:
    """Watches one kernel from the outside and from the inside.

    Attributes:
        kernel: to be set before anything happens; `store` likewise.
        problems: what did not hold, in order of appearance; empty is good.
        trace: what happened, line by line.
        wall: the machine's clock.
        opening: a kernel has been opened again and nobody has called yet.
    """

    def __init__(self) -> None:
        self.kernel: Kernel
        self.store: FaultyStore
        self.wall = JumpingWall()
        self.opening = False
        self.problems: list[str] = []
        self.trace: list[str] = []
        self.attempts: list[Attempt] = []
        self._committed: set[str] = set()
        self._failed_at: dict[str, Counter[str]] = defaultdict(Counter)
        self._budgets: dict[str, Retry] = {}
        self._hedged: dict[str, bool] = {}
        self._again: Counter[str] = Counter()
        self._most_calls = 0
        self._refreshing: set[str] = set()
        self._calls = 0
        self._ends: dict[tuple[object, ...], float] = {}

    # --- telling -----------------------------------------------------------------------------------------------------

    def note(self, *words: object) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{trio.current_time():.3f} {' '.join(map(str, words))}")

    def digest(self) -> str:
        """Stands for the whole trace: the same for the same run."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def law(self, kept: bool, law: str, *what: object) -> None:  # reads as an assertion
        """Say that something must hold; `what` is put into the words, as in logging, where it does not."""
        if not kept:
            law = law % what if what else law
            self.note("BROKEN", law)
            self.problems.append(law)

    # --- calls -------------------------------------------------------------------------------------------------------

    def begin(self, call: Call) -> Attempt:
        """An upstream is called: may it be, now?"""
        credential, ask = call.credential, call.ask
        origin = credential.origin
        self.note("call", ask.id, credential.id, call.model)
        self._may_be_called(credential, parse(call.model).key, ask)
        self.law(ask.id not in self._committed, "%s is tried again after its first payload (D3)", ask.id)
        budgets = self._budgets.setdefault(ask.id, self.kernel._conductor.generation.retry)
        # in several passes nobody outside can tell whether a try begins a new one
        again = budgets.passes == 1 and self._failed_at[ask.id][origin] > 0
        self._again[origin] += again
        self._most_calls = max(self._most_calls, self._calls)
        most = max(LEAST, SHARE * self._most_calls)
        self.law(
            self._again[origin] <= most, "%s tries again at %s: more than %s (D1)", self._again[origin], origin, most
        )
        attempt = Attempt(ask.id, credential.id, origin, again)
        self.attempts.append(attempt)
        return attempt

    def _may_be_called(self, credential: Credential, recorded: str, ask: Ask) -> None:
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
        self.law(
            ask.pin in {None, credential.id},
            "%s is pinned to %s and went to %s (C5.11)",
            ask.id,
            ask.pin,
            credential.id,
        )

    def _must_be_durable(self, credential: Credential) -> None:
        """A renewed token is in the store before it is used, unless the store refused it (E4)."""
        used = generation_of(credential)
        if not used or ("secret", credential.id) in self.store.refused:
            return
        record = self.store.memory.records.get(("secret", credential.id))
        kept = 0 if record is None else generation_of(decode_credential(record.data))
        self.law(kept >= used, "token %s of %s is used, and %s is in the store (E4)", used, credential.id, kept)

    def over(self, attempt: Attempt) -> None:
        """An attempt is over."""
        ends = attempt.ends
        self.note("over", attempt.ask, attempt.credential, type(ends).__name__, "cut" if attempt.cut else "")
        self._no_longer_again(attempt)
        if (attempt.cut and ends is None) or (isinstance(ends, Failure) and ends.blame is Blame.ORIGIN):
            self._failed_at[attempt.ask][attempt.origin] += 1

    def commit(self, attempt: Attempt) -> None:
        """The kernel got a payload of this attempt."""
        self._committed.add(attempt.ask)
        self._no_longer_again(attempt)

    def _no_longer_again(self, attempt: Attempt) -> None:
        self._again[attempt.origin] -= attempt.again
        attempt.again = False

    def called(self, ask: Ask) -> None:
        """A client calls."""
        self._calls += 1
        generation = self.kernel._conductor.generation
        self._budgets[ask.id] = generation.retry
        self._hedged[ask.id] = generation.hedge is not None

    def answered(self, ask: Ask, began: float, limit: float, error: BaseException | None, *, gone: bool) -> None:
        """A client has its answer, or gave up."""
        self._calls -= 1
        took = trio.current_time() - began
        self.note("answer", ask.id, "gone" if gone else "ok" if error is None else type(error).__name__)
        self.law(took <= limit + SLACK, "%s took %.3f s of at most %g (D4)", ask.id, took, limit)
        self.law(error is None or isinstance(error, TurnoutError), "%s ended in %r", ask.id, error)

    def decided(self, decision: Decision) -> None:
        """A call is over: did it keep to its budgets (design 8, D1)?"""
        id = decision.id
        retry = self._budgets[id]
        beside = self._hedged.get(id, False)  # one more attempt may be under way when a budget is used up
        attempts = [one for one in decision.attempts if one.verdict is not LOST]
        failures = [one.verdict for one in attempts if isinstance(one.verdict, Failure)]
        self.law(decision.passes <= retry.passes, "%s took %s passes of %s", id, decision.passes, retry.passes)
        most = Counter((one.credential, one.model) for one in attempts).most_common(1)
        self.law(not most or most[0][1] <= decision.passes, "%s called %s in %s passes", id, most, decision.passes)
        if retry.max_credentials:
            called = len({one.credential for one in attempts})
            self.law(called <= retry.max_credentials * decision.passes, "%s called %s credentials", id, called)
        if retry.upstream_failures:
            blamed = sum(one.blame is Blame.ORIGIN for one in failures)
            self.law(blamed <= retry.upstream_failures + beside, "%s met %s failures of origins", id, blamed)
        unsafe = sum(one.sent is Sent.MAYBE for one in failures)
        self.law(unsafe <= retry.retry_unsafe + 1 + beside, "%s was sent %s times without an answer", id, unsafe)
        mistaken = any(isinstance(one.verdict, InvalidRequest) for one in attempts[:-1])
        self.law(not mistaken, "%s was tried again after the client's own mistake (C6.3.4)", id)

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
            lasts = ends - self.kernel._clock.now()
            self.law(lasts <= LEAD, "%s is refreshed by a restart, and its token lasts %.0f s more", id, lasts)

    def refresh_ends(self, credential: Credential) -> None:
        """It is over."""
        self._refreshing.discard(credential.id)

    # --- at any moment -----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """What must hold between any two steps: the schedule says of everybody what times say (C4.6, O10 to O12)."""
        custody = self.kernel._custody
        now = self.kernel._clock.now()
        due: Counter[tuple[str, str]] = Counter()
        for id, credential in custody.credentials.items():
            for base, names in custody._serves[id].items():
                due[credential.provider, base] += is_ready(credential, custody.states[id], names, now)
        for (provider, base), ready in due.items():
            told = custody.schedule.ready_count(provider, base, now)
            if told != ready:
                probing = custody.schedule.statistics().probing
                law = f"{provider} has {ready} ready for {base}, and the schedule says {told} ({probing} probe)"
                self.law(ready - probing <= told <= ready, law)
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

    def at_rest(self) -> None:
        """No client is left: nothing is in flight any more."""
        kernel = self.kernel
        schedule = kernel._custody.schedule
        busy = {id: member.in_flight for id, member in schedule._members.items() if member.in_flight}
        self.law(not busy, f"in flight with nobody calling: {busy}")
        self.law(not schedule.statistics().probing, "a probe is never ended")
        self.law(not kernel._conductor.calls.scopes, "calls are under way with nobody calling")
        again = {origin: one.retrying for origin, one in kernel._origins._ill.items() if one.retrying}
        self.law(not again, f"tries again are never given back: {again}")

    def recorded(self, outcomes: Sequence[Outcome]) -> None:
        """Each attempt that ended by itself was recorded exactly once, and nothing else was (C10, D8)."""
        certain, either = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        early, late = Counter[str](), Counter[str]()  # cut off before the first payload, and after it
        for one in self.attempts:
            if not one.cut and one.ends is not None:
                (either if one.met else certain)[one.credential, key_of(one.ends)] += 1
            elif one.cut:
                (early if one.ends is None else late)[one.credential] += 1
        told = Counter((one.credential, key_of(one.verdict)) for one in outcomes)
        for id in {credential for credential, _ in (*told, *certain)}:
            left = told.pop((id, "Done"), 0) - certain.pop((id, "Done"), 0)
            limits = told.pop((id, "limit"), 0)
            self.law(0 <= left <= late[id], f"{id}: {left} successes too many, {late[id]} streams were cut off")
            least = late[id] - left
            self.law(least <= limits <= least + early[id], f"{id}: {limits} limits, of {least} to {least + early[id]}")
        more = told - certain - either
        self.law(not more and certain <= told, f"recorded, not due: {more}; due, not recorded: {certain - told}")


def generation_of(credential: Credential) -> int:
    """How often the token of this credential was renewed."""
    return 0 if credential.metadata is None else int(credential.metadata.get("generation", 0))


def is_ready(credential: Credential, state: CredentialState, names: Sequence[str], now: float) -> bool:
    """Whether times allow this credential to serve the model that is recorded under one of these names (C4).

    It says what `_standing.blocked` says, on purpose in words of its own: a judge that asked the accused would find
    nothing. It knows neither kinds of blocks nor probes.
    """
    if credential.disabled or state.needs_login:
        return False
    if state.unusable_until is not None and state.unusable_until > now:
        return False
    return any(_model_is_ready(state.models, name, now) for name in names)


def _model_is_ready(models: Mapping[str, Any], name: str, now: float) -> bool:
    known = models.get(name)
    return known is None or not known.unavailable or known.next_retry_after is None or known.next_retry_after <= now


def key_of(verdict: object) -> str:
    """What tells outcomes apart: upstream failures by their numbers, limits of the kernel's own as such."""
    if isinstance(verdict, TimedOut) and not verdict.message.startswith("#"):
        return "limit"
    return verdict.message if isinstance(verdict, Failure) else type(verdict).__name__
