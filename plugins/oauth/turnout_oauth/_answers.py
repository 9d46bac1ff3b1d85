"""A token endpoint's answer to tokens, or to the verdict that it means (RFC 6749, 5; acceptance E7, E8). Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from turnout import Failed, Failure, Protocol, RateLimited, Secret, Sent, Transient, Unauthorized
from turnout.errors import InvalidAsk, UpstreamFailed
from turnout_oauth._tokens import Tokens, lifetime
from turnout_wire import check_header, check_json, retry_after, scrub

SPENT = frozenset(
    {
        "invalid_grant",
        "refresh_token_expired",
        "refresh_token_invalidated",
        "refresh_token_reused",
    }
)
"""Errors that say that a grant is used up for good: RFC 6749, 5.2, and the finer words of auth.openai.com (2026-11)."""

CLOCK_MARKS = ("timeframe", "iat and exp")
"""In the description of an `invalid_grant`: Google found our clock wrong, not our key, and clocks are set right."""

_LINE = 300
"""Characters of a server's own words that go into a verdict."""


def tokens_of(response: httpx.Response, *, now: float, secrets: Iterable[Secret | None]) -> Tokens:
    """The tokens in an answer whose body has been read.

    Args:
        response: of the token endpoint.
        now: POSIX seconds when the request was made, so that a token never ends later than we believe.
        secrets: what was sent, to be removed from anything that the server says.

    Raises:
        UpstreamFailed: with the verdict that the answer means.
    """
    fields = _fields(response)
    code, description = _error(fields)
    if code or not 200 <= response.status_code < 300:
        known = tuple(secret.reveal() for secret in secrets if secret is not None)
        raise UpstreamFailed(_verdict(response, code, description, now=now, known=known))
    access = _text(fields, "access_token")
    if access is None or not _fits_a_header(access):
        raise UpstreamFailed(Protocol(message="the token endpoint's answer holds no usable access_token"))
    scope = fields.get("scope")
    return Tokens(
        access_token=access,
        expires_at=now + lifetime(fields.get("expires_in")),
        refresh_token=_text(fields, "refresh_token"),
        scope=scope if isinstance(scope, str) else "",
    )


def _fields(response: httpx.Response) -> Mapping[str, Any]:
    try:
        return check_json(response.content)
    except InvalidAsk:
        return {}


def _text(fields: Mapping[str, Any], name: str) -> Secret | None:
    value = fields.get(name)
    return Secret(value.strip()) if isinstance(value, str) and value.strip() else None


def _fits_a_header(token: Secret) -> bool:
    try:
        check_header("authorization", token.reveal())
    except InvalidAsk:
        return False
    return True


def _error(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Code and description; some servers put both into an object, or an error into a 200."""
    error = fields.get("error")
    if isinstance(error, Mapping):
        code, description = error.get("code") or error.get("type"), error.get("message")
    else:
        code, description = error, fields.get("error_description")
    return (
        code if isinstance(code, str) else "error" if error else "",
        description if isinstance(description, str) else "",
    )


def _verdict(response: httpx.Response, code: str, description: str, *, now: float, known: tuple[str, ...]) -> Failure:
    status = response.status_code
    said = ": ".join(part for part in (code, description) if part)
    message = f"the token endpoint answered {status}" + (f": {said}" if said else "")
    message = " ".join(scrub(message, known).split())[:_LINE]
    return _kind(status, code, description)(
        message=message, sent=Sent.ANSWERED, retry_after=retry_after(response.headers, now=now)
    )


def _kind(status: int, code: str, description: str) -> type[Failure]:
    """What the answer means.

    A refusal of our client (`invalid_client` and so on) is no word about the credential: the operator mends the
    configuration, and then the same refresh token serves again.
    """
    if code in SPENT and status < 500 and not any(mark in description for mark in CLOCK_MARKS):
        return Unauthorized
    if status == 429:
        return RateLimited
    if status >= 500 or status == 408:
        return Transient
    return Protocol if status < 400 else Failed
