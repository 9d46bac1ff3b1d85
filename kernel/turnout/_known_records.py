"""What a store is known to hold: versions of its records, and what only a later version of us knows of them. Pure."""

from collections.abc import Iterable, Mapping
from typing import final

from turnout._unknown_fields import NOTHING, UnknownFields, unknown_fields
from turnout._values import Record
from turnout.abc import Change

Key = tuple[str, str]
"""Kind and id of a record."""


@final
class KnownRecords:
    """Follows one store. A record that is heard of late, or twice, tells nothing new."""

    __slots__ = ("_unknown", "_versions")

    def __init__(self) -> None:
        self._versions: dict[Key, int] = {}
        self._unknown: dict[Key, UnknownFields] = {}

    def begin(self, records: Mapping[Key, Record]) -> None:
        """These are all."""
        self._versions = {key: record.version for key, record in records.items()}
        self._unknown = {key: unknown for key, record in records.items() if (unknown := unknown_fields(record))}

    def version(self, key: Key) -> int:
        """The one that we know of, 0 for none."""
        return self._versions.get(key, 0)

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

    def saved(self, key: Key, version: int) -> bool:
        """We have written it; gives whether that is the last that was heard of it."""
        if version <= self.version(key):
            return False
        self._versions[key] = version
        return True

    def forget(self, key: Key) -> None:
        """What the store has of this is news again, whatever it is: nobody goes on from what was known."""
        self._unknown.pop(key, None)
        self._versions.pop(key, None)

    def gone(self, key: Key) -> bool:
        """The record is there no more; gives whether we knew of one."""
        self._unknown.pop(key, None)
        return self._versions.pop(key, None) is not None
