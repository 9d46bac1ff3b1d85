"""When a credential must be refreshed, and what a refresh leaves (C11.3 to C11.5 with O53, O54, O57, O59). Pure.

Two things are kept apart: the *rule* says when a refresh is wanted; the *pace* says how soon after the last one another
may begin. A kept time that lies in the future was written by a clock that was wrong, and tells nothing (E13).
"""

from collections.abc import Mapping
from typing import Any, Final, final

import attrs

from turnout._ledger_renewals import refused
from turnout._readings import account, expiry, last_refresh, refresh_interval
from turnout._values import EMPTY, Credential, CredentialState, Metadata, Status

SHORTEST_GAP: Final = 30.0
"""Seconds between two refreshes of one credential, whatever its record says (E9)."""

LONGEST_GAP: Final = 3600.0
"""Seconds between two tries at the most (E8)."""

FURTHEST_GATE: Final = 86_400.0
"""A `next_refresh_after` that lies further ahead than this many seconds comes from a wrong clock (E13)."""

ASK_AGAIN: Final = 60.0
"""Seconds after which a credential's own evaluator that said no is asked again (C2.3)."""

SPREAD: Final = 0.1
"""Share of the lead by which a refresh may come early, so that credentials of one age do not come together (E1)."""


@final
@attrs.frozen(kw_only=True)
class Refreshes:
    """How the refreshes of one credential went since the process began.

    Attributes:
        succeeded_at: POSIX seconds of the last success, None when there was none.
        idle: successes in a row after which the credential was due again at once: they gained nothing (O54).
        failed_at: POSIX seconds of the last failure, None when it was followed by a success.
        failures: failures in a row.
    """

    succeeded_at: float | None = None
    idle: int = 0
    failed_at: float | None = None
    failures: int = 0


NONE_YET: Final = Refreshes()


def due_at(
    credential: Credential,
    state: CredentialState,
    *,
    lead: float | None,
    now: float,
    refreshes: Refreshes = NONE_YET,
    draw: float = 0.0,
    evaluated: bool | None = None,
) -> float | None:
    """POSIX seconds at which the credential must be refreshed, which may be past; None for never.

    Never: API keys (C11.1.1), disabled ones, and those that only a person can renew (E7, E10). A cooldown changes
    nothing, but a 401 does: while it benches the credential, a refresh is wanted whatever the rule says, for what was
    begun at once may have failed, been put off, or ended with its process (O48). `lead` is the runtime object's or the
    provider's (C11.4), None or not positive for unknown; `draw` a number in [0, 1) that stays the same until the next
    refresh; `evaluated` the answer of the credential's own evaluator, None when it has none (C2.3).
    """
    if credential.disabled or state.status is Status.DISABLED or state.needs_login:
        return None
    if account(credential).kind == "api_key":
        return None
    says = True if refused(state, now) else evaluated
    wanted = _wanted(credential, lead, now, draw) if says is None else now + (0.0 if says else ASK_AGAIN)
    if wanted is None:
        return None
    gate = credential.next_refresh_after
    allowed = gate if gate is not None and gate <= now + FURTHEST_GATE else wanted
    return max(wanted, allowed, next_allowed(credential, refreshes, now=now, draw=draw))


def _wanted(credential: Credential, lead: float | None, now: float, draw: float) -> float | None:
    """When the rules 4 to 8 of C11.3 first say yes."""
    expires, last = expiry(credential), last_refresh(credential)
    if last is not None and last > now:
        last = None
    interval = refresh_interval(credential)
    if interval is not None:
        by_age = now if last is None else last + interval
        return by_age if expires is None else min(by_age, expires - interval)
    if lead is None or not lead > 0:
        return None
    early = lead * SPREAD * draw
    if expires is not None:
        return expires - lead - early
    return now if last is None else last + lead - early


