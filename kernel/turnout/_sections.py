"""The kernel's own sections of the file, with their defaults (design 11)."""

from typing import Any, final

import attrs
from attrs import validators

from turnout import abc
from turnout._attempts import Retry
from turnout._values import ByteCount, Seconds

_LARGEST = 1_000_000_000
_KIB = 1024


def _count(default: int, least: int = 0) -> Any:
    return attrs.field(default=default, validator=[validators.ge(least), validators.le(_LARGEST)])


_POSITIVE: Any = validators.gt(0)
_IF_ANY_POSITIVE: Any = validators.optional(_POSITIVE)
_AT_LEAST_A_KIB: Any = validators.ge(_KIB)


@final
@attrs.frozen(kw_only=True)
class Turnout:
    """`[turnout]`.

    Attributes:
        drain: how long open streams may go on when the kernel closes.
        bootstrap_bytes: what is held at most before the first payload (design 8a).
        force_model_prefix: a credential with a prefix serves prefixed names only (C16.8).
    """

    selector: str = attrs.field(default="round-robin", validator=validators.min_len(1))
    store: str = attrs.field(default="files", validator=validators.min_len(1))
    transport: str = attrs.field(default="pool", validator=validators.min_len(1))
    drain: Seconds = Seconds(60.0)
    bootstrap_bytes: ByteCount = attrs.field(default=ByteCount(64 * _KIB), validator=_AT_LEAST_A_KIB)
    force_model_prefix: bool = False


_RETRY = Retry()


@final
@attrs.frozen(kw_only=True)
class RetryTable:
    """`[retry]`: see `Retry`."""

    passes: int = _count(_RETRY.passes, 1)
    max_wait: Seconds = Seconds(_RETRY.max_wait)
    max_credentials: int = _count(_RETRY.max_credentials)
    upstream_failures: int = _count(_RETRY.upstream_failures)
    origin_failures: int = _count(_RETRY.origin_failures)
    retry_unsafe: int = _count(_RETRY.retry_unsafe)
    route_429: bool = _RETRY.route_429


@final
@attrs.frozen(kw_only=True)
class Health:
    """`[health]`: what is better than the contract's seed; with all of it off, C10 with C19 holds to the letter.

    Attributes:
        keep_last: transient faults never bench the last ready credential of a model.
        half_open: one probe at a time after a cooldown.
        blame_routes: failures alike in one call cool the origin instead of its credentials.
        hint_cap: the longest wait that an upstream's hint may ask for.
        cooling: False is the seed's `disable-cooling` (C10.6).
    """

    keep_last: bool = True
    half_open: bool = True
    blame_routes: bool = True
    hint_cap: Seconds = attrs.field(default=Seconds(24 * 3600.0), validator=_POSITIVE)
    cooling: bool = True


_LIMITS = abc.Limits()


@final
@attrs.frozen(kw_only=True)
class Deadlines:
    """`[deadlines]`: see `turnout.abc.Limits`."""

    connect: Seconds = attrs.field(default=Seconds(_LIMITS.connect), validator=_POSITIVE)
    headers: Seconds = attrs.field(default=Seconds(_LIMITS.headers), validator=_POSITIVE)
    first_payload: Seconds = attrs.field(default=Seconds(_LIMITS.first_payload), validator=_POSITIVE)
    idle: Seconds = attrs.field(default=Seconds(_LIMITS.idle), validator=_POSITIVE)
    total: Seconds = attrs.field(default=Seconds(_LIMITS.total), validator=_POSITIVE)


@final
@attrs.frozen(kw_only=True)
class Affinity:
    """`[affinity]`: a client's preference for the credential it used before (C12 with O1 to O5).

    Attributes:
        ttl: how long a preference lasts unused.
        entries: preferences kept; the least recently used goes first.
        prefer_tier: a ready credential of a higher priority beats the preferred one.
    """

    enabled: bool = True
    ttl: Seconds = attrs.field(default=Seconds(3600.0), validator=_POSITIVE)
    entries: int = _count(10_000, 1)
    prefer_tier: bool = True


@final
@attrs.frozen(kw_only=True)
class Hedge:
    """`[hedge]`: a second candidate when the first is slow.

    Attributes:
        after: seconds until the second one starts; None switches hedging off.
        share: the part of all calls that may hedge.
    """

    after: Seconds | None = attrs.field(default=None, validator=_IF_ANY_POSITIVE)
    share: float = attrs.field(default=0.05, validator=[validators.gt(0), validators.le(1)])
