"""What a store is known to hold: versions of its records, and what only a later version of us knows of them. Pure.

A write whose answer was lost may have been done all the same. What comes of it is found later, with a version that is
not known, and is no word of anybody else's: what has changed here since goes on from it.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, final

from turnout._unknown_fields import NOTHING, UnknownFields, unknown_fields
from turnout._values import Record
from turnout.abc import Change

Key = tuple[str, str]
"""Kind and id of a record."""

IN_DOUBT: Final = 64
"""Writes of one record whose end is not known that are remembered: half a minute of changes every half second."""


@final
class KnownRecords:
    """Follows one store. A record that is heard of late, or twice, tells nothing new."""

    __slots__ = ("_in_doubt", "_unknown", "_versions")

    def __init__(self) -> None:
        self._in_doubt: dict[Key, deque[bytes]] = {}
        self._versions: dict[Key, int] = {}
        self._unknown: dict[Key, UnknownFields] = {}

    def begin(self, records: Mapping[Key, Record]) -> None:
        """These are all."""
        self._versions = {key: record.version for key, record in records.items()}
        self._unknown = {key: unknown for key, record in records.items() if (unknown := unknown_fields(record))}

    def version(self, key: Key) -> int:
        """The one that we know of, 0 for none."""
        return self._versions.get(key, 0)

    def may_hold(self, key: Key) -> bool:
        """Whether the store has it, as far as we know, or may have since a write of which we were not told."""
        return key in self._versions or key in self._in_doubt

    def unknown(self, key: Key) -> UnknownFields:
        """What the record holds beside what this version knows (G10)."""
        return self._unknown.get(key, NOTHING)

    def news(self, changes: Iterable[Change]) -> list[Change]:
        """Those that were not known; they are now."""
        fresh = []
        for change in changes:
            key = change.kind, change.id
            if change.record is None:
                if self.gone(key):
                    fresh.append(change)
            elif change.record.version > self.version(key):
                self._versions[key] = change.record.version
                self._unknown[key] = unknown_fields(change.record)
                fresh.append(change)
        return fresh

    def differs(self, records: Mapping[Key, Record]) -> list[Change]:
        """How the store as it is now may differ from what is known: what it has, and what it has no more."""
        there = [Change(kind=kind, id=id, record=record) for (kind, id), record in records.items()]
        gone = [Change(kind=kind, id=id, record=None) for kind, id in self._versions if (kind, id) not in records]
        return there + gone

    def begun(self, key: Key, data: bytes | None) -> None:
        """This is being written, None for a removal; until the next word of it nobody knows whether it was."""
        self._in_doubt.setdefault(key, deque(maxlen=IN_DOUBT)).append(_digest(data))

    def is_ours(self, change: Change) -> bool:
        """Whether this piece of news is what became of a write that we had begun; no other one is in doubt then."""
        in_doubt = self._in_doubt.pop((change.kind, change.id), ())
        return _digest(change.record.data if change.record is not None else None) in in_doubt

    def saved(self, key: Key, version: int) -> bool:
        """We have written it; gives whether that is the last that was heard of it."""
        self._in_doubt.pop(key, None)
        if version <= self.version(key):
            return False
        self._versions[key] = version
        return True

    def removed(self, key: Key) -> None:
        """We have removed it."""
        self._in_doubt.pop(key, None)
        self.gone(key)

    def forget(self, key: Key) -> None:
        """What the store has of this is news again, whatever it is: nobody goes on from what was known."""
        self._unknown.pop(key, None)
        self._versions.pop(key, None)

    def gone(self, key: Key) -> bool:
        """The record is there no more; gives whether we knew of one."""
        self._unknown.pop(key, None)
        return self._versions.pop(key, None) is not None


def _digest(data: bytes | None) -> bytes:
    """What tells a record from others, so that no second copy of a secret is kept; empty for none."""
    return b"" if data is None else hashlib.sha256(data).digest()
