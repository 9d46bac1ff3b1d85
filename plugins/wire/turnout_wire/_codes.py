"""The closed list of error codes that clients may match on, each with its HTTP status.

Acceptance 4, and C6.1 and C6.2 for what the pool itself says. Nothing else is ever sent as a code, except the code of
an upstream's own error where that is relayed.
"""

from collections.abc import Mapping

CODES: Mapping[str, int] = {
    "bad_request": 400,
    "model_not_supported": 400,
    "websocket_connection_limit_reached": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "previous_response_not_found": 404,
    "model_not_found": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "too_large": 413,
    "unsupported_media_type": 415,
    "misdirected": 421,
    "rate_limited": 429,
    "model_cooldown": 429,
    "headers_too_large": 431,
    "internal": 500,
    "not_supported": 501,
    "upstream_error": 502,
    "upstream_unreachable": 502,
    "upstream_protocol": 502,
    "empty_stream": 502,
    "auth_not_found": 503,
    "auth_unavailable": 503,
    "draining": 503,
    "no_capacity": 503,
    "overloaded": 503,
    "upstream_timeout": 504,
}

RETRY_LATER = frozenset({429, 503})
"""Statuses that always come with a Retry-After."""
