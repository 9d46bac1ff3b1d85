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

_YEAR = 365 * 86_400.0

_NO_DURATION = 10 * _YEAR
"""Nobody is asked to wait as long: a `retry-after` above it is a POSIX time, if that lies within a year of now."""

_LIMIT = re.compile(r"x-ratelimit-(?P<what>remaining|reset)(?P<of>.*)", re.ASCII)

_ANTHROPIC_LIMIT = re.compile(r"anthropic-ratelimit-(?P<of>.*)-(?P<what>remaining|reset|status)", re.ASCII)
"""Resets are RFC 3339 dates there (platform.claude.com/docs/en/api/rate-limits, read 2026-11-23).

The limits of a subscription have no `remaining`: `unified-5h` and `unified-7d` have a reset each, whether used up or
not, and a `status` of `allowed`, `allowed_warning` or `rejected` (github.com/anthropics/claude-code/issues/12829,
github.com/Kilo-Org/kilocode/pull/14220, both read 2026-11-28).
"""


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the upstream asked us to wait, None when it said nothing that can be understood.

    In order: `retry-after-ms` (OpenAI, Azure), `retry-after` (RFC 9110 section 10.2.3: seconds or a date), then the
    longest reset of a limit that is used up. `headers` has lower-case names; `now` is POSIX seconds.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return _wait(milliseconds / 1000, now)
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is not None:
        return _wait(seconds, now)
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


def _wait(seconds: float, now: float) -> float:
    """The seconds; those until the moment that they are in truth, where a server wrote when instead of how long."""
    moments = (seconds, seconds / 1000) if seconds > _NO_DURATION else ()
    return next((max(0.0, at - now) for at in moments if abs(at - now) <= _YEAR), seconds)


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
    """The longest reset of the limits that are used up; of the only one there is, when nothing says which are.

    Of several, any may be the one that refuses: the longest would bench for a week what is free in a minute.
    """
    limits: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if limit := _LIMIT.fullmatch(name) or _ANTHROPIC_LIMIT.fullmatch(name):
            limits.setdefault(limit["of"], {})[limit["what"]] = value.strip()
    resets = {of: said["reset"] for of, said in limits.items() if "reset" in said}
    spent = {of: _is_used_up(said) for of, said in limits.items() if said.keys() - {"reset"}}
    if spent or len(resets) > 1:
        resets = {of: text for of, text in resets.items() if spent.get(of)}
    return max((wait for text in resets.values() if (wait := reset_of(text, now=now)) is not None), default=None)


def _is_used_up(said: Mapping[str, str]) -> bool:
    """Whether a limit has nothing left, as its `remaining` or its `status` says."""
    if "status" in said:
        return not said["status"].lower().startswith("allowed")
    left = said["remaining"]
    return left.startswith("-") or _number(left) == 0


def reset_of(text: str, *, now: float) -> float | None:
    """Seconds until a limit begins anew: a duration, a date, or a POSIX time; None when it cannot be understood."""
    number = _number(text)
    if number is None:
        wait = duration(text)
        return wait if wait is not None else _until(_iso_date(text), now)
    if number >= _EPOCH_MILLISECONDS:
        return _until(number / 1000, now)
    return _until(number, now) if number >= _EPOCH_SECONDS else number
