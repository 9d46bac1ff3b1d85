"""Durations and sizes as people write them in TOML: `"1h30m"`, `"32MiB"`. Pure."""

import re

from turnout._values import ByteCount, Seconds

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_SIZE = re.compile(r"(\d+)(B|[kMG]B|[KMG]iB)", re.ASCII)
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def seconds(text: str) -> Seconds | None:
    """Seconds of a duration such as `"30s"`, `"1h30m"` or `"250ms"`; None when it is not one."""
    if not _DURATION.fullmatch(text):
        return None
    return Seconds(sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text)))


def byte_count(text: str) -> ByteCount | None:
    """Bytes of a size such as `"64KiB"` (1024 each) or `"10MB"` (1000 each); None when it is not one."""
    match = _SIZE.fullmatch(text)
    return ByteCount(int(match[1]) * _BYTES[match[2]]) if match else None
