"""What an error looks like in each dialect: one row each, for a whole answer and for an event inside a stream."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

JSON = "application/json"


@attrs.frozen(kw_only=True)
class Told:
    """An error, ready to be written in a dialect.

    Attributes:
        extra: members that a client may read besides (C6.2.2).
        relayed: the upstream's own error object, scrubbed; its members win where the dialect has them.
        param: the member of the request that is wrong, as the client wrote it; empty when none is to blame.
    """

    status: int
    code: str
    message: str
    request_id: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    relayed: Mapping[str, Any] = attrs.field(factory=dict)
    param: str = ""


@attrs.frozen(kw_only=True)
class Shape:
    """How one dialect writes errors: `body` of an answer, and the event `in_band` after a stream was committed."""

    body: Callable[[Told], bytes]
    in_band: Callable[[Told], bytes]


def _openai_type(status: int) -> str:
    """C17.4."""
    if status >= 500:
        return "server_error"
    return _OPENAI_TYPES.get(status, "invalid_request_error")


_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_OPENAI_MEMBERS = ("message", "type", "param", "code")
"""What an upstream's own error object may show; vendors put names of hosts and providers into other members."""


def _openai_body(told: Told) -> bytes:
    error: dict[str, Any] = {
        "message": told.message,
        "type": _openai_type(told.status),
        "param": told.param or None,
        "code": told.code,
        **told.extra,
    }
    error |= {name: told.relayed[name] for name in _OPENAI_MEMBERS if _is_scalar(told.relayed.get(name))}
    return msgspec.json.encode({"error": error, **({"request_id": told.request_id} if told.request_id else {})})


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _openai_in_band(told: Told) -> bytes:
    """Never followed by `[DONE]`: a client must not take the stream for complete (B10, B11, B12)."""
    return b"data: " + _openai_body(told) + b"\n\n"


def _responses_in_band(told: Told) -> bytes:
    """The `error` event of the Responses API (platform.openai.com/docs/api-reference, read November 2026)."""
    error: dict[str, Any] = {"type": "error", "code": told.code, "message": told.message, "param": told.param or None}
    error |= {"sequence_number": 0}
    error |= {name: told.relayed[name] for name in ("message", "code") if _is_scalar(told.relayed.get(name))}
    return b"event: error\ndata: " + msgspec.json.encode(error) + b"\n\n"


_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""platform.claude.com/docs/en/api/errors, read 2026-11-23."""


def _anthropic_body(told: Told) -> bytes:
    usual = "api_error" if told.status >= 500 else "invalid_request_error"
    error: dict[str, Any] = {
        "type": _ANTHROPIC_TYPES.get(told.status, usual),
        "message": told.message,
        "code": told.code,
        **told.extra,
    }
    error |= {name: told.relayed[name] for name in ("type", "message") if _is_scalar(told.relayed.get(name))}
    named = {"request_id": told.request_id} if told.request_id else {}
    return msgspec.json.encode({"type": "error", "error": error, **named})


def _anthropic_in_band(told: Told) -> bytes:
    """Never followed by `message_stop`."""
    return b"event: error\ndata: " + _anthropic_body(told) + b"\n\n"


_GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    504: "DEADLINE_EXCEEDED",
}
"""google.rpc.Code (ai.google.dev/gemini-api/docs/generate-content/api-errors, read 2026-11-23)."""


_GOOGLE_RPC = "type.googleapis.com/google.rpc"
"""Types of details: google/rpc/error_details.proto, read 2026-11-23."""


def _gemini_body(told: Told) -> bytes:
    usual = "UNAVAILABLE" if told.status >= 500 else "INVALID_ARGUMENT"
    metadata = {name: str(value) for name, value in told.extra.items()}
    metadata |= {"request_id": told.request_id} if told.request_id else {}
    details: list[dict[str, Any]] = [
        {"@type": f"{_GOOGLE_RPC}.ErrorInfo", "reason": told.code, "domain": "turnout", "metadata": metadata}
    ]
    if told.param:
        wrong = {"field": told.param, "description": told.message}
        details.append({"@type": f"{_GOOGLE_RPC}.BadRequest", "fieldViolations": [wrong]})
    error: dict[str, Any] = {
        "code": told.status,
        "message": told.message,
        "status": _GEMINI_STATUSES.get(told.status, usual),
        "details": details,
    }
    error |= {name: told.relayed[name] for name in ("message", "status") if isinstance(told.relayed.get(name), str)}
    return msgspec.json.encode({"error": error})


def _gemini_in_band(told: Told) -> bytes:
    return b"data: " + _gemini_body(told) + b"\r\n\r\n"


def _gemini_in_array(told: Told) -> bytes:
    """The last element of a streamed array; it closes the array."""
    return b",\r\n" + _gemini_body(told) + b"]"


SHAPES: Mapping[str, Shape] = {
    "openai.chat": Shape(body=_openai_body, in_band=_openai_in_band),
    "openai.responses": Shape(body=_openai_body, in_band=_responses_in_band),
    "openai.embeddings": Shape(body=_openai_body, in_band=_openai_in_band),
    "anthropic.messages": Shape(body=_anthropic_body, in_band=_anthropic_in_band),
    "gemini.generate": Shape(body=_gemini_body, in_band=_gemini_in_band),
    "gemini.generate.array": Shape(body=_gemini_body, in_band=_gemini_in_array),
}
