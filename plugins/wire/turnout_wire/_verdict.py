"""HTTP answers of an upstream to verdicts: one table, and the marks in a body that outrank it.

C6.3 and C10.4 with O41, O44, O45, O46 and O52; design 9. A test proves that every status from 100 to 599 is mapped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import attrs
import msgspec

from turnout import (
    CountUnsupported,
    Failed,
    Failure,
    InvalidRequest,
    ModelMissing,
    ModelUnsupported,
    Operation,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    Sent,
    Transient,
    Unauthorized,
)
from turnout_wire._hints import retry_after
from turnout_wire._scrub import scrub

PASSED_ON = 4096
"""Bytes of an upstream's own error text that may travel on, once scrubbed (acceptance 4)."""

_LINE = 300
"""Characters of it that go into a verdict's one-line message."""

STATUSES: Mapping[int, type[Failure]] = {
    400: Failed,
    401: Unauthorized,
    402: PaymentRequired,
    403: PaymentRequired,
    404: ModelMissing,
    408: Transient,
    413: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    529: Overloaded,
}

CLASSES: Mapping[int, type[Failure]] = {
    1: Protocol,  # an informational answer that no final one followed, or a 101 nobody asked for (B18)
    2: Protocol,  # a success of a shape that we cannot use
    3: Protocol,  # never followed: a redirect would carry the key elsewhere (B19)
    4: Failed,
    5: Transient,
}
"""What a status that has no row of its own means, by its hundreds."""

_NO_COUNTING = frozenset({404, 405, 501})

_UNSUPPORTED_MARKS = (
    "model_not_supported",
    "requested model is not supported",
    "requested model is unsupported",
    "requested model is unavailable",
    "model is not supported",
    "model not supported",
    "unsupported model",
    "model unavailable",
    "not available for your plan",
    "not available for your account",
)
"""C6.3.1."""

_SPENT_MARKS = (
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
)
"""A 429 with one of these means money, not rate: waiting a second does not help (B24).

help.openai.com/en/articles/6614457, read 2026-11-26.
"""

_HINTED = frozenset({402, 403, 408, 429})

_LATER = (RateLimited, Overloaded)


class Mark(NamedTuple):
    """What a refusal means at one vendor, where that is not what its status means everywhere.

    Attributes:
        status: HTTP status, or the one that an error inside a 200 stands for.
        text: to be found in the body, in this case; empty for whatever body.
    """

    status: int
    text: str
    kind: type[Failure]


_STATUS_OF_WORD: Mapping[str, int] = {
    "insufficient_quota": 402,
    "billing_error": 402,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "rate_limited": 429,
    "too_many_requests": 429,
    "tokens": 429,
    "requests": 429,
    "resource_exhausted": 429,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "not_found": 404,
    "request_too_large": 413,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "data_residency_mismatch": 400,  # of a response, and about the account as well: another one may serve it
    "overloaded_error": 529,
    "overloaded": 529,
    "engine_overloaded": 529,
    "unavailable": 503,
    "timeout_error": 504,
    "timeout": 504,
    "vector_store_timeout": 504,
    "server_error": 500,
    "api_error": 500,
    "internal_server_error": 500,
}
"""The status that a vendor would have sent with such an error `code`, `type` or `status` (B22)."""

_OF_THE_REQUEST = frozenset(
    {
        "bio_policy",
        "context_length_exceeded",
        "empty_image_file",
        "failed_to_download_image",
        "image_content_policy_violation",
        "image_file_not_found",
        "image_file_too_large",
        "image_parse_error",
        "image_too_large",
        "image_too_small",
        "invalid_base64_image",
        "invalid_image",
        "invalid_image_format",
        "invalid_image_mode",
        "invalid_image_url",
        "invalid_prompt",
        "misalignment_policy_violation",
        "unsupported_image_media_type",
    }
)
"""A `code` that finds fault with the request, of an error that may say nothing else (B27).

OpenAI's ResponseError as the types of its SDK 3.57 tell it (read 2026-11-28), without those that stand in
`_STATUS_OF_WORD`; `context_length_exceeded` comes in the API's `error` event.
"""

