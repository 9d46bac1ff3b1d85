"""What Google's errors mean beyond their status.

From ai.google.dev/gemini-api/docs/generate-content/api-errors and google/rpc/error_details.proto, read 2026-11-23: a
`google.rpc.Status` whose `details` may hold `RetryInfo` (`retryDelay`), `QuotaFailure` (`quotaId`) and `ErrorInfo`.
"""

from collections.abc import Mapping, Sequence

import attrs

from turnout import Failure, InvalidRequest, PaymentRequired, RateLimited, Unauthorized
from turnout_wire import decoded, duration

_DAY_LEAST = 3600.0
"""Seconds to bench a credential whose quota of the day is used up, if Google names a shorter time or none."""


def sharpened(found: Failure, status: int, body: bytes) -> Failure:
    """The verdict of a status, changed by what the body says."""
    error = decoded(body).get("error")
    if not isinstance(error, dict):
        return found
    details = error.get("details")
    listed = [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    kind = _kind(status, error.get("status"), listed)
    if kind is not None:
        found = kind(message=found.message, sent=found.sent, retry_after=found.retry_after, detail=found.detail)
    if isinstance(found, RateLimited | PaymentRequired):
        return attrs.evolve(found, retry_after=_wait(listed, found.retry_after))
    return found


def _kind(status: int, word: object, details: Sequence[Mapping[str, object]]) -> type[Failure] | None:
    if status != 400:
        return None
    if any(one.get("reason") == "API_KEY_INVALID" for one in details):
        return Unauthorized
    return {"INVALID_ARGUMENT": InvalidRequest, "FAILED_PRECONDITION": PaymentRequired}.get(str(word))


def _wait(details: Sequence[Mapping[str, object]], hinted: float | None) -> float | None:
    delays = [wait for one in details if (wait := duration(str(one.get("retryDelay", "")))) is not None]
    wait = max(delays, default=hinted)
    return max(wait or 0.0, _DAY_LEAST) if any(map(_is_of_the_day, details)) else wait


def _is_of_the_day(detail: Mapping[str, object]) -> bool:
    violations = detail.get("violations")
    return isinstance(violations, list) and any(
        isinstance(one, dict) and "PerDay" in str(one.get("quotaId", "")) for one in violations
    )
