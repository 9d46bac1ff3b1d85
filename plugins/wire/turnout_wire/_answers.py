"""Errors of the kernel to answers for HTTP clients, in their own dialect.

Nothing here shows an upstream's URL, host, headers or keys, a traceback or a class name of a plugin (acceptance 4).
A test proves that every error and every verdict has a row.
"""

import math
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from turnout import (
    CountUnsupported,
    Empty,
    Failed,
    Failure,
    Inexpressible,
    InvalidRequest,
    ModelMissing,
    ModelUnsupported,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    Sent,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
)
from turnout.errors import (
    CallerError,
    ConfigError,
    CoolingDown,
    DeadlineExceeded,
    Draining,
    InvalidAsk,
    NoCredential,
    NotSupported,
    PluginError,
    PoolError,
    StoreError,
    TurnoutError,
    UnknownCredential,
    UnknownModel,
    UpstreamFailed,
)
from turnout_wire._codes import CODES, RETRY_LATER
from turnout_wire._shapes import JSON, SHAPES, Told
from turnout_wire._verdict import UpstreamAnswer, unlisted

_DEFAULT_WAIT = 5
"""Seconds of a Retry-After when nothing is known about the recovery."""

_LONGEST_WAIT = 86_400
"""Seconds; what an upstream may make us tell a client (the default hint cap, acceptance 4)."""

_INTERNAL = "something went wrong inside the gateway; the operator finds it by the request id"

ERRORS: Mapping[type[TurnoutError], str] = {
    CallerError: "bad_request",
    NotSupported: "not_supported",
    UnknownCredential: "not_found",
    UnknownModel: "model_not_found",
    NoCredential: "auth_not_found",
    PoolError: "auth_unavailable",
    CoolingDown: "model_cooldown",
    DeadlineExceeded: "upstream_timeout",
    Draining: "draining",
    ConfigError: "internal",
    PluginError: "internal",
    StoreError: "internal",
    TurnoutError: "internal",
}
"""Code of every error but `UpstreamFailed`; the nearest class up an error's line counts."""

VERDICTS: Mapping[type[Failure], tuple[str, str]] = {
    RateLimited: ("rate_limited", "the upstream's rate limit is reached"),
    Unauthorized: ("upstream_error", "the upstream refused the gateway's own credential"),
    PaymentRequired: ("no_capacity", "the upstream account cannot be used for this now"),
    ModelMissing: ("model_not_found", "the upstream does not know this model"),
    ModelUnsupported: ("model_not_supported", "the upstream does not offer this model to the gateway's account"),
    Transient: ("upstream_error", "the upstream failed"),
    Overloaded: ("overloaded", "the upstream is overloaded"),
    Unreachable: ("upstream_unreachable", "the upstream cannot be reached"),
    TimedOut: ("upstream_timeout", "the upstream took too long"),
    Protocol: ("upstream_protocol", "the upstream's answer was broken off or malformed"),
    InvalidRequest: ("bad_request", "the upstream refused the request as invalid"),
    CountUnsupported: ("not_supported", "the upstream cannot count tokens"),
    Inexpressible: ("not_supported", "the upstream's API cannot say this request"),
    Empty: ("empty_stream", "the upstream's stream ended before its first content"),
    Failed: ("upstream_error", "the upstream refused the request"),
}
"""Code and text of every verdict. An upstream's 401 is never the client's 401 (B23)."""

_NOT_SENT = "the gateway could not send the request"
"""Of `Failed`, where no upstream has refused anything: a limit of our own connections, a lack of descriptors, a request
that HTTP cannot carry (D8)."""

_RELAYED_STATUSES = frozenset({400, 413, 422})
"""The client's own mistakes: the upstream says best what is wrong, so its words are passed on (B27)."""

_ABOUT_OUR_ACCOUNT = (Unauthorized, PaymentRequired)


