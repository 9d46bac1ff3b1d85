"""What is wrong with an origin. It is compared as a text: one that is written otherwise is nobody's."""

from urllib.parse import SplitResult, urlsplit

NO_ORIGIN = "it is not `scheme://host:port`"


def origin_flaw(origin: str) -> str:
    """Why this is no origin, in words that do not show it, since it may hold a password; empty if it is one."""
    try:
        parts = urlsplit(origin)
        parts.port  # noqa: B018 # raises for what is no number
    except ValueError:
        return NO_ORIGIN
    return next((flaw for flaw, is_so in _flaws(origin, parts).items() if is_so), "")


def _flaws(origin: str, parts: SplitResult) -> dict[str, bool]:
    return {
        NO_ORIGIN: not parts.scheme or not parts.hostname or any(map(str.isspace, origin)),
        "it has a user or a password, and `scheme://host:port` has none": "@" in parts.netloc,
        "it goes on after the port, and `scheme://host:port` ends there": origin.count("/") > 2
        or any(mark in origin for mark in "?#"),
        "it has no port, and `scheme://host:port` always has one, such as 443": not parts.port,
    }
