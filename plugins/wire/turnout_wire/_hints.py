"""When an upstream says to come back: `Retry-After` and its vendors' cousins, as seconds from now.

Whatever an upstream writes gives a finite number that is not negative, or None: never an exception (B25). Nothing is
clamped here; the kernel has the floor and the cap.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"\d{1,300}(?:\.\d{1,30})?", re.ASCII)  # up to 300 digits a float is finite
_PIECE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_EPOCH_SECONDS = 1e9
"""A bare reset number this large (2001 and later) is a POSIX time, not a duration."""

_EPOCH_MILLISECONDS = 1e12
"""The same in milliseconds, as OpenRouter writes it."""

_LIMIT = re.compile(r"x-ratelimit-(remaining|reset)(.*)", re.ASCII)

_ANTHROPIC_LIMIT = re.compile(r"anthropic-ratelimit-(.*)-(remaining|reset)", re.ASCII)
"""Resets are RFC 3339 dates there (platform.claude.com/docs/en/api/rate-limits, read 2026-11-23)."""


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the upstream asked us to wait, None when it said nothing that can be understood.

    In order: `retry-after-ms` (OpenAI, Azure), `retry-after` (RFC 9110 section 10.2.3: seconds or a date), then the
    longest `x-ratelimit-reset…` of a limit that is used up. `headers` has lower-case names; `now` is POSIX seconds.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is not None:
        return seconds
    return _until(_http_date(text), now) if text else _reset(headers, now)


def duration(text: str) -> float | None:
    """Seconds of a duration such as `1s`, `6m0s`, `20ms` or `1h2m3.5s`; None when it is none."""
    total, end = 0.0, 0
    for piece in _PIECE.finditer(text):
        if piece.start() != end:
            return None
        total += float(piece[1]) * _SECONDS[piece[2]]
        end = piece.end()
    return total if end and end == len(text) else None


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _until(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, at - now)


def _http_date(text: str) -> float | None:
    try:
        parsed = parsedate_to_datetime(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _iso_date(text: str) -> float | None:
    try:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """The longest reset of the limits that have nothing left; of all limits when no remainder is given."""
    remaining: dict[str, str] = {}
    resets: dict[str, str] = {}
    for name, value in headers.items():
        if limit := _LIMIT.fullmatch(name):
            (remaining if limit[1] == "remaining" else resets)[limit[2]] = value.strip()
        elif limit := _ANTHROPIC_LIMIT.fullmatch(name):
            (remaining if limit[2] == "remaining" else resets)[limit[1]] = value.strip()
    waits = [
        wait
        for limit_name, text in resets.items()
        if remaining.get(limit_name, "0" if not remaining else "") == "0"
        and (wait := reset_of(text, now=now)) is not None
    ]
    return max(waits, default=None)


def reset_of(text: str, *, now: float) -> float | None:
    """Seconds until a limit begins anew: a duration, a date, or a POSIX time; None when it cannot be understood."""
    number = _number(text)
    if number is None:
        wait = duration(text)
        return wait if wait is not None else _until(_iso_date(text), now)
    if number >= _EPOCH_MILLISECONDS:
        return _until(number / 1000, now)
    return _until(number, now) if number >= _EPOCH_SECONDS else number
