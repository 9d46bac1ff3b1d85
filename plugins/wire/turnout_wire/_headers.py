"""Which headers cross the house, both ways by allow-list, and which values are fit to be sent at all.

Everything that is not named here stays behind: the client's key, cookies, hosts and hop-by-hop headers never reach an
upstream (S52); `set-cookie`, lengths, encodings and an upstream's own content type never reach a client (B28, S53).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import httpx

from turnout.errors import InvalidAsk

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_VALUE = re.compile(r"[\x20-\x7e\t]{0,4096}", re.ASCII)

_OPENAI_REQUEST = frozenset({"idempotency-key", "openai-beta", "x-client-request-id"})

_OPENAI_REPLY = frozenset(
    {
        "openai-processing-ms",
        "openai-version",
        "x-ratelimit-limit-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
    }
)

_ANTHROPIC_REPLY = frozenset(
    f"anthropic-ratelimit-{limit}-{what}"
    for limit in ("requests", "tokens", "input-tokens", "output-tokens")
    for what in ("limit", "remaining", "reset")
)
"""platform.claude.com/docs/en/api/rate-limits, read 2026-11-23."""

REQUEST_HEADERS: Mapping[str, frozenset[str]] = {
    "openai.chat": _OPENAI_REQUEST,
    "openai.responses": _OPENAI_REQUEST,
    "openai.embeddings": _OPENAI_REQUEST,
    "anthropic.messages": frozenset({"anthropic-version", "anthropic-beta"}),
    "gemini.generate": frozenset(),
}
"""Per dialect: what a client may say to an upstream."""

REPLY_HEADERS: Mapping[str, frozenset[str]] = {
    "openai.chat": _OPENAI_REPLY,
    "openai.responses": _OPENAI_REPLY,
    "openai.embeddings": _OPENAI_REPLY,
    "anthropic.messages": _ANTHROPIC_REPLY,
    "gemini.generate": frozenset(),
}
"""Per dialect: what an upstream may say to a client."""

_REPLY_FIELDS = {dialect: frozenset(name.encode() for name in names) for dialect, names in REPLY_HEADERS.items()}

_MEDIA_TYPES = {False: "application/json", True: "text/event-stream; charset=utf-8"}


def request_headers(headers: Mapping[str, str], dialect: str) -> dict[str, str]:
    """Those of a client's headers that may go upstream, names in lower case. Raises InvalidAsk for a bad value."""
    allowed = REQUEST_HEADERS[dialect]
    kept = {lower: value for name, value in headers.items() if (lower := name.lower()) in allowed}
    for name, value in kept.items():
        check_header(name, value)
    return kept


def reply_headers(headers: httpx.Headers, dialect: str) -> dict[str, str]:
    """Those of an upstream's headers that a client may see. A bad or repeated one is left out."""
    return reply_fields(headers.raw, dialect)


def reply_fields(fields: Sequence[tuple[bytes, bytes]], dialect: str) -> dict[str, str]:
    """`reply_headers` of the headers as they came."""
    allowed = _REPLY_FIELDS[dialect]
    return _sound([(name, value) for raw_name, value in fields if (name := raw_name.lower()) in allowed])


class ReplyHead(NamedTuple):
    """What counts of the headers of a whole answer.

    Attributes:
        length: of its body, None when it does not say.
        encoding: content encoding, lower-case; empty when there is none.
        kept: what a client may see, as `reply_headers` gives it.
    """

    length: int | None
    encoding: bytes
    kept: dict[str, str]


def reply_head(fields: Sequence[tuple[bytes, bytes]], dialect: str) -> ReplyHead:
    """All of it in one pass over the headers as they came."""
    allowed = _REPLY_FIELDS[dialect]
    length, encoding = None, b""
    found = []
    for raw_name, value in fields:
        name = raw_name.lower()
        if name in allowed:
            found.append((name, value))
        elif name == b"content-length":
            length = length_of(value)
        elif name == b"content-encoding":
            encoding = value.strip().lower()
    return ReplyHead(length, encoding, _sound(found) if found else {})


def length_of(value: bytes) -> int | None:
    """What a `content-length` says, None for what is none."""
    return int(value) if value.isdigit() and len(value) < 20 else None


def _sound(found: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as texts, without bad and repeated ones."""
    kept = {name.decode(): text for name, value in found if _VALUE.fullmatch(text := value.decode("latin-1").strip())}
    if len(kept) < len(found):
        names = [name for name, _ in found]
        return {name: text for name, text in kept.items() if names.count(name.encode()) == 1}
    return kept


def client_headers(*, stream: bool) -> dict[str, str]:
    """What every answer to a client carries: our own content type by dialect, and no guessing about it (S53)."""
    return {"content-type": _MEDIA_TYPES[stream], "x-content-type-options": "nosniff"}


def check_header(name: str, value: str) -> None:
    """Refuse what would split or corrupt a message: CR, LF, NUL, other controls, non-ASCII (F10, S51).

    Raises InvalidAsk, which names the header and never shows its value.
    """
    if not _NAME.fullmatch(name.lower()):
        raise InvalidAsk(f"header name {name[:40]!a} is not a token", argument="headers")
    if not _VALUE.fullmatch(value):
        raise InvalidAsk(
            f"header {name!r} must be printable ASCII of at most 4096 characters", argument=f"headers.{name}"
        )


def check_headers(headers: Iterable[tuple[str, str]]) -> None:
    """`check_header` for each."""
    for name, value in headers:
        check_header(name, value)
