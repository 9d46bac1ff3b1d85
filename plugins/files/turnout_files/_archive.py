"""Records over a directory: versions, compare-and-set, sealing, and what becomes of damaged files. Blocks."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging import Logger
from pathlib import Path
from typing import final

from turnout import Record
from turnout.errors import StoreConflict, StoreError
from turnout_files._directory import Directory, Unfit
from turnout_files._envelope import Damaged, Newer, pack, unpack
from turnout_files._names import RECORD, SEAL, file_name
from turnout_files._vault import Vault
from turnout_seal import KeySource, UnknownKey, is_sealed


@final
class Archive:
    """The records of one directory. `now` arguments are POSIX seconds, for the names of what is set aside."""

    def __init__(self, path: Path, log: Logger, keys: KeySource | None = None, now: float = 0.0) -> None:
        """Open the directory, made if missing, and lock it; with `keys` its secrets are sealed.

        Raises StoreError that says what to do.
        """
        self._log = log
        self._vault: Vault | None = None
        try:
            self._directory = Directory(path, log.warning, ours=_is_ours)
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror}") from error
        try:
            with _translated(f"cannot use {path}"):
                if keys is not None:
                    self._vault = Vault(self._directory, path, keys, log, untouched=self._holds_nothing_sealed)
                    self._seal_what_was_not(self._vault, now)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the directory and its lock back."""
        if self._vault is not None:
            self._vault.close()
        self._directory.close()

    def rotate_key(self, now: float) -> int:
        """Re-wrap every secret with a new key; gives how many. Raises StoreError; both keys are kept then."""
        if self._vault is None:
            raise StoreError("this directory is not sealed")
        with _translated("the key cannot be rotated"):
            self._vault.begin_rotation()
            done, left = self._renew(self._vault, now)
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
        with _translated(f"{name} cannot be saved"):
            old = self._read(name, now)
            if isinstance(old, Newer | UnknownKey):
                raise StoreError(f"{name} is not overwritten: {old}")
            current = old.version if old else 0
            if if_version is not None and if_version != current:
                raise StoreConflict(f"{name} has version {current}, not {if_version}", current=current)
            record = Record(kind=kind, id=id, data=data, version=current + 1)
            self._directory.write(name, pack(record if self._vault is None else self._vault.sealed(record)))
        if self._vault is not None:
            self._vault.note(kind, id, record.version)
        return record.version

    def delete(self, kind: str, id: str) -> None:
        """Remove a record; see `turnout.abc.Store.delete`."""
        name = _name(kind, id)
        with _translated(f"{name} cannot be removed"):
            self._directory.remove(name)
        if self._vault is not None:
            self._vault.note(kind, id, 0)

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

    def _seal_what_was_not(self, vault: Vault, now: float) -> None:
        """Seal what an earlier version kept as it is (F-11): once, and again after a crash on the way."""
        if not vault.whole:
            done, _ = self._renew(vault, now)
            if done:
                self._log.warning("%d secrets were kept as they are; they are sealed now", done)
            vault.seal_whole()

    def _renew(self, vault: Vault, now: float) -> tuple[int, int]:
        """Bring every secret under the current key; gives how many were, and how many could not be."""
        done = left = 0
        for name in self._names():
            record = self._read(name, now, vault.renewed)
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
        self, name: str, now: float, look: Callable[[Record], Record | None] | None = None
    ) -> Record | Newer | UnknownKey | None:
        """The record in a file; None when there is none, or it was damaged and has been set aside. Raises OSError.

        `look` gives what is wanted of it, and is to unseal it otherwise.
        """
        if look is None:
            look = _as_it_is if self._vault is None else self._vault.unsealed
        try:
            return look(_record(name, self._directory.read(name)))
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


def _as_it_is(record: Record) -> Record:
    if is_sealed(record.data):
        raise UnknownKey("it is sealed, and no key is given")
    return record


def _is_ours(name: str) -> bool:
    return name == SEAL or RECORD.match(name) is not None


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
