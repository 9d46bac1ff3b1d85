"""The ledger: what an outcome does to a credential's state (C10 with C19). Pure: `now` is a parameter.

Three rules hold everywhere:

- The operator's decision stands: a status `disabled`, and its message, survive every outcome (O23).
- Whoever did nothing wrong is left alone: client mistakes and endpoints that cannot count change nothing (O41, O44).
- A block is a time, never a flag: a model is blocked only while its `next_retry_after` lies ahead.

Nothing is written down about a model or credential that never failed, so most successes change nothing at all.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import attrs

from turnout._aggregate import clear, following, remaining_error, reset, troubled, unspoken
from turnout._cooldown import (
    CORRELATED,
    ORIGIN_WELL,
    PASSING,
    OriginState,
    Policy,
    Sentence,
    block,
    record_origin,
    speaks_against_origin,
)
from turnout._ledger_renewals import refused
from turnout._quick import quick
from turnout._values import ACTIVE, CLEAN, DISABLED, ERROR, CredentialState, ErrorRecord, ModelState, Outcome
from turnout._verdicts import (
    ON_ORIGIN,
    CountUnsupported,
    Done,
    Empty,
    Failure,
    Inexpressible,
    InvalidRequest,
    ModelMissing,
    ModelUnsupported,
    PaymentRequired,
    RateLimited,
    Unauthorized,
)

__all__ = [
    "ORIGIN_WELL",
    "Change",
    "OriginState",
    "Policy",
    "outlasts",
    "record",
    "record_origin",
    "restore",
    "settled",
    "speaks_against_origin",
]

HARMLESS: Final[frozenset[type[Failure]]] = frozenset({InvalidRequest, CountUnsupported, Inexpressible})
"""Failures that say nothing about the credential (O41, O44, C10.4)."""

ROUTE_CODES: Final = frozenset(kind.code for kind in CORRELATED)
"""Codes of the failures that may be the fault of the way to an origin (design 8)."""

RETRYABLE: Final[frozenset[type[Failure]]] = frozenset({RateLimited, Empty})
"""Failures whose record says so besides those that blame an origin (C1.4; C6.1 for an empty stream)."""

MESSAGES: Final[Mapping[type[Failure], str]] = MappingProxyType(
    {
        Unauthorized: "unauthorized",
        PaymentRequired: "payment_required",
        ModelMissing: "not_found",
        RateLimited: "quota exhausted",
        **dict.fromkeys(PASSING, "transient upstream error"),
    }
)
"""Status message of a failure that concerns the whole credential (C10.5)."""


class Change(NamedTuple):
    """What an outcome did. A tuple, for it is built on every call.

    Attributes:
        state: the very object that was given when nothing changed.
        refresh: the credential should be refreshed now (O48).
    """

    state: CredentialState
    changed: bool
    refresh: bool = False


_ModelState = quick(ModelState)

UNTRIED: Final = ModelState()
"""What is known about a model that never failed."""

_STILL_CLEAN: Final = Change(state=CLEAN, changed=False)


def record(
    state: CredentialState,
    outcome: Outcome,
    now: float,
    policy: Policy,
    *,
    cooling: bool | None = None,
    last_ready: bool = False,
    refreshable: bool = False,
) -> Change:
    """What `outcome` does to the state of its credential (C10.3 to C10.7).

    `cooling` is the credential's own override of the policy (C1.11), None for none. `last_ready` says that nobody else
    is ready for the model. `refreshable` says that the credential can be renewed: its first 401 asks for that (O48).
    """
    verdict = outcome.verdict
    model = outcome.model
    if type(verdict) is Done:
        after = _succeed_model(state, model, now) if model else _succeed(state, now)
        return _STILL_CLEAN if after is CLEAN else Change(after, after is not state)
    if not isinstance(verdict, Failure) or type(verdict) in HARMLESS:
        return Change(state=state, changed=False)
    sentence = block(
        verdict,
        state.models.get(model, UNTRIED) if model else state,
        now,
        policy,
        cooling=policy.cooling if cooling is None else cooling,
        spared=last_ready and policy.keep_last,
    )
    asks = refreshable and type(verdict) is Unauthorized and not state.needs_login and not refused(state, now)
    after = _fail_model(state, model, verdict, sentence, now) if model else _fail(state, verdict, sentence, now)
    return Change(after, True, asks)


def settled(state: CredentialState, model: str) -> bool:
    """Whether a success of `model` changes nothing: the quick question of the hot path."""
    if state is CLEAN:
        return True
    entry = state.models.get(model)
    return clear(state) and (entry is None or clear(entry))


def benched_since(state: CredentialState, model: str, now: float, took: float) -> bool:
    """Whether this model was benched while an attempt ran that took so many seconds and succeeded.

    That was under way before the failure, so it does not say that the failure is over: otherwise an upstream that fails
    half of what it is asked is never left alone while there are many at a time (B32).
    """
    entry = state.models.get(model)
    if entry is None or entry.updated_at is None or entry.next_retry_after is None:
        return False
    return entry.unavailable and entry.next_retry_after > now and entry.updated_at > now - took


def outlasts(before: CredentialState, after: CredentialState, model: str, now: float, took: float) -> bool:
    """Whether a block that began while a failing attempt ran ends later than the one that the attempt brings.

    `before` and `after` are the states around its failure, which must not end what was said later than it began.
    """
    if not benched_since(before, model, now, took):
        return False
    until = after.models[model].next_retry_after
    return until is None or until < (before.models[model].next_retry_after or now)


def restore(
    before: CredentialState, current: CredentialState, model: str, *, route_429: bool = False
) -> CredentialState:
    """Take a failure of `model` back, because the way to the origin was to blame and not the credential (design 8).

    `before` is the state ahead of that failure, `current` the one now. What others recorded since then stays: nothing
    is taken back where the model has served again, or has failed for a reason of the credential's own. A rate limit
    is such a reason, unless `route_429` says otherwise.
    """
    entry = current.models.get(model) if model else current
    codes = ROUTE_CODES | {RateLimited.code} if route_429 else ROUTE_CODES
    if entry is None or entry.last_error is None or entry.last_error.code not in codes:
        return current
    if not model:
        return _as_before(before, current, current.models)
    models = current.models.copy()
    if model in before.models:
        models[model] = before.models[model]
    else:
        del models[model]
    if models == before.models:
        return _as_before(before, current, before.models)
    own = current.last_error == entry.last_error
    error = remaining_error(models) if own else current.last_error
    message = current.status_message if not own else error.message if error else ""
    return following(current, models, error, message, current.updated_at or 0.0)


def _as_before(before: CredentialState, current: CredentialState, models: Mapping[str, ModelState]) -> CredentialState:
    """The state as it was, but for what refreshes have said since then: no outcome speaks of that."""
    return attrs.evolve(before, models=models, **unspoken(current))


def _succeed(state: CredentialState, now: float) -> CredentialState:
    """A success of the credential as a whole: model states stay (C10.3)."""
    if clear(state):
        return state
    stands = state.status is DISABLED
    return CredentialState(
        status=DISABLED if stands else ACTIVE,
        status_message=state.status_message if stands else "",
        models=state.models,
        updated_at=now,
        **unspoken(state),
    )


def _succeed_model(state: CredentialState, model: str, now: float) -> CredentialState:
    """A success of one model: it is reset, and the credential follows from the others (C10.3)."""
    entry = state.models.get(model)
    well = entry is not None and clear(entry)
    if (well or entry is None) and clear(state):
        return state
    models = state.models.copy()
    if not well:
        models[model] = reset(entry or UNTRIED, now)
    stays = len(models) > 1 and any(troubled(other, now) for name, other in models.items() if name != model)
    error, message = (state.last_error, state.status_message) if stays else (None, "")
    after = following(state, models, error, message, now)
    return state if well and _alike(state, after) else after


def _fail_model(
    state: CredentialState, model: str, verdict: Failure, sentence: Sentence, now: float
) -> CredentialState:
    """A failure of one model (C10.4)."""
    old = state.models.get(model, UNTRIED)
    stands = old.status is DISABLED
    error = _error(verdict, old.last_error)
    models = state.models.copy()
    models[model] = _ModelState(
        status=DISABLED if stands else ERROR,
        status_message=old.status_message if stands else error.message,
        unavailable=True,
        next_retry_after=sentence.until,
        last_error=error,
        quota=sentence.quota,
        updated_at=now,
    )
    return following(state, models, error, error.message, now)


def _fail(state: CredentialState, verdict: Failure, sentence: Sentence, now: float) -> CredentialState:
    """A failure of the credential as a whole: model states stay, and nothing is aggregated (C10.5 with O49).

    That a model is not supported says nothing about the whole, so it is one of "anything else". An older message goes
    with the time that it was about.
    """
    stands = state.status is DISABLED
    error = _error(verdict, state.last_error)
    message = MESSAGES.get(type(verdict), error.message or "request failed")
    return CredentialState(
        status=DISABLED if stands else ERROR,
        status_message=state.status_message if stands else message,
        unavailable=True,
        next_retry_after=None if type(verdict) is ModelUnsupported else sentence.until,
        last_error=error,
        quota=sentence.quota,
        models=state.models,
        updated_at=now,
        **unspoken(state),
    )


def _error(verdict: Failure, last: ErrorRecord | None) -> ErrorRecord:
    """What to write down about a failure: what stands there already when it is the same again, 1 µs less."""
    retryable = verdict.blame is ON_ORIGIN or type(verdict) in RETRYABLE
    code, message = verdict.code, verdict.message
    if last is not None and last.code == code and last.message == message and last.retryable is retryable:
        return last
    return ErrorRecord(code=code, message=message, retryable=retryable)


def _alike(before: CredentialState, after: CredentialState) -> bool:
    return after == attrs.evolve(before, updated_at=after.updated_at)
