"""What Google's errors mean beyond their status.

From ai.google.dev/gemini-api/docs/generate-content/api-errors and google/rpc/error_details.proto, read 2026-11-23: a
`google.rpc.Status` whose `details` may hold `RetryInfo` (`retryDelay`), `QuotaFailure` (`quotaId`) and `ErrorInfo`.
"""

from collections.abc import Mapping, Sequence

import attrs

from turnout import Failure, InvalidRequest, PaymentRequired, RateLimited, Unauthorized
from turnout_wire import Mark, decoded, duration

_DAY_LEAST = 3600.0
"""Seconds to bench a credential whose quota of the day is used up, if Google names a shorter time or none."""


MARKS = (
    Mark(400, "API_KEY_INVALID", Unauthorized),
    Mark(400, "INVALID_ARGUMENT", InvalidRequest),
    Mark(400, "FAILED_PRECONDITION", PaymentRequired),
)
"""A 400 says three things here."""


def waiting(found: Failure, body: bytes) -> Failure:
    """The verdict of a used-up quota, with how long that lasts."""
    if not isinstance(found, RateLimited | PaymentRequired):
        return found
    error = decoded(body).get("error")
    details = error.get("details") if isinstance(error, dict) else None
    listed = [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    return attrs.evolve(found, retry_after=_wait(listed, found.retry_after))


def _wait(details: Sequence[Mapping[str, object]], hinted: float | None) -> float | None:
    delays = [wait for one in details if (wait := duration(str(one.get("retryDelay", "")))) is not None]
    wait = max(delays, default=hinted)
    return max(wait or 0.0, _DAY_LEAST) if any(map(_is_of_the_day, details)) else wait


def _is_of_the_day(detail: Mapping[str, object]) -> bool:
    violations = detail.get("violations")
    return isinstance(violations, list) and any(
        isinstance(one, dict) and "PerDay" in str(one.get("quotaId", "")) for one in violations
    )
