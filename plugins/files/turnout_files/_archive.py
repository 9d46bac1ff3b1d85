"""Records over a directory: versions, compare-and-set, sealing, and what becomes of damaged files. Blocks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from logging import Logger
from pathlib import Path
from typing import TypeVar, final

from turnout import Record
from turnout.abc import Change
from turnout.errors import StoreConflict, StoreError
from turnout_files._directory import Directory, Unfit
from turnout_files._disk import Disk
from turnout_files._dropped import secret_record
from turnout_files._envelope import Damaged, Newer, pack, unpack
from turnout_files._names import DROPPED, RECORD, file_name, is_followed, is_ours
from turnout_files._stamps import Stamp
from turnout_files._vault import SEALED, Vault
from turnout_seal import KeySource, UnknownKey, is_sealed

T = TypeVar("T")


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
        self._known: dict[str, tuple[str, str]] = {}
        try:
            self._directory = Directory(path, log.warning, ours=is_ours, disk=disk, guest=guest)
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror}") from error
        try:
            with _translated(f"cannot use {path}"):
                self._vault = Vault(self._directory, path, keys, log, untouched=self._holds_nothing_sealed)
        except BaseException:
            self._directory.close()
            raise
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

    def rotate_key(self, now: float) -> int:
        """Re-wrap every secret with a new key; gives how many. Raises StoreError; both keys are kept then."""
        if not self._directory.owned:
            raise StoreError("the key cannot be rotated while another process uses it: stop that one first")
        with _translated("the key cannot be rotated"):
            self._vault.begin_rotation()
            done, left = self._renew(now)
            if left:
                raise StoreError(f"{left} records are sealed with keys that are not here: the older keys are kept")
            self._vault.end_rotation()
        return done

    def list(self, now: float) -> tuple[Record, ...]:
        """Every sound record, in the order of the file names; see `turnout.abc.Store.list`."""
        with _translated("the directory cannot be read"):
            names = self._names()
        found = (self._readable(name, now) for name in names)
        return tuple(record for record in found if isinstance(record, Record))

    def save(self, kind: str, id: str, data: bytes, if_version: int | None, now: float) -> int:
        """Write a record and give its new version; see `turnout.abc.Store.save`."""
        name = _name(kind, id)
        with _translated(f"{name} cannot be saved"), self._directory.turn():
            old = self._read(name, now)
            if isinstance(old, Newer | UnknownKey):
                raise StoreError(f"{name} is not overwritten: {old}")
            current = old.version if old else 0
            latest = max(current, self._vault.latest(kind, id))
            knows_latest = current > 0 and if_version == latest  # and what lies there is older: it was put back
            if if_version is not None and if_version != current and not knows_latest:
                raise StoreConflict(f"{name} has version {current}, not {if_version}", current=current)
            record = Record(kind=kind, id=id, data=data, version=latest + 1)
            self._directory.write(name, pack(self._vault.sealed(record)))
            self._known[name] = (kind, id)
        self._vault.note(kind, id, record.version)
        return record.version

    def delete(self, kind: str, id: str) -> None:
        """Remove a record; see `turnout.abc.Store.delete`."""
        name = _name(kind, id)
        with _translated(f"{name} cannot be removed"), self._directory.turn():
            self._directory.remove(name)
        self._known.pop(name, None)
        if self._directory.owned:  # its owner notes it; until then versions go on
            self._vault.note(kind, id, 0)

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
            return self._change_of(name) if dropped is None else self._taken_in(dropped[1], name, now)
        except FileNotFoundError:
            return self._gone(name)
        except (Newer, UnknownKey, Damaged, Unfit, StoreError, OSError) as reason:
            self._log.error("%s was written by somebody else and is left alone: %s", name, reason)
            self._directory.leave(name)
            return None

    def _change_of(self, name: str) -> Change:
        record = self._sound(name)
        return Change(kind=record.kind, id=record.id, record=record)

    def _gone(self, name: str) -> Change | None:
        self._directory.forget(name)
        if name not in self._known:
            return None
        kind, id = self._known.pop(name)
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

    # --- files -------------------------------------------------------------------------------------------------------

    def _names(self) -> Iterable[str]:
        return [name for name in self._directory.names() if RECORD.fullmatch(name)]

    def _holds_nothing_sealed(self) -> bool:
        """Whether no record is sealed, as far as the files can be read."""
        for name in self._names():
            try:
                if is_sealed(_record(name, self._directory.read(name)).data):
                    return False
            except (Damaged, Newer, Unfit):
                continue
        return True

    def _seal_what_was_not(self, now: float) -> None:
        """Seal what an earlier version kept as it is (F-11): once, and again after a crash on the way."""
        if not self._vault.whole and self._directory.owned:
            done, _ = self._renew(now)
            if done:
                self._log.warning("%d secrets were kept as they are; they are sealed now", done)
            self._vault.seal_whole()

    def _renew(self, now: float) -> tuple[int, int]:
        """Bring every secret under the current key; gives how many were, and how many could not be."""
        done = left = 0
        for name in self._names():
            record = self._read(name, now, self._vault.renewed)
            if isinstance(record, Record):
                self._directory.write(name, pack(record))
                done += 1
            left += isinstance(record, UnknownKey)
        return done, left

    def _readable(self, name: str, now: float) -> Record | Newer | UnknownKey | None:
        """Like `_read`; a file that the disk does not give is logged, and stays where it is."""
        try:
            return self._read(name, now)
        except OSError as error:
            self._log.error("%s is left out: %s", name, error.strerror)
            return None

    def _read(
        self, name: str, now: float, want: Callable[[Record], Record | None] | None = None
    ) -> Record | Newer | UnknownKey | None:
        """The record in a file; None when there is none, or it was damaged and has been set aside. Raises OSError.

        `want` makes of the record, as it lies there, what the caller wants; without it the record is unsealed.
        """
        try:
            return self._sound(name, want)
        except FileNotFoundError:
            return None
        except (Newer, UnknownKey) as reason:
            self._log.error("%s is left alone: %s", name, reason)
            return reason
        except (Damaged, Unfit) as reason:
            when = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
            aside = self._directory.set_aside(name, f".corrupt-{when}")
            self._log.error("%s cannot be read: %s; it is kept as %s", name, reason, aside)
            return None

    def _sound(self, name: str, want: Callable[[Record], T] | None = None) -> Record | T:
        """The record in a file, or what `want` makes of it. Raises as it does, and OSError, Damaged, Newer, Unfit."""
        record = _record(name, self._directory.read(name))
        self._known[name] = (record.kind, record.id)
        if want is not None:
            return want(record)
        return self._vault.unsealed(record)


def _record(name: str, content: bytes) -> Record:
    record = unpack(content)
    try:
        belongs = file_name(record.kind, record.id)
    except ValueError as error:
        raise Damaged(str(error)) from None
    if belongs != name:
        raise Damaged("it holds another record than its name says")
    return record


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
