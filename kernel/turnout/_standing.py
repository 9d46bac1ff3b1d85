"""Whether a credential may serve a model now (C4): a pure reading of its state, by times and not by flags."""

import enum
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from turnout._values import DISABLED, ERROR, Credential, CredentialState, ModelState


class Kind(enum.Enum):
    """How a credential stands towards a model (C5.4)."""

    READY = "ready"
    COOLING = "cooling"
    """Blocked for a time, by a rate limit."""
    BLOCKED = "blocked"
    """Blocked for a time, by anything else."""
    OFF = "off"
    """Switched off by the operator; no time ends that."""


IS_READY: Final = Kind.READY
IS_COOLING: Final = Kind.COOLING
IS_BLOCKED: Final = Kind.BLOCKED
IS_OFF: Final = Kind.OFF
"""As globals, for the reason that `_values.DISABLED` has."""


class Standing(NamedTuple):
    """The answer of `blocked`.

    Attributes:
        kind: see `Kind`.
        until: POSIX seconds of the recovery, to be shown (C4.5); None when ready or off.
        due: POSIX seconds at which to look again, never after `until`; None when ready or off.
        half: ready only because a block is over, with no success since (half open, design 8).
    """

    kind: Kind
    until: float | None = None
    due: float | None = None
    half: bool = False


READY: Final = Standing(IS_READY)
HALF: Final = Standing(IS_READY, half=True)
OFF: Final = Standing(IS_OFF)


def blocked(credential: Credential, state: CredentialState, recorded: Sequence[str], now: float) -> Standing:
    """How `credential` stands at `now` towards the model that is recorded under these names (C4 with O27, O28).

    One name is the usual case. Several are the members of a pool: it is ready if any member is, and otherwise waits
    for the first of them. None, or the empty name, asks about the credential as a whole (C4.3). One whose token ended
    and cannot be renewed is blocked for every model until that is tried again; off when only a person can do it (O57).
    """
    if credential.disabled or state.status is DISABLED or state.needs_login:
        return OFF
    unusable = state.unusable_until
    if unusable is not None and unusable > now:
        return Standing(IS_BLOCKED, unusable, unusable)
    if not recorded or not recorded[0]:
        return _of_credential(state, now)
    models = state.models
    if not models:
        return READY
    if len(recorded) == 1:
        known = models.get(recorded[0])
        return READY if known is None else _of_model(known, now)
    return _of_pool([READY if (known := models.get(name)) is None else _of_model(known, now) for name in recorded])


def half_open(state: CredentialState, recorded: str) -> bool:
    """Whether a name that is ready is so only because its block is over, with no success since."""
    if not recorded:
        return _of_credential(state, math.inf).half
    known = state.models.get(recorded)
    return known is not None and _of_model(known, math.inf).half


def same_for_all(one: CredentialState, other: CredentialState) -> bool:
    """Whether two states agree in what concerns every model alike, so that only their models tell them apart."""
    return (
        one.unusable_until == other.unusable_until
        and one.needs_login == other.needs_login
        and (one.status is DISABLED) is (other.status is DISABLED)
    )


def _of_credential(state: CredentialState, now: float) -> Standing:
    """C4.3, C4.4. An aggregate in error that is not unavailable tells of some other model: that is not half open."""
    retry = state.next_retry_after
    if not state.unavailable or retry is None:
        return READY
    return _waiting(state, retry, now) if retry > now else HALF


def _of_model(state: ModelState, now: float) -> Standing:
    """C4.2b to C4.2e. The aggregate takes the flag off a block that is over (C10.7); the status still tells of it."""
    if state.status is DISABLED:
        return OFF
    if not state.unavailable:
        return HALF if state.status is ERROR else READY
    retry = state.next_retry_after
    if retry is None:
        return READY
    return _waiting(state, retry, now) if retry > now else HALF


def _waiting(state: ModelState | CredentialState, retry: float, now: float) -> Standing:
    quota = state.quota
    recovery = quota.next_recover_at
    until = recovery if recovery is not None and recovery > now else retry
    return Standing(IS_COOLING if quota.exceeded else IS_BLOCKED, until, min(until, retry))


def _of_pool(members: list[Standing]) -> Standing:
    """O28. Among waiting members a rate limit decides what the wait is called, as O15 does among credentials."""
    ready = [member for member in members if member.kind is IS_READY]
    if ready:
        return READY if any(not member.half for member in ready) else HALF
    waiting = [(member.until, member.due) for member in members if member.until is not None and member.due is not None]
    if not waiting:
        return OFF
    kind = IS_COOLING if any(member.kind is IS_COOLING for member in members) else IS_BLOCKED
    return Standing(kind, min(until for until, _ in waiting), min(due for _, due in waiting))
