"""What the end of an attempt means for the pool: the ledger's word put in force, once per attempt.

Failures that several credentials of one origin share within one call speak against the way to that origin: it cools,
and the credentials' states are given back (design 8, 16).
"""

import math
from collections.abc import Callable
from logging import getLogger

import attrs
import trio

from turnout._cooldown import PASSING, speaks_against_origin
from turnout._custody import Custody
from turnout._events import OutcomeRecorded
from turnout._generation import Generation
from turnout._ledger import benched_since, outlasts, record, restore, settled
from turnout._observers import Observers
from turnout._origins import Origins
from turnout._quick import quick
from turnout._readings import cooling_off
from turnout._renewal import another_account, mark_of
from turnout._rest_log import log_rest
from turnout._run import Run, Taken
from turnout._shift import shifted
from turnout._values import Credential, CredentialState, Outcome
from turnout._verdicts import ON_ORIGIN, Done, Failure, Unauthorized, Verdict
from turnout.errors import TurnoutError

DONE = Done()

_Outcome = quick(Outcome)

log = getLogger("turnout.plugins")


class Judge:
    """Records how attempts ended."""

    __slots__ = ("_ask_refresh", "_custody", "_now", "_observers", "_origins")

    def __init__(
        self,
        *,
        custody: Custody,
        origins: Origins,
        now: Callable[[], float],
        observers: Observers,
        ask_refresh: Callable[[str], bool],
    ) -> None:
        self._custody = custody
        self._origins = origins
        self._now = now
        self._observers = observers
        self._ask_refresh = ask_refresh

    def record(
        self, run: Run, credential: Credential, recorded: str, verdict: Verdict, took: float, *, began: float
    ) -> None:
        """Put one outcome in force (C10): state, schedule, dirty mark, origin, events, learning selector.

        `began` is when the attempt did, on Trio's clock; `took` are its seconds to the end or the first payload.
        """
        before = self._custody.states.get(credential.id)
        as_before = type(verdict) is Done and before is not None and settled(before, recorded)
        if as_before:
            self._origins.succeeded(credential.origin)
            if run.generation.observe is None and not self._observers:
                return  # nobody listens, so that the outcome is not even made
        outcome = _Outcome(credential=credential.id, provider=credential.provider, model=recorded, verdict=verdict)
        if before is not None and not as_before:
            self._settle(run, credential, outcome, before, began)
        if run.generation.observe is not None:
            _teach(run.generation, outcome, took)
        if self._observers:
            self._observers.tell(OutcomeRecorded(at=self._now(), outcome=outcome, took=took))

    def _settle(
        self, run: Run, credential: Credential, outcome: Outcome, before: CredentialState, began: float
    ) -> None:
        policy = run.generation.policy
        verdict, age = outcome.verdict, self._age(began)
        if isinstance(verdict, Done):
            self._origins.succeeded(credential.origin)
            if policy.half_open and benched_since(before, outcome.model, self._now(), age):
                return
        elif isinstance(verdict, Failure) and verdict.blame is ON_ORIGIN:
            self._origins.blamed(credential.origin)
        if self._is_superseded(credential, verdict):
            run.kept |= {credential.id}
            return
        now = self._now()
        last = type(verdict) in PASSING and self._custody.schedule.is_last_ready(
            credential.id, run.name.key, run.providers, now
        )
        refreshable = run.generation.providers[credential.provider].refresher is not None
        change = record(
            before,
            outcome,
            now,
            policy,
            cooling=_cooling(credential),
            last_ready=last,
            refreshable=refreshable,
        )
        if last and policy.keep_last:
            run.kept |= {credential.id}
        gentle = policy.half_open or (last and policy.keep_last)
        if change.changed and not (gentle and outlasts(before, change.state, outcome.model, now, age)):
            self._custody.settle(credential.id, _marked(change.state, verdict, credential), outcome.model)
            log_rest(credential, outcome, before=before, after=change.state, now=now, renewable=refreshable)
        if speaks_against_origin(verdict, policy):
            self._suspect_route(run, credential, Taken(credential.id, outcome.model, before, self._custody.moved))
        if change.refresh and self._ask_refresh(credential.id):
            run.refreshing |= {credential.id}

    def _age(self, began: float) -> float:
        """Seconds for which an attempt has been under way.

        Infinity where the clock has jumped meanwhile: times from before that do not compare with those of now, and
        whatever rests has begun to after the attempt did, or it would not have been made.
        """
        return math.inf if began <= self._custody.jumped else trio.current_time() - began

    def _is_superseded(self, called: Credential, verdict: Verdict) -> bool:
        """Whether what befell the credential that was called is not about the one that is there now.

        That is so where it has got another key, and with a refusal where it has got a newer token.
        """
        current = self._custody.credentials.get(called.id)
        if current is None:
            return False
        renewed = isinstance(verdict, Unauthorized) and current.metadata != called.metadata
        return renewed or another_account(called, current)

    def _suspect_route(self, run: Run, credential: Credential, failure: Taken) -> None:
        """Blame the origin once two of its credentials failed alike in this call, and give their states back."""
        blamed = run.blamed.setdefault(credential.origin, [])
        blamed.append(failure)
        if len({one.credential for one in blamed}) < 2:
            return
        now = self._now()
        self._origins.shared(credential.origin, now, run.generation.policy)
        for one in blamed:
            if (current := self._custody.states.get(one.credential)) is not None:
                before = shifted(one.before, self._custody.moved - one.moved)
                back = restore(before, current, one.model, route_429=run.generation.policy.route_429)
                self._custody.settle(one.credential, back, one.model)
        blamed[:] = blamed[-1:]


def _teach(generation: Generation, outcome: Outcome, took: float) -> None:
    """Tell a selector that learns. Its failure is logged and hurts nobody: the call may have been served (O25, H8)."""
    try:
        with generation.selector_border:
            if generation.observe is not None:
                generation.observe(outcome, took)
    except TurnoutError as error:
        log.warning("a selector did not learn from an outcome: %s", error)


def _marked(state: CredentialState, verdict: Verdict, credential: Credential) -> CredentialState:
    """The state with what was refused: another secret, by whatever way it comes, was not."""
    return attrs.evolve(state, refused=mark_of(credential)) if isinstance(verdict, Unauthorized) else state


def _cooling(credential: Credential) -> bool | None:
    off = cooling_off(credential) if credential.metadata is not None else None
    return None if off is None else not off
