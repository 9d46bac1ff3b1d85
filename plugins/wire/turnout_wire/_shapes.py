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
    """

    status: int
    code: str
    message: str
    request_id: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    relayed: Mapping[str, Any] = attrs.field(factory=dict)


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
        "param": None,
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


SHAPES: Mapping[str, Shape] = {
    "openai.chat": Shape(body=_openai_body, in_band=_openai_in_band),
}
