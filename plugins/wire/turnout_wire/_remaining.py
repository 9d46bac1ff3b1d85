"""What a credential has left, from the headers that a client sees too. Pure but for what it remembers.

Per dialect the names of the limits: developers.openai.com/api/docs/guides/rate-limits, which Azure, Groq and others
follow, and platform.claude.com/docs/en/api/rate-limits (both read 2026-11-26). Google says nothing.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, final

from turnout import Remaining
from turnout_wire._hints import reset_of

WINDOW: Final = 60.0
"""Seconds that what is left holds when the upstream does not say until when: most limits count by the minute."""

_LONGEST: Final = 86_400.0
"""Seconds that it holds at most: a credential that is spared is not asked again, and a wrong date would last years."""

_KEPT = 10_000
"""Pairs of credential and model whose last word is remembered."""


class _Limit(NamedTuple):
    """Names of the three headers of one limit."""

    limit: str
    remaining: str
    reset: str


_OPENAI = tuple(
    _Limit(*(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset"))) for of in ("requests", "tokens")
)
_ANTHROPIC = tuple(
    _Limit(*(f"anthropic-ratelimit-{of}-{what}" for what in ("limit", "remaining", "reset")))
    for of in ("requests", "tokens", "input-tokens", "output-tokens")
)

LIMITS: Mapping[str, tuple[_Limit, ...]] = {
    "openai.chat": _OPENAI,
    "openai.responses": _OPENAI,
    "openai.embeddings": _OPENAI,
    "anthropic.messages": _ANTHROPIC,
    "gemini.generate": (),
}


@final
class Gauge:
    """Reads what is left; gives the same value again while an upstream says the same."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[tuple[str, ...], Remaining]] = {}

    def read(self, headers: Mapping[str, str], dialect: str, id: str, model: str, *, now: float) -> Remaining | None:
        """What the headers of an answer say; None when they name no limit.

        Args:
            headers: those that `reply_headers` let through.
            dialect: of the answer.
            id: of the credential.
            model: as the upstream calls it; limits are often per model.
            now: POSIX seconds.
        """
        limits = [limit for limit in LIMITS[dialect] if limit.remaining in headers] if headers else ()
        if not limits:
            return None
        said = tuple(headers.get(name, "") for limit in limits for name in limit)
        before = self._last.get((id, model))
        if before is not None and before[0] == said and now < before[1].until:
            return before[1]
        shares = {share: limit for limit in limits if (share := _share(limit, headers)) is not None}
        if not shares:
            return None
        share = min(shares)
        reset = reset_of(headers.get(shares[share].reset, ""), now=now)
        least = Remaining(share=share, until=now + (WINDOW if reset is None else min(reset, _LONGEST)))
        if len(self._last) >= _KEPT:
            self._last.clear()
        self._last[id, model] = (said, least)
        return least


def _share(limit: _Limit, headers: Mapping[str, str]) -> float | None:
    """How much of one limit is left; None when its numbers are none."""
    whole, left = headers.get(limit.limit, "").strip(), headers[limit.remaining].strip()
    if not (_is_count(whole) and _is_count(left)) or not int(whole):
        return None
    return min(int(left) / int(whole), 1.0)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
