"""How long a failure blocks: the policy, the fixed blocks and the backoff curve (C10.4 to C10.6). Pure."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, final

import attrs

from turnout._quick import quick
from turnout._values import CredentialState, ModelState, Quota
from turnout._verdicts import (
    Failure,
    ModelMissing,
    ModelUnsupported,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
    Verdict,
)
from turnout.errors import InvalidAsk

MINUTE: Final = 60.0
HOUR: Final = 3600.0

MAX_LEVEL: Final = 11
"""Highest exponent of the rate-limit curve (C10.6): 2^11 s is past its cap."""

BACKOFF_CAP: Final = 30 * MINUTE
"""Longest step of the rate-limit curve (C10.6)."""

FIXED: Final[Mapping[type[Failure], float]] = MappingProxyType(
    {
        Unauthorized: 30 * MINUTE,
        PaymentRequired: 30 * MINUTE,
        ModelMissing: 12 * HOUR,
        ModelUnsupported: 12 * HOUR,
    }
)
"""Seconds of the blocks that nothing shortens but a success (C10.4, C10.5); switching cooling off does not either."""

PASSING: Final[frozenset[type[Failure]]] = frozenset({Transient, Overloaded, Unreachable, TimedOut, Protocol})
"""Failures that pass by themselves: a minute, or what the upstream asked for (C10.4 with O45, O46)."""

CORRELATED: Final[frozenset[type[Failure]]] = frozenset({Transient, Unreachable, TimedOut})
"""Failures that speak against the origin when several of its credentials meet them in one call (design 8)."""


@final
@attrs.frozen(kw_only=True)
class Policy:
    """How hard the ledger and the schedule judge.

    With `half_open`, `keep_last` and `blame_routes` False, C10 with C19 holds to the letter.

    Attributes:
        cooling: False takes away the blocks that we choose ourselves for rate limits and passing failures (C10.6);
            what the upstream asked for, and the fixed blocks, stay.
        hint_floor: seconds that a `retry_after` counts at least (O46).
        hint_cap: seconds that it counts at most (design 16).
        decay_after: quiet seconds after which the backoff level starts again at 0 (O47), counted from the end of the
            last cooldown; twice the longest step by default, infinity for never.
        half_open: after a cooldown one probe at a time, until one succeeds; the schedule reads it.
        keep_last: a passing failure never benches the last ready credential of a model.
        blame_routes: failures of several credentials of one origin within a call cool the origin instead.
        route_429: rate limits count among those.
    """

    cooling: bool = True
    hint_floor: float = 1.0
    hint_cap: float = 24 * HOUR
    decay_after: float = HOUR
    half_open: bool = True
    keep_last: bool = True
    blame_routes: bool = True
    route_429: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("hint_floor", "hint_cap", "decay_after"):
            if not getattr(self, name) > 0:
                raise InvalidAsk(f"{name} must be above 0 seconds, not {getattr(self, name)!r}", argument=name)
        if self.hint_floor > self.hint_cap:
            raise InvalidAsk(
                f"hint_floor ({self.hint_floor} s) is above hint_cap ({self.hint_cap} s)", argument="hint_floor"
            )


class Sentence(NamedTuple):
    """What a failure costs: blocked `until` POSIX seconds, None for not at all, and the quota that goes with it."""

    until: float | None
    quota: Quota


_Quota = quick(Quota)


def block(
    verdict: Failure,
    earlier: ModelState | CredentialState,
    now: float,
    policy: Policy,
    *,
    cooling: bool,
    spared: bool,
) -> Sentence:
    """How long this failure blocks (C10.4 to C10.6).

    `earlier` is the state before it, `cooling` the switch in force, `spared` says that it may bench nobody.
    """
    kind = type(verdict)
    hint = None if verdict.retry_after is None else clamped_hint(verdict.retry_after, policy)
    if kind is RateLimited:
        return _rate_limit(hint, earlier, now, policy, cooling=cooling)
    # O50: another class of failure ends "exceeded"; the level is the memory of the curve, which only a success or a
    # quiet period lowers (C10.6, O47).
    quota = Quota(backoff_level=earlier.quota.backoff_level) if earlier.quota.exceeded else earlier.quota
    if kind in FIXED:
        return Sentence(now + FIXED[kind], quota)
    if kind not in PASSING or spared:
        return Sentence(None, quota)
    if hint is not None:
        return Sentence(now + hint, quota)
    return Sentence(now + MINUTE if cooling else None, quota)


def _rate_limit(
    hint: float | None, earlier: ModelState | CredentialState, now: float, policy: Policy, *, cooling: bool
) -> Sentence:
    """The block of C10.6: the hint, or else the next step of the curve."""
    level = earlier.quota.backoff_level
    until = None
    if hint is not None:
        until = now + hint
    elif cooling:
        quiet_since = earlier.quota.next_recover_at or earlier.updated_at
        if quiet_since is not None and now - quiet_since >= policy.decay_after:
            level = 0
        pause, level = backoff(level)
        until = now + pause
    return Sentence(until, _Quota(exceeded=True, reason="quota", next_recover_at=until, backoff_level=level))


def backoff(level: int) -> tuple[float, int]:
    """Seconds of the rate-limit curve at `level`, and the level that follows: 1, 2, 4 … 1024, 1800, 1800 (C10.6)."""
    if level >= MAX_LEVEL:
        return BACKOFF_CAP, MAX_LEVEL
    level = max(level, 0)
    return float(1 << level), level + 1


def clamped_hint(hint: float, policy: Policy) -> float | None:
    """Seconds that a `retry_after` counts, between the policy's floor and cap (O46); None when it is not a number."""
    if math.isnan(hint):
        return None
    if hint > policy.hint_cap:
        return policy.hint_cap
    return max(policy.hint_floor, hint)


@final
@attrs.frozen(kw_only=True)
class OriginState:
    """What is known about an origin as a whole: it cools until `until`, None when it never did, on C10.6's curve."""

    level: int = 0
    until: float | None = None


ORIGIN_WELL: Final = OriginState()
"""An origin about which nothing bad is known; what a success makes of any."""


def record_origin(state: OriginState, now: float, policy: Policy) -> OriginState:
    """The origin after a call in which several of its credentials failed alike.

    While it cools already nothing is added: the calls that were under way all tell of the same trouble.
    """
    if state.until is not None and state.until > now:
        return state
    quiet = state.until is not None and now - state.until >= policy.decay_after
    pause, level = backoff(0 if quiet else state.level)
    return OriginState(level=level, until=now + pause)


def speaks_against_origin(verdict: Verdict, policy: Policy) -> bool:
    """Whether two of these within one call are the origin's fault rather than the credentials' (design 8)."""
    kind = type(verdict)
    return policy.blame_routes and (kind in CORRELATED or (policy.route_429 and kind is RateLimited))
