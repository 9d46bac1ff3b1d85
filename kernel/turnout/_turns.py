"""How providers alternate when a pick may go to several of them (C5.10.1, C5.10.5)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from turnout._shard import Shard

MARKS: Final = 4096
"""Marks that are kept; when a new one would exceed that, all are dropped (C5.14)."""

Turn = tuple[frozenset[str], str]
"""What has a mark of its own: a set of providers, however it is ordered (O17), and a base name."""


class Providers(NamedTuple):
    """A list of providers as C5.10.1 wants it, and the set of them."""

    listed: tuple[str, ...]
    together: frozenset[str]


@lru_cache(maxsize=1024)
def normal(providers: tuple[str, ...]) -> Providers:
    """Lower-cased and trimmed, blanks and repeats dropped, in order."""
    keys = dict.fromkeys(key for provider in providers if (key := provider.strip().lower()))
    return Providers(tuple(keys), frozenset(keys))


class Turns:
    """Which provider was chosen last, by set of providers and base name.

    Providers alternate one to one, however many credentials each of them has (O17).
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[Turn, str] = {}

    def chosen(self, turn: Turn, provider: str) -> None:
        """Go on behind this provider from now on."""
        if len(self._last) >= MARKS and turn not in self._last:
            self._last.clear()
        self._last[turn] = provider

    def order(self, turn: Turn, shards: Sequence[Shard], listed: Sequence[str]) -> Sequence[Shard]:
        """These groups in the order of turns: from behind the provider chosen last, round the end of the list."""
        last = self._last.get(turn)
        if last is None:
            return shards
        begin = listed.index(last) + 1
        places = {provider: place for place, provider in enumerate((*listed[begin:], *listed[:begin]))}
        return sorted(shards, key=lambda shard: places[shard.provider])