@attrs.frozen(kw_only=True)
class HttpAnswer:
    """A whole answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)


def answer(error: Exception, dialect: str, *, now: float, request_id: str = "", committed: bool = False) -> HttpAnswer:
    """The answer to a call that failed before anything of it was sent to the client.

    `now` is POSIX seconds. Whatever is not a TurnoutError is answered as `internal`, without a word of its text.
    `committed`: it failed in mid-stream, where a client can still be answered in full, as over a websocket.
    """
    told = tell(error, now=now, request_id=request_id, committed=committed)
    return _written(told, dialect, _wait(error, now) if told.status in RETRY_LATER else None)


def refusal(
    code: str,
    message: str,
    dialect: str,
    *,
    request_id: str = "",
    retry_after: float | None = None,
    param: str = "",
) -> HttpAnswer:
    """The answer of a frontend that refuses a request by itself; `code` is one of `CODES`.

    `param` is the member of the request that is to blame, as the client wrote it.
    """
    told = Told(status=CODES[code], code=code, message=message, request_id=request_id, param=param)
    later = told.status in RETRY_LATER
    return _written(told, dialect, _whole_seconds(retry_after) if later or retry_after is not None else None)


def in_band(error: Exception, dialect: str, *, now: float, request_id: str = "") -> bytes:
    """The event that ends a stream which was committed and then failed. Nothing may follow it."""
    return SHAPES[dialect].in_band(tell(error, now=now, request_id=request_id, committed=True))


def tell(error: Exception, *, now: float, request_id: str = "", committed: bool = False) -> Told:
    """What a client is told about an error, before it is written in a dialect."""
    if isinstance(error, UpstreamFailed):
        return _tell_upstream(error.verdict, request_id, committed=committed)
    code = next((ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS), "internal")
    return Told(
        status=CODES[code],
        code=code,
        message=_INTERNAL if code == "internal" else str(error),
        request_id=request_id,
        extra=_cooldown(error, now) if isinstance(error, CoolingDown) else {},
        param=_param(error),
    )


def _param(error: Exception) -> str:
    """The member of the body that is wrong; nothing for a body that is wrong as a whole."""
    argument = error.argument if isinstance(error, InvalidAsk) else ""
    return "" if argument == "body" else argument


def reset_time(seconds: float) -> str:
    """A wait as C6.2.4 writes it, whole seconds rounded up (O51): `0s`, `42s`, `1m0s`, `25h1m1s`."""
    whole = max(0, math.ceil(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _cooldown(error: CoolingDown, now: float) -> dict[str, Any]:
    left = max(0.0, (error.until or now) - now)
    named = {"provider": error.provider} if error.provider else {}
    return {"model": error.model, "reset_time": reset_time(left), "reset_seconds": math.ceil(left), **named}


def _tell_upstream(verdict: Failure, request_id: str, *, committed: bool) -> Told:
    if isinstance(verdict.detail, InvalidAsk):  # no upstream was asked: the request itself says what is wrong
        return tell(verdict.detail, now=0.0, request_id=request_id)
    code, message = VERDICTS[type(verdict)]
    if isinstance(verdict, Failed) and verdict.sent is Sent.NO:
        message = _NOT_SENT
    status = CODES[code]
    relayed: Mapping[str, Any] = {}
    own = verdict.detail
    if isinstance(own, UpstreamAnswer) and not isinstance(verdict, _ABOUT_OUR_ACCOUNT):
        if isinstance(verdict, InvalidRequest | Failed) and own.status in _RELAYED_STATUSES:
            status = own.status
            code = "too_large" if status == 413 else "bad_request"
            relayed = _error_object(own)
        elif committed:
            relayed = _error_object(own)
    return Told(status=status, code=code, message=message, request_id=request_id, relayed=relayed)


def _error_object(own: UpstreamAnswer) -> Mapping[str, Any]:
    """The `error` member of an upstream's JSON; a plain text as its message; nothing of a page of HTML."""
    try:
        found = unlisted(msgspec.json.decode(own.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = own.body.decode("utf-8", "replace").strip()
        return {"message": text} if text and own.media_type == "text/plain" else {}
    error = found.get("error", found) if isinstance(found, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _wait(error: Exception, now: float) -> int:
    until = error.until if isinstance(error, PoolError | UpstreamFailed) else None
    if until is not None:
        return max(0, math.ceil(until - now))
    return _whole_seconds(error.verdict.retry_after if isinstance(error, UpstreamFailed) else None)


def _whole_seconds(wait: float | None) -> int:
    """Rounded up, never negative (C6.2.1)."""
    return _DEFAULT_WAIT if wait is None else math.ceil(min(max(wait, 0.0), _LONGEST_WAIT))


def _written(told: Told, dialect: str, wait: int | None) -> HttpAnswer:
    headers = {"content-type": JSON} | ({} if wait is None else {"retry-after": str(wait)})
    return HttpAnswer(status=told.status, headers=headers, body=SHAPES[dialect].body(told))
