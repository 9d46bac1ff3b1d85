"""Records over a directory: versions, compare-and-set, a new key, and what others have changed. Blocks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from logging import Logger
from pathlib import Path
from typing import Final, final

from turnout import Record
from turnout.abc import Change
from turnout.errors import StoreConflict, StoreError
from turnout_files._directory import Directory, Unfit
from turnout_files._disk import Disk
from turnout_files._dropped import secret_record
from turnout_files._envelope import Damaged, Newer, pack
from turnout_files._names import DROPPED, file_name, is_followed, is_ours
from turnout_files._shelf import Shelf, holds_nothing_sealed, names_of_records
from turnout_files._stamps import Stamp
from turnout_files._vault import SEALED, Vault
from turnout_seal import KeySource, UnknownKey

BATCH: Final = 16
"""Records that are brought under a new key in one turn: others wait for no longer than that."""


@final
class Archive:
    """The records of one directory. `now` arguments are POSIX seconds, for the names of what is set aside."""

    def __init__(
        self,
        path: Path,
        log: Logger,
        keys: KeySource,
        now: float,
        *,
        disk: Disk | None = None,
        guest: bool = False,
    ) -> None:
        """Open the directory, made if missing, and lock it, unless a `guest` finds it locked; `keys` seal its secrets.

        Raises StoreError that says what to do.
        """
        self._log = log
        self._waiting: set[str] = set()
        try:
            self._directory = Directory(path, log.warning, ours=is_ours, disk=disk, guest=guest)
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror}") from error
        try:
            with _translated(f"cannot use {path}"):
                untouched = partial(holds_nothing_sealed, self._directory)
                self._vault = Vault(self._directory, path, keys, log, untouched=untouched)
        except BaseException:
            self._directory.close()
            raise
        self._shelf = Shelf(self._directory, self._vault, log)
        try:
            with _translated(f"cannot use {path}"):
                self._seal_what_was_not(now)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the directory and its lock back."""
        self._vault.close()
        self._directory.close()

    def list(self, now: float) -> tuple[Record, ...]:
        """Every sound record, in the order of the file names; see `turnout.abc.Store.list`."""
        with _translated("the directory cannot be read"):
            return self._shelf.list(now)

    def save(self, kind: str, id: str, data: bytes, if_version: int | None, now: float) -> int:
        """Write a record and give its new version; see `turnout.abc.Store.save`."""
        name = _name(kind, id)
        with _translated(f"{name} cannot be saved"), self._vault.turn():
            old = self._shelf.read(name, now, self._vault.unsealed)
            if isinstance(old, Newer | UnknownKey):
                raise StoreError(f"{name} is not overwritten: {old}")
            current = old.version if old else 0
            latest = max(current, self._vault.latest(kind, id))
            knows_latest = current > 0 and if_version == latest  # and what lies there is older: it was put back
            if if_version is not None and if_version != current and not knows_latest:
                raise StoreConflict(f"{name} has version {current}, not {if_version}", current=current)
            record = Record(kind=kind, id=id, data=data, version=latest + 1)
            self._directory.write(name, pack(self._vault.sealed(record)))
            self._shelf.known[name] = (kind, id)
        self._vault.note(kind, id, record.version)
        return record.version

    def delete(self, kind: str, id: str) -> None:
        """Remove a record; see `turnout.abc.Store.delete`."""
        name = _name(kind, id)
        with _translated(f"{name} cannot be removed"), self._directory.turn():
            self._directory.remove(name)
        self._shelf.known.pop(name, None)
        if self._directory.owned:  # its owner notes it; until then versions go on
            self._vault.note(kind, id, 0)

    # --- a new key ---------------------------------------------------------------------------------------------------

    def rotation(self, now: float) -> Iterator[int]:
        """Bring every secret under a new key, step by step; each gives how many it did. Others may write in between.

        From the first step on everybody seals with the new key, for the header names it; the older ones stay until the
        last step, so that a crash leaves nothing unreadable, and the next rotation ends what this one began. Raises
        StoreError; then they stay, too.
        """
        left = 0
        with _translated("the key cannot be rotated"):
            with self._vault.turn():
                key = self._vault.begin_rotation()
            yield 0
            for some in self._batches():
                done, unknown = self._renew(some, now)
                left += unknown
                yield done
            if left:
                raise StoreError(f"{left} records are sealed with keys that are not here: the older keys are kept")
            with self._vault.turn():
                self._vault.end_rotation(key)

    def _batches(self) -> Iterator[Sequence[str]]:
        """The names of all records, in pieces that are done in one turn each."""
        names = names_of_records(self._directory)
        return (names[at : at + BATCH] for at in range(0, len(names), BATCH))

    def _renew(self, names: Sequence[str], now: float) -> tuple[int, int]:
        """Bring the secrets in these files under the current key; gives how many were, and how many could not be."""
        done = left = 0
        with self._vault.turn():
            for name in names:
                record = self._shelf.read(name, now, self._vault.renewed)
                if isinstance(record, Record):
                    self._directory.write(name, pack(record))
                    done += 1
                left += isinstance(record, UnknownKey)
        return done, left

    def _seal_what_was_not(self, now: float) -> None:
        """Seal what an earlier version kept as it is (F-11): once, and again after a crash on the way."""
        if self._vault.whole or not self._directory.owned:
            return
        done = sum(self._renew(some, now)[0] for some in self._batches())
        if done:
            self._log.warning("%d secrets were kept as they are; they are sealed now", done)
        with self._vault.turn():
            self._vault.seal_whole()

    # --- what others change ------------------------------------------------------------------------------------------

    def look(self) -> Mapping[str, Stamp]:
        """What the files look like that are ours to follow; may run beside all else. Raises StoreError."""
        with _translated("the directory cannot be read"):
            return self._directory.look(is_followed)

    def changes(self, found: Mapping[str, Stamp], now: float) -> Sequence[Change]:
        """What others have changed, as `look` found it twice (F-7). What cannot be read is logged once, and stays."""
        names = filter(is_followed, self._directory.settled(found))  # what else we have read is not looked at
        changes = (self._change(name, now) for name in names)
        return [change for change in changes if change is not None]

    def _change(self, name: str, now: float) -> Change | None:
        dropped = DROPPED.fullmatch(name)
        try:
            change = self._change_of(name) if dropped is None else self._taken_in(dropped[1], name, now)
        except FileNotFoundError:
            return self._gone(name)
        except (Newer, UnknownKey, Damaged, Unfit) as reason:
            self._log.error("%s was written by somebody else and is left alone: %s", name, reason)
            self._directory.leave(name)
            return None
        except (StoreError, OSError) as reason:  # a full disk, a key that is away: the next look tries again
            if name not in self._waiting:
                self._log.error("%s was written by somebody else and waits: %s", name, reason)
            self._waiting.add(name)
            self._directory.forget(name)
            return None
        self._waiting.discard(name)
        return change

    def _change_of(self, name: str) -> Change:
        record = self._shelf.sound(name)
        return Change(kind=record.kind, id=record.id, record=record)

    def _gone(self, name: str) -> Change | None:
        self._directory.forget(name)
        if name not in self._shelf.known:
            return None
        kind, id = self._shelf.known.pop(name)
        self._vault.note(kind, id, 0)
        return Change(kind=kind, id=id, record=None)

    def _taken_in(self, id: str, name: str, now: float) -> Change:
        """Seal a credential that lies there in clear, in place of the one of its id, and remove the file."""
        try:
            data = secret_record(id, self._directory.read(name))
        except ValueError as error:
            raise Damaged(str(error)) from None
        version = self.save(SEALED, id, data, None, now)
        self._directory.remove(name)
        self._log.warning("%s was taken in: it is sealed now, and the file is gone", name)
        return Change(kind=SEALED, id=id, record=Record(kind=SEALED, id=id, data=data, version=version))


def _name(kind: str, id: str) -> str:
    try:
        return file_name(kind, id)
    except ValueError as error:
        raise StoreError(str(error)) from None


@contextmanager
def _translated(failed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{failed}: {error.strerror}") from error
