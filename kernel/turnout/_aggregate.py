"""A credential as its model states make it (C10.7), and small questions about states. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from turnout._quick import quick
from turnout._values import ACTIVE, DISABLED, ERROR, NO_QUOTA, CredentialState, ErrorRecord, ModelState, Quota

_CredentialState = quick(CredentialState)


def following(
    state: CredentialState,
    models: dict[str, ModelState],
    error: ErrorRecord | None,
    message: str,
    now: float,
) -> CredentialState:
    """The credential as its model states make it (C10.7), with `error` as what went wrong last.

    `models` is a fresh dictionary and is given away.
    """
    unavailable = bool(models)
    until: float | None = None
    exceeded: list[Quota] = []
    for name, entry in models.items():
        if entry.quota is not NO_QUOTA and entry.quota.exceeded:
            exceeded.append(entry.quota)
        if entry.status is DISABLED:
            continue
        over = entry.next_retry_after
        if not entry.unavailable or over is None:
            unavailable = False
        elif over > now:
            until = over if until is None or over < until else until
        else:
            unavailable = False
            models[name] = attrs.evolve(entry, unavailable=False, next_retry_after=None)
    stands = state.status is DISABLED
    return _CredentialState(
        status=DISABLED if stands else ACTIVE if error is None else ERROR,
        status_message=state.status_message if stands else message,
        unavailable=unavailable,
        next_retry_after=until if unavailable else None,
        last_error=error,
        quota=_joint(exceeded),
        models=MappingProxyType(models),
        updated_at=now,
        **unspoken(state),
    )


def unspoken(state: CredentialState) -> dict[str, Any]:
    """What of a state no outcome speaks of, as fields: words of refreshes, and of operators."""
    return {
        "needs_login": state.needs_login,
        "refused": state.refused,
        "unusable_until": state.unusable_until,
        "reset_at": state.reset_at,
    }


def _joint(exceeded: Sequence[Quota]) -> Quota:
    """One quota for all that are exceeded: the earliest recovery and the highest level (C10.7)."""
    if len(exceeded) < 2:
        return exceeded[0] if exceeded else NO_QUOTA
    return Quota(
        exceeded=True,
        reason="quota",
        next_recover_at=min((q.next_recover_at for q in exceeded if q.next_recover_at is not None), default=None),
        backoff_level=max(q.backoff_level for q in exceeded),
    )


def clear(state: ModelState | CredentialState) -> bool:
    """Whether a success has nothing to mend here."""
    return (
        state.last_error is None
        and not state.unavailable
        and (state.quota is NO_QUOTA or state.quota == NO_QUOTA)
        and (state.status is ACTIVE or state.status is DISABLED)
    )


def reset(entry: ModelState, now: float) -> ModelState:
    """A model state after a success (C10.3); the operator's decision stands."""
    if entry.status is DISABLED:
        return ModelState(status=DISABLED, status_message=entry.status_message, updated_at=now)
    return ModelState(updated_at=now)


def forgotten(now: float) -> CredentialState:
    """The state after an operator's reset (O22): clean, and saying so to those who still tell of what was before."""
    return CredentialState(updated_at=now, reset_at=now)


def troubled(entry: ModelState, now: float) -> bool:
    """Whether this model keeps the credential in error while another succeeds (C10.3)."""
    if entry.last_error is not None:
        return True
    over = entry.next_retry_after
    return entry.status is ERROR and entry.unavailable and (over is None or over > now)


def remaining_error(models: Mapping[str, ModelState]) -> ErrorRecord | None:
    """The error that an aggregate still shows: of the first model that has one; None when none has."""
    return next((entry.last_error for entry in models.values() if entry.last_error is not None), None)