def next_allowed(credential: Credential, refreshes: Refreshes, *, now: float, draw: float) -> float:
    """POSIX seconds at which the pace allows the next try, whatever the rules want; they may be past."""
    failed, succeeded = refreshes.failed_at, refreshes.succeeded_at
    if failed is not None and failed <= now:
        return failed + pause_after_failure(refreshes.failures, draw)
    if succeeded is None:
        succeeded = last_refresh(credential)
    if succeeded is not None and succeeded <= now:
        return succeeded + _pause_after_success(credential, refreshes.idle, succeeded)
    return now


def pause_after_failure(failures: int, draw: float) -> float:
    """Seconds to wait after so many failures in a row: 30, 60, 120 … up to an hour, a quarter by chance (E8, O57)."""
    longest = min(SHORTEST_GAP * 2.0 ** min(max(failures - 1, 0), 10), LONGEST_GAP * 3 / 4)
    return longest * (1 + draw / 3)


def _pause_after_success(credential: Credential, idle: int, succeeded: float) -> float:
    """Seconds between two successes: doubled while nothing is gained, but never past the token's end (O54)."""
    pause = min(SHORTEST_GAP * 2.0 ** min(idle, 10), LONGEST_GAP)
    expires = expiry(credential)
    if expires is not None and expires > succeeded:
        pause = min(pause, (expires - succeeded) / 2)
    return max(pause, SHORTEST_GAP)


def after_success(
    refreshes: Refreshes, renewed: Credential, *, lead: float | None, now: float, evaluated: bool | None = None
) -> Refreshes:
    """The history after a refresh that left `renewed`; one that is due again at once has gained nothing (O54, O59).

    `evaluated` is what its own evaluator says of it now, None when it has none.
    """
    wanted = _wanted(renewed, lead, now, 0.0)
    if wanted is None:
        wanted = expiry(renewed)  # from then on every call wants it
    gained = (wanted is None or wanted > now) if evaluated is None else not evaluated
    return Refreshes(succeeded_at=now, idle=0 if gained else refreshes.idle + 1)


def after_failure(refreshes: Refreshes, now: float) -> Refreshes:
    """The history after a refresh that failed (O57)."""
    return attrs.evolve(refreshes, failed_at=now, failures=refreshes.failures + 1)


def merge(current: Credential, refreshed: Credential | None, *, given: Credential, now: float) -> Credential:
    """The credential after a refresh: what the provider renewed, on top of whatever happened meanwhile (O53, E11).

    `given` is what the provider was handed, `refreshed` what it gave back (None: the same), `current` what stands now.
    Of the metadata, keys that the refresh changed, added or removed are taken from it and all others from `current`;
    configuration and the operator's flag are `current`'s. The gate of `next_refresh_after` falls (C11.2).
    """
    result = given if refreshed is None else refreshed
    return attrs.evolve(
        current,
        metadata=merged_metadata(current.metadata, result.metadata, given.metadata),
        runtime=current.runtime if result.runtime is None else result.runtime,
        last_refreshed_at=now,
        updated_at=now,
        next_refresh_after=None,
    )


def merged_metadata(current: Metadata | None, result: Metadata | None, given: Metadata | None) -> Metadata | None:
    """The metadata `current`, with the keys that differ between `given` and `result` taken from `result`."""
    if result is None or result == given:
        return current
    if current == given:
        return result
    base: Mapping[str, Any] = given or EMPTY
    merged = dict(current or EMPTY)
    for key in {*base, *result}:
        if key not in result:
            merged.pop(key, None)
        elif key not in base or result[key] != base[key]:
            merged[key] = result[key]
    return Metadata(merged)


def interval_outlives_token(credential: Credential) -> bool:
    """Whether the record asks for refreshes less often than its token lives (O59): worth a warning."""
    interval, expires, last = refresh_interval(credential), expiry(credential), last_refresh(credential)
    return interval is not None and expires is not None and last is not None and interval >= expires - last
