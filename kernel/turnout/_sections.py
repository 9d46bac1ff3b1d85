"""The kernel's own sections of the file, with their defaults (design 11)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, final

import attrs
from attrs import validators

from turnout import abc
from turnout._attempts import Retry
from turnout._values import ByteCount, Seconds, refuse, refuse_all
from turnout.errors import InvalidAsk

if TYPE_CHECKING:
    import attr

_LARGEST = 1_000_000_000
_KIB = 1024
_CENTURY = Seconds(100 * 365 * 86400.0)
"""Seconds. The calendar ends with the year 9999, and a cooldown is shown as one of its days."""


def _count(default: int, least: int = 0) -> Any:
    return attrs.field(default=default, validator=[validators.ge(least), validators.le(_LARGEST)])


_POSITIVE: Any = validators.gt(0)
_AT_LEAST_A_KIB: Any = validators.ge(_KIB)


@final
@attrs.frozen(kw_only=True)
class Turnout:
    """`[turnout]`.

    Attributes:
        drain: how long open streams may go on when the kernel closes.
        bootstrap_bytes: what is held at most before the first payload, beside twice the request's size (design 8a).
        force_model_prefix: a credential with a prefix serves prefixed names only (C16.8).
    """

    selector: str = attrs.field(default="round-robin", validator=validators.min_len(1))
    store: str = attrs.field(default="sqlite", validator=validators.min_len(1))
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
        decay: an hour without a rate limit starts their curve anew; off, only a success does (O47).
        cooling: False is the seed's `disable-cooling` (C10.6).
    """

    keep_last: bool = True
    half_open: bool = True
    blame_routes: bool = True
    hint_cap: Seconds = attrs.field(default=Seconds(24 * 3600.0), validator=[_POSITIVE, validators.le(_CENTURY)])
    decay: bool = True
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


After = Seconds | Literal["learned", "off"]
"""When a second candidate starts: after so many seconds, after a delay learned from earlier calls, or never."""

_NO_DELAY = 'it must be longer than 0; "off" switches hedging off'


def _positive_delays(_: object, attribute: "attr.Attribute[Mapping[str, After]]", delays: Mapping[str, After]) -> None:
    none = [name for name, after in delays.items() if not isinstance(after, str) and after <= 0]
    refuse_all([InvalidAsk(_NO_DELAY, argument=f"{attribute.name}.{name}") for name in none])


def _positive_delay(_: object, attribute: "attr.Attribute[After]", after: After) -> None:
    if not isinstance(after, str) and after <= 0:
        refuse(_NO_DELAY, attribute.name)


@final
@attrs.frozen(kw_only=True)
class Hedge:
    """`[hedge]`: a second candidate for streams whose first payload is late.

    Attributes:
        after: when the second one starts, for every provider and model that has no delay of its own.
        providers: the same, by the key of the provider whose candidate is late.
        models: the same, by the model's name as clients ask for it; it goes before the provider's.
        share: hedges are never more than this part of the streams that may hedge.
    """

    after: After = attrs.field(default="off", validator=_positive_delay)
    providers: Mapping[str, After] = attrs.field(factory=dict, validator=_positive_delays)
    models: Mapping[str, After] = attrs.field(factory=dict, validator=_positive_delays)
    share: float = attrs.field(default=0.05, validator=[validators.gt(0), validators.le(1)])

    def delay(self, provider: str, model: str) -> After:
        """The delay that applies to a candidate of this provider for this model."""
        return self.models.get(model) or self.providers.get(provider) or self.after

    def concerns(self, providers: Sequence[str], model: str) -> bool:
        """Whether a call for this model, served by these providers, may hedge."""
        return any(self.delay(provider, model) != "off" for provider in providers)

    @property
    def idle(self) -> bool:
        """Whether it never concerns anybody."""
        return {self.after, *self.providers.values(), *self.models.values()} == {"off"}
