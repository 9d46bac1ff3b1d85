"""Lenient readings of single values: what people and vendors write into JSON (C1.10, C1.13, C1.15).

None of them raises: what cannot be read is None, so that a reading falls on to the next key.
"""

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_WHOLE = re.compile(r"([+-]?)0*([0-9]{1,19})")
_INT64 = 2**63
_MILLISECONDS_ABOVE = 1_000_000_000_000
"""C1.13.3: a larger Unix time is milliseconds; as seconds it would be the year 33,658."""

_DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_RFC3339 = re.compile(_DATE + r"T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?(?:Z|([+-])([0-9]{2}):([0-5][0-9]))")
_PLAIN = re.compile(_DATE + r" ([0-9]{2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]+)?)?")

_UNITS = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ns": 1e-9,
}  # both signs for micro are in use
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_PART = re.compile(rf"({_NUMBER})(h|ms|us|µs|μs|ns|m|s)")
_UNIT_DURATION = re.compile(rf"([+-]?)((?:{_PART.pattern})+)")
_DECIMAL = re.compile(rf"[+-]?{_NUMBER}(?:[eE][+-]?[0-9]+)?")


class Instant(NamedTuple):
    """A time that was recognised: POSIX seconds, or None when what was written means "unset" (C1.13.3)."""

    at: float | None


def boolean(value: object) -> bool | None:
    """True or False as C1.10.1 reads them; None when unreadable, like blanks, `yes`, null and lists."""
    if isinstance(value, str):
        text = value.strip()
        return True if text in _TRUE else False if text in _FALSE else None
    if isinstance(value, bool):
        return value
    return value != 0 if isinstance(value, int | float) else None


def whole_number(value: object) -> int | None:
    """A whole number of up to 64 bits (C1.10.2), fractions cut off; None for booleans, fractional texts and so on."""
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value.strip())
        return _within_64_bits(int(found[1] + found[2])) if found else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _within_64_bits(int(value)) if isinstance(value, int) or math.isfinite(value) else None


def timestamp(value: object) -> Instant | None:
    """A point in time (C1.13): texts in RFC 3339, `YYYY-MM-DD HH:MM[:SS[.f]]` in UTC, or Unix time as text or number.

    None when it is none of these: a date alone, a `T` form without zone or seconds, a boolean. The year 1, which some
    vendors' tools write for "never", is recognised but unset, like a Unix time of zero or less.
    """
    if isinstance(value, str):
        text = value.strip()
        if found := _RFC3339.fullmatch(text) or _PLAIN.fullmatch(text):
            return _calendar(found)
    unix = whole_number(value)
    if unix is None:
        return None
    if unix <= 0:
        return Instant(None)
    return Instant(unix / 1000 if unix > _MILLISECONDS_ABOVE else float(unix))


def duration(value: object) -> float | None:
    """Seconds, more than zero (C1.15), from a number, `1h30m`, `250ms` or a decimal text; None when there are none."""
    if isinstance(value, str):
        seconds = _duration_text(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = _finite(value)
    else:
        return None
    return seconds if seconds is not None and 0 < seconds < math.inf else None


def _within_64_bits(number: int) -> int | None:
    return number if -_INT64 <= number < _INT64 else None


def _finite(number: float) -> float | None:
    try:
        return float(number)
    except OverflowError:  # a whole number in JSON may have any length
        return None


def _calendar(found: re.Match[str]) -> Instant | None:
    year, month, day, hour, minute, second, fraction, *zone = found.groups()
    sign, zone_hours, zone_minutes = zone or (None, None, None)
    try:
        offset = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
        where = timezone(-offset if sign == "-" else offset) if sign else UTC
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=where)
    except ValueError:  # a 30th of February, an hour of 25, a zone a day away
        return None
    return Instant(None if moment.year == 1 else moment.timestamp() + float(fraction or 0))


def _duration_text(text: str) -> float | None:
    if found := _UNIT_DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[2]))
        return -seconds if found[1] == "-" else seconds
    return float(text) if _DECIMAL.fullmatch(text) else None
