"""Affinity: which credential served a client's session last (C12 with O1 to O5). Pure: `now` is a parameter.

A preference, never an order: whether the credential found here may serve now, and whether a ready higher tier wins over
it, is for the schedule to say (O1, O5). Pins are kept elsewhere and never come from here (O2).
"""

import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple, final

import attrs

from turnout.errors import InvalidAsk

TIME_TO_LIVE: Final = 3600.0
"""Seconds that an entry lives after the last success that confirmed it (design 16)."""

CAPACITY: Final = 10_000
"""Entries (design 16)."""


def digest(key: str | bytes) -> bytes | None:
    """Sixteen bytes that stand for a client's key, which itself is never kept (O3); None for a blank one (C12.2).

    Case matters, white space around the key does not.
    """
    text = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    text = text.strip()
    return hashlib.blake2b(text, digest_size=16, person=b"turnout affinity").digest() if text else None


class _Entry(NamedTuple):
    credential: str
    until: float


@final
@attrs.frozen(kw_only=True)
class AffinityStatistics:
    """What the table holds and has done since it was made.

    Attributes:
        entries: at most `capacity`; those whose time is over count until they are met or pushed out.
        hits: look-ups that found a credential.
        misses: look-ups that found none, or one whose time was over.
        evicted: entries that were pushed out by newer ones.
    """

    entries: int
    capacity: int
    hits: int
    misses: int
    evicted: int


@final
class Affinity:
    """The bounded, expiring table of preferences: (base name, digest) to credential id (O3, O4).

    Every operation is O(1), but for `forget_credential`, which is linear in the entries of that credential.
    """

    __slots__ = ("_capacity", "_entries", "_evicted", "_hits", "_keys_of", "_misses", "_ttl")

    def __init__(self, *, ttl: float = TIME_TO_LIVE, entries: int = CAPACITY) -> None:
        if not ttl > 0:
            raise InvalidAsk(f"ttl must be above 0 seconds, not {ttl!r}", argument="ttl")
        if entries < 1:
            raise InvalidAsk(f"entries must be at least 1, not {entries!r}", argument="entries")
        self._ttl = ttl
        self._capacity = entries
        self._entries: OrderedDict[tuple[str, bytes], _Entry] = OrderedDict()
        self._keys_of: dict[str, set[tuple[str, bytes]]] = {}
        self._hits = self._misses = self._evicted = 0

    def find(self, base: str, key: bytes, now: float) -> str | None:
        """Id of the credential that served this session and model last, None when none is remembered."""
        entry = self._entries.get((base, key))
        if entry is None or entry.until <= now:
            if entry is not None:
                self._drop((base, key))
            self._misses += 1
            return None
        self._entries.move_to_end((base, key))
        self._hits += 1
        return entry.credential

    def learn(self, base: str, key: bytes, credential: str, now: float) -> None:
        """Remember who served, after a success (C12.5): it replaces what was known and lives from now on."""
        where = (base, key)
        if where in self._entries:
            self._drop(where)
        self._entries[where] = _Entry(credential, now + self._ttl)
        self._keys_of.setdefault(credential, set()).add(where)
        if len(self._entries) > self._capacity:
            self._drop(next(iter(self._entries)))
            self._evicted += 1

    def forget_credential(self, id: str) -> None:
        """Drop every entry of a credential that was disabled, removed or given to another provider (O1)."""
        for where in self._keys_of.pop(id, ()):
            del self._entries[where]

    def statistics(self) -> AffinityStatistics:
        """A frozen view of what the table holds."""
        return AffinityStatistics(
            entries=len(self._entries),
            capacity=self._capacity,
            hits=self._hits,
            misses=self._misses,
            evicted=self._evicted,
        )

    def _drop(self, where: tuple[str, bytes]) -> None:
        credential = self._entries.pop(where).credential
        keys = self._keys_of[credential]
        keys.discard(where)
        if not keys:
            del self._keys_of[credential]
