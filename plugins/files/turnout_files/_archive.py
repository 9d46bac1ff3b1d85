"""Records over a directory: versions, compare-and-set, and what becomes of damaged files. Blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging import Logger
from pathlib import Path
from typing import final

from turnout import Record
from turnout.errors import StoreConflict, StoreError
from turnout_files._directory import Directory, Unfit
from turnout_files._envelope import Damaged, Newer, pack, unpack
from turnout_files._names import RECORD, file_name


@final
class Archive:
    """The records of one directory. `now` arguments are POSIX seconds, for the names of what is set aside."""

    def __init__(self, path: Path, log: Logger) -> None:
        """Open the directory, made if missing, and lock it. Raises StoreError that says what to do."""
        try:
            self._directory = Directory(path, log.warning, ours=lambda name: RECORD.match(name) is not None)
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror}") from error
        self._log = log

    def close(self) -> None:
        """Give the directory and its lock back."""
        self._directory.close()

    def list(self, now: float) -> tuple[Record, ...]:
        """Every sound record, in the order of the file names; see `turnout.abc.Store.list`."""
        with _translated("the directory cannot be read"):
            names = self._directory.names()
        found = (self._readable(name, now) for name in names if RECORD.fullmatch(name))
        return tuple(record for record in found if isinstance(record, Record))

    def save(self, kind: str, id: str, data: bytes, if_version: int | None, now: float) -> int:
        """Write a record and give its new version; see `turnout.abc.Store.save`."""
        name = _name(kind, id)
        with _translated(f"{name} cannot be saved"):
            old = self._read(name, now)
            if isinstance(old, Newer):
                raise StoreError(f"{name} is not overwritten: {old}")
            current = old.version if old else 0
            if if_version is not None and if_version != current:
                raise StoreConflict(f"{name} has version {current}, not {if_version}", current=current)
            self._directory.write(name, pack(Record(kind=kind, id=id, data=data, version=current + 1)))
        return current + 1

    def delete(self, kind: str, id: str) -> None:
        """Remove a record; see `turnout.abc.Store.delete`."""
        name = _name(kind, id)
        with _translated(f"{name} cannot be removed"):
            self._directory.remove(name)

    def _readable(self, name: str, now: float) -> Record | Newer | None:
        """Like `_read`; a file that the disk does not give is logged, and stays where it is."""
        try:
            return self._read(name, now)
        except OSError as error:
            self._log.error("%s is left out: %s", name, error.strerror)
            return None

    def _read(self, name: str, now: float) -> Record | Newer | None:
        """The record in a file; None when there is none, or it was damaged and has been set aside. Raises OSError."""
        try:
            return _record(name, self._directory.read(name))
        except FileNotFoundError:
            return None
        except Newer as newer:
            self._log.error("%s is left alone: %s", name, newer)
            return newer
        except (Damaged, Unfit) as reason:
            when = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
            aside = self._directory.set_aside(name, f".corrupt-{when}")
            self._log.error("%s cannot be read: %s; it is kept as %s", name, reason, aside)
            return None


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
