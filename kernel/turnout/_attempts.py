"""The attempt rules of one call (design 8), without doing anything: who may still be tried, and when it is over.

    failure blames            then
    the request               the call is over
    the credential, nobody    walk on to the next credential
    an origin                 walk on; its other credentials are skipped after `origin_failures` of them in one pass;
                              after `upstream_failures` in the call it is over: repeating is what makes storms (D10)

A request that was sent and not answered may have been billed: it is tried elsewhere `retry_unsafe` times, then over.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NoReturn

import attrs

from turnout._values import refuse
from turnout._verdicts import Blame, Failure, Sent


@attrs.frozen(kw_only=True)
class Retry:
    """The budgets of a call (`[retry]`).

    Attributes:
        passes: how often the pool is walked in all; the contract's retries are this less one (C8.5).
        max_wait: longest wait for a recovery between two passes, in seconds; 0 answers at once (C8.3, C8.5).
        max_credentials: credentials called in one pass, 0 for all (C8.3).
        upstream_failures: failures that blame an origin before the call is over, 0 for no limit.
        origin_failures: failures that blame one origin before its other credentials are skipped for the rest of the
            pass, 0 for no limit.
        retry_unsafe: how often a request that was sent and not answered may be tried elsewhere.
        route_429: count a rate limit as a sign that the whole origin refuses us (an IP-wide limit).
    """

    passes: int = 4
    max_wait: float = 30.0
    max_credentials: int = 0
    upstream_failures: int = 3
    origin_failures: int = 2
    retry_unsafe: int = 1
    route_429: bool = False

    def __attrs_post_init__(self) -> None:
        if self.passes < 1:
            _bad("passes", "at least 1", self.passes)
        for name in ("max_wait", "max_credentials", "upstream_failures", "origin_failures", "retry_unsafe"):
            if getattr(self, name) < 0:
                _bad(name, "not negative", getattr(self, name))


def _bad(name: str, rule: str, value: object) -> NoReturn:
    refuse(f"retry.{name} must be {rule}, not {value!r}", f"retry.{name}")


class Step(enum.Enum):
    """What follows a failed attempt."""

    WALK = "walk"
    OVER = "over"


NOWHERE: Final[frozenset[str]] = frozenset()
NO_FAILURES: Final[Mapping[str, int]] = MappingProxyType({})


class Tries:
    """What one call has tried so far. `tried`, `skipped_origins` and `called` start anew with each pass.

    Attributes:
        rationed: ids that were not tried after a failure because the retry budget of their origin was used up.
    """

    __slots__ = (
        "_failures_at",
        "_origin_failures",
        "_retry",
        "called",
        "passes",
        "rationed",
        "skipped_origins",
        "tried",
        "unsafe",
        "upstream_failures",
    )

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self.passes = 1
        self.upstream_failures = 0
        self.unsafe = 0
        self.rationed: tuple[str, ...] = ()
        self.tried: set[str] = set()
        self.called = 0
        # Replaced when they change: most calls have no failure, and three containers each would cost them 0.3 µs
        self.skipped_origins = NOWHERE
        self._origin_failures = NO_FAILURES
        self._failures_at = NO_FAILURES

    def may_call_another(self) -> bool:
        """Whether the credential limit of this pass leaves room for one more (C8.3)."""
        return not self._retry.max_credentials or self.called < self._retry.max_credentials

    def may_begin_pass(self, retries: int | None = None) -> bool:
        """Whether another pass may follow, for the sake of a credential that asks for so many retries (C1.11, C8.5.4).

        None is one that asks for nothing of its own.
        """
        return self.passes < (self._retry.passes if retries is None else retries + 1)

    def begin_pass(self) -> None:
        """Start the next pass: everybody may be tried again (C8.5)."""
        self.passes += 1
        self.called = 0
        self.tried = set()
        self.skipped_origins = NOWHERE
        self._origin_failures = NO_FAILURES

    def failed(self, failure: Failure, origin: str) -> Step:
        """Take notice of a failed attempt and say what follows."""
        if failure.blame is Blame.REQUEST:
            return Step.OVER
        if failure.sent is Sent.MAYBE:
            if self.unsafe >= self._retry.retry_unsafe:
                return Step.OVER
            self.unsafe += 1
        return self._blame_origin(origin) if failure.blame is Blame.ORIGIN else Step.WALK

    def failures_at(self, origin: str) -> int:
        """How often this call has met failures that blame this origin, over all passes: each try after one is a retry.

        Counted by the pass, the last credential left was tried in every pass without asking the retry budget, and two
        upstreams of which half of the requests failed saw 1.7 times what was asked of them (B32).
        """
        return self._failures_at.get(origin, 0)

    def ration(self, id: str, origin: str) -> None:
        """Do not try this credential after a failure, nor its origin's others for the rest of the pass."""
        self.skipped_origins |= {origin}
        self.rationed += (id,)

    def _blame_origin(self, origin: str) -> Step:
        self.upstream_failures += 1
        self._failures_at = {**self._failures_at, origin: self.failures_at(origin) + 1}
        if 0 < self._retry.upstream_failures <= self.upstream_failures:
            return Step.OVER
        count = self._origin_failures.get(origin, 0) + 1
        self._origin_failures = {**self._origin_failures, origin: count}
        if 0 < self._retry.origin_failures <= count:
            self.skipped_origins |= {origin}
        return Step.WALK
