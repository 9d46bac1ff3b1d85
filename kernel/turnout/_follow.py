"""Follows the store where others write to it as well: takes what they changed into custody.

What this process has changed itself and not saved yet is joined with it (`_reconcile`), and stays to be saved.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from logging import getLogger
from typing import Any

import attrs

from turnout._affinity import Affinity
from turnout._affinity_records import AFFINITY, KEEPERS, decode_preferences
from turnout._custody import Custody, Serves, outdated
from turnout._events import CredentialRegistered, CredentialRemoved, CredentialUpdated, Event
from turnout._generation import Generation
from turnout._intake import Intake, read_record
from turnout._ledger_renewals import freed
from turnout._reconcile import joined, ours_are_later, reconciled
from turnout._records import decode_credential, decode_state
from turnout._renewal import moved
from turnout._values import CLEAN, Credential, Record
from turnout.abc import Change

ORDER = {"secret": 0, "state": 1, AFFINITY: 2, KEEPERS: 2}
"""States and preferences find their credential."""

log = getLogger("turnout.follow")


class Follower:
    """Takes changes of a store into one custody. Every method is one step."""

    def __init__(
        self,
        *,
        custody: Custody,
        intake: Intake,
        generation: Callable[[], Generation],
        now: Callable[[], float],
        hint_cap: Callable[[], float],
        tell: Callable[[Event], Any],
        serves: Callable[[Credential], Serves],
        leased: Callable[[], bool],
    ) -> None:
        self._custody = custody
        self._intake = intake
        self._generation = generation
        self._now = now
        self._hint_cap = hint_cap
        self._tell = tell
        self._serves = serves
        self._leased = leased

    def take(self, changes: Sequence[Change]) -> None:
        """Put what others changed in force: secrets first, so that states find their credential."""
        for change in sorted(changes, key=lambda change: ORDER.get(change.kind, len(ORDER))):
            if change.kind == "secret" and change.record is None:
                self._remove(change.id)
            elif change.kind == "secret" and change.record is not None:
                self._put(change.record)
            elif change.kind == "state" and change.id in self._custody.credentials:
                self._settle(change.id, change.record)
            elif change.kind == AFFINITY and change.record is not None:
                self._adopt(change.record, self._custody.affinity)
            elif change.kind == KEEPERS and change.record is not None:
                self._adopt(change.record, self._custody.keepers)

    def join(self, records: Iterable[Record]) -> None:
        """Join what another store has, which is written to from now on, with what is known here (`Storing.move_to`).

        Its tokens may be the newer ones: another node may have moved there before. Who was removed here and is not gone
        from the store yet goes from the other one as well, but not who only left the file and was renewed there.
        """
        credentials, marks = self._custody.credentials, self._custody.dirty.marks
        gone = {id for kind, id in marks if kind == "secret" and id not in credentials}
        taken = []
        for record in records:
            if record.kind not in {"secret", "state"} or record.id not in gone:
                taken.append(Change(kind=record.kind, id=record.id, record=record))
            elif record.kind == "secret" and self._waits(record):
                marks.pop(("secret", record.id))
                marks.pop(("state", record.id), None)
        self.take(taken)

    def _waits(self, record: Record) -> bool:
        """Whether a credential is in a store only because a file had listed it, with tokens that are nowhere else."""
        stored = read_record(record, decode_credential)
        return stored is not None and stored.last_refreshed_at is not None and self._intake.leaves_out(stored)

    def _adopt(self, record: Record, table: Affinity) -> None:
        """Sessions keep to the credential that another process found for them, and so does what upstreams keep."""
        preferences = read_record(record, decode_preferences) or ()
        known = (one for one in preferences if one.credential in self._custody.credentials)
        table.adopt(known, self._now())

    def _put(self, record: Record) -> None:
        theirs = read_record(record, decode_credential)
        if theirs is None or theirs.id != record.id:
            return
        ours = self._custody.credentials.get(record.id)
        if ours is None and self._intake.leaves_out(theirs):
            return
        bound = self._intake.of_known_provider(theirs, self._generation())
        if bound is None:
            return
        unsaved = self._custody.dirty.unsaved("secret", record.id)
        spent = self._custody.spent.get(record.id, ()) if self._leased() else None
        base = self._custody.stored.get(record.id) if unsaved else ours
        after = bound
        if ours is not None and record.id in self._intake.from_file:
            newer = unsaved and ours_are_later(base, ours, bound, spent=spent)
            after = ours if newer else _renewed_elsewhere(ours, bound)
        elif ours is not None:
            after = reconciled(base, ours, bound, spent=spent)
            after = attrs.evolve(after, origin=bound.origin)
        self._custody.stored[record.id] = bound
        if after == ours:
            return
        log.info("%s was %s by another process", record.id, "added" if ours is None else "changed")
        self._custody.put(after, serves=self._serves(after), kept=not unsaved)
        kind = CredentialRegistered if ours is None else CredentialUpdated
        self._tell(kind(at=self._now(), credential=after.id, provider=after.provider))

    def _remove(self, id: str) -> None:
        """Let go of a credential that was removed; one of the file stays: its place is there."""
        gone = self._custody.credentials.get(id)
        if gone is None or id in self._intake.from_file:
            return
        log.info("%s was removed by another process", id)
        self._custody.remove(id, forget=False)
        if provider := self._generation().providers.get(gone.provider):
            provider.aliases.forget(id)
        self._tell(CredentialRemoved(at=self._now(), credential=id, provider=gone.provider))

    def _settle(self, id: str, record: Record | None) -> None:
        """Take over a state. What was before a reset goes with it, saved or not, as with one that is gone."""
        read = partial(decode_state, now=self._now(), cap=self._hint_cap())
        theirs = CLEAN if record is None else read_record(record, read)
        if theirs is None:
            return
        if outdated(theirs, self._custody.credentials[id]):
            theirs = freed(theirs, self._now())
        ours = self._custody.states[id]
        was_reset = record is None or theirs.reset_at not in {None, ours.reset_at}
        if not was_reset and ours.unusable_until is not None:  # this process's own word, which no record has
            theirs = attrs.evolve(theirs, unusable_until=ours.unusable_until)
        if record is not None and self._custody.dirty.unsaved("state", id):
            self._custody.settle(id, joined(ours, theirs), None)
        else:
            self._custody.settle(id, theirs, None, kept=True)
        self._custody.changed(id)


def _renewed_elsewhere(ours: Credential, theirs: Credential) -> Credential:
    """A credential of the file: the file says what it is, only newer tokens come from elsewhere.

    Newer is what the store got later, whatever the clocks of its writers said (G8).
    """
    if theirs.last_refreshed_at is None or not moved(ours, theirs):
        return ours
    return attrs.evolve(
        ours,
        metadata=theirs.metadata,
        last_refreshed_at=theirs.last_refreshed_at,
        next_refresh_after=theirs.next_refresh_after,
    )
