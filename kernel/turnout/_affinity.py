"""Affinity: which credential served a client's session last (C12 with O1 to O5). Pure: `now` is a parameter.

A preference, never an order: whether the credential found here may serve now, and whether a ready higher tier wins over
it, is for the schedule to say (O1, O5). Pins are kept elsewhere and never come from here (O2).

A store keeps the table in buckets: which of them has news worth keeping is remembered here, and told once.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, final

import attrs

from turnout.errors import InvalidAsk

TIME_TO_LIVE: Final = 3600.0
"""Seconds that an entry lives after the last success that confirmed it (design 16)."""

CAPACITY: Final = 10_000
"""Entries (design 16)."""

KEPT_FOR: Final = 30 * 86_400.0
"""Seconds for which it is remembered who keeps something for a client: as long as OpenAI keeps responses
(developers.openai.com/api/docs/guides/conversation-state, read 2026-11-26)."""


def digest(key: str | bytes) -> bytes | None:
    """Sixteen bytes that stand for a client's key, which itself is never kept (O3); None for a blank one (C12.2).

    Case matters, white space around the key does not.
    """
    text = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    text = text.strip()
    return hashlib.blake2b(text, digest_size=16, person=b"turnout affinity").digest() if text else None


BUCKETS: Final = 16
"""Records that the table is kept in: each is written as a whole."""

WORTH_KEEPING: Final = 0.25
"""Share of its life by which an entry must have grown older in the store before it is kept anew."""


class Preference(NamedTuple):
    """One entry as it is kept and shared: `until` is in POSIX seconds."""

    base: str
    key: bytes
    credential: str
    until: float


class _Entry(NamedTuple):
    """`kept` is the end of life that is in the store, or is on its way there."""

    credential: str
    until: float
    kept: float


def bucket_of(key: bytes) -> str:
    """The bucket in which a digest is kept."""
    return f"{key[0] % BUCKETS:x}"


def _nobody_cares() -> None:
    pass


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

    The provider of C12.1 is no part of the key: a model has one preference, and its credential says the provider.

    Every operation is O(1), but for `forget_credential`, which is linear in the entries of that credential, and for
    what stores do.

    Attributes:
        unsaved: buckets with news that are worth keeping.
        changed: called when the first of them gets into it.
    """

    __slots__ = ("_capacity", "_entries", "_evicted", "_hits", "_keys_of", "_misses", "_ttl", "changed", "unsaved")

    def __init__(self, *, ttl: float = TIME_TO_LIVE, entries: int = CAPACITY) -> None:
        self._entries: OrderedDict[tuple[str, bytes], _Entry] = OrderedDict()
        self._keys_of: dict[str, set[tuple[str, bytes]]] = {}
        self._hits = self._misses = self._evicted = 0
        self.unsaved: set[str] = set()
        self.changed: Callable[[], None] = _nobody_cares
        self.limit(ttl=ttl, entries=entries)

    def limit(self, *, ttl: float, entries: int) -> None:
        """Keep no more entries than that from now on, each for `ttl` seconds after its next use."""
        if not ttl > 0:
            raise InvalidAsk(f"ttl must be above 0 seconds, not {ttl!r}", argument="ttl")
        if entries < 1:
            raise InvalidAsk(f"entries must be at least 1, not {entries!r}", argument="entries")
        self._ttl = ttl
        self._capacity = entries
        self._push_out()

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
        until = now + self._ttl
        old = self._entries.get((base, key))
        kept = old.kept if old is not None and old.credential == credential else 0.0
        if until - kept > self._ttl * WORTH_KEEPING:
            kept = until
            if not self.unsaved:
                self.changed()
            self.unsaved.add(bucket_of(key))
        self._put((base, key), _Entry(credential, until, kept))

    def bucket(self, name: str, now: float) -> list[Preference]:
        """What a store should hold of one bucket."""
        return [
            Preference(base, key, entry.credential, entry.until)
            for (base, key), entry in self._entries.items()
            if entry.until > now and bucket_of(key) == name
        ]

    def adopt(self, preferences: Iterable[Preference], now: float) -> None:
        """Take in what a store has: of two the one that was confirmed later counts. No entry outlives a fresh one."""
        for one in preferences:
            old = self._entries.get((one.base, one.key))
            until = min(one.until, now + self._ttl)
            if until > now and (old is None or until > old.until):
                self._put((one.base, one.key), _Entry(one.credential, until, until))

    def _put(self, where: tuple[str, bytes], entry: _Entry) -> None:
        if where in self._entries:
            self._drop(where)
        self._entries[where] = entry
        self._keys_of.setdefault(entry.credential, set()).add(where)
        self._push_out()

    def _push_out(self) -> None:
        while len(self._entries) > self._capacity:
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