_UNPROCESSABLE = 422
"""What these stand for: a 400 takes a mark to be the request's fault (C6.3), and these are the marks themselves."""


@attrs.frozen(kw_only=True)
class UpstreamAnswer:
    """An upstream's own answer, fit to be relayed: scrubbed, at most `PASSED_ON` bytes.

    It is the `detail` of a verdict that `verdict` made.
    """

    status: int
    body: bytes = attrs.field(repr=False)
    media_type: str = ""


def verdict(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    now: float,
    operation: Operation = Operation.GENERATE,
    secrets: Iterable[str] = (),
    marks: Sequence[Mark] = (),
) -> Failure:
    """What an upstream's refusal means.

    Args:
        status: HTTP status; anything that is not 100 to 599 is a protocol failure.
        body: as much of the answer's body as was read (64 KiB are enough).
        headers: with lower-case names, or `httpx.Headers`.
        now: POSIX seconds.
        operation: counting has a rule of its own (O41).
        secrets: exact texts that must not travel on; see `secrets_of`.
        marks: the vendor's own; the first that fits outranks everything here, but for counting.
    """
    text = scrub(body.decode("utf-8", "replace"), secrets)
    uncounted = operation is Operation.COUNT and status in _NO_COUNTING
    kind = CountUnsupported if uncounted else _kind(status, text, marks, hinted="retry-after" in headers)
    later = status in _HINTED or status >= 500 or kind in _LATER
    said = error_message(text)
    return kind(
        message=f"upstream answered {status}" + (f": {said}" if said else ""),
        sent=Sent.ANSWERED,
        retry_after=retry_after(headers, now=now) if later else None,
        detail=UpstreamAnswer(status=status, body=clip(text), media_type=_media_type(headers)),
    )


def status_of_error(error: object) -> int:
    """The status that an error object inside a 200 stands for; 500 when it does not say (B22)."""
    if not isinstance(error, Mapping):
        return 500
    words = [error.get(name) for name in ("code", "status", "type")]
    for word in words:
        if isinstance(word, int) and 400 <= word <= 599:
            return word
        if isinstance(word, str) and word.isascii() and word.isdigit() and len(word) == 3 and word >= "400":
            return min(int(word), 599)
    known = next((s for w in words if isinstance(w, str) and (s := _STATUS_OF_WORD.get(w.lower()))), None)
    return known or (_UNPROCESSABLE if isinstance(words[0], str) and words[0] in _OF_THE_REQUEST else 500)


def error_alone(error: object, body: bytes) -> bytes:
    """An error that was read out of a body, as a body of its own; the body as it is, if it is nested too deeply.

    Around the error of a response stands the response: of its first `PASSED_ON` bytes nobody could read anything.
    """
    try:
        return msgspec.json.encode({"error": error})
    except RecursionError:
        return body


def error_message(text: str) -> str:
    """The one line that an error body has for people; empty when it has none, such as a page of HTML."""
    try:
        found = unlisted(json.loads(text))
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        found = found.get("message") or found.get("code") or found.get("type")
    return " ".join(found.split())[:_LINE] if isinstance(found, str) else ""


def unlisted(found: object) -> object:
    """The first object of an array, for Google answers a streaming call with `[{"error": …}]`; all else as it is."""
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else found


def clip(text: str) -> bytes:
    """At most `PASSED_ON` bytes of a text, cut between two characters."""
    return text.encode("utf-8", "replace")[:PASSED_ON].decode("utf-8", "ignore").encode()


def _kind(status: int, text: str, marks: Sequence[Mark], *, hinted: bool) -> type[Failure]:
    for mark in marks:
        if mark.status == status and mark.text in text:
            return mark.kind
    if status in {400, 422} and any(mark in text.strip().lower() for mark in _UNSUPPORTED_MARKS):
        return ModelUnsupported
    if status == 400 and "invalid_request_error" in text:  # exact case: C6.3.2
        return InvalidRequest
    if status == 429 and not hinted and any(mark in text for mark in _SPENT_MARKS):
        return PaymentRequired
    if status == 503 and "overloaded" in text.lower():
        return Overloaded
    return STATUSES.get(status) or CLASSES.get(status // 100, Protocol)


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
