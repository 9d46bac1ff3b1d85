"""The files of a directory as records: found, unsealed, and set aside when they are damaged. Blocks.

A file under a key that is not known is looked at once more within a turn: the key may just have been rotated (S22).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from logging import Logger
from typing import TypeVar, final

from turnout import Record
from turnout_files._directory import Directory, Unfit
from turnout_files._envelope import Damaged, Newer, unpack
from turnout_files._names import RECORD, file_name
from turnout_files._vault import Vault
from turnout_seal import UnknownKey, is_sealed

T = TypeVar("T")


@final
class Shelf:
    """Reads what an open directory holds. `now` arguments are POSIX seconds, for the names of what is set aside.

    Attributes:
        known: kind and id of the records that were read or written, by the names of their files.
    """

    def __init__(self, directory: Directory, vault: Vault, log: Logger) -> None:
        self.known: dict[str, tuple[str, str]] = {}
        self._directory = directory
        self._vault = vault
        self._log = log

    def list(self, now: float) -> tuple[Record, ...]:
        """Every sound record, in the order of the file names. Raises StoreError, OSError."""
        found = (self._readable(name, now) for name in names_of_records(self._directory))
        return tuple(record for record in found if isinstance(record, Record))

    def sound(self, name: str) -> Record:
        """The record in a file. Raises Damaged, Newer, UnknownKey, Unfit, and OSError; not within a turn."""
        try:
            return self._as(name, self._vault.unsealed)
        except UnknownKey:
            with self._vault.turn():
                return self._as(name, self._vault.unsealed)

    def read(self, name: str, now: float, want: Callable[[Record], T]) -> T | Newer | UnknownKey | None:
        """What `want` makes of the record in a file, as it lies there; within a turn. Raises OSError.

        None when there is no such file, or it was damaged and has been set aside.
        """
        return self._kept(name, now, lambda: self._as(name, want))

    def _readable(self, name: str, now: float) -> Record | Newer | UnknownKey | None:
        """A file that the disk does not give is logged, and stays where it is."""
        try:
            return self._kept(name, now, lambda: self.sound(name))
        except OSError as error:
            self._log.error("%s is left out: %s", name, error.strerror)
            return None

    def _kept(self, name: str, now: float, look: Callable[[], T]) -> T | Newer | UnknownKey | None:
        try:
            return look()
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

    def _as(self, name: str, want: Callable[[Record], T]) -> T:
        record = _record(name, self._directory.read(name))
        self.known[name] = (record.kind, record.id)
        return want(record)


def names_of_records(directory: Directory) -> Sequence[str]:
    """Of every file that should hold a record."""
    return [name for name in directory.names() if RECORD.fullmatch(name)]


def holds_nothing_sealed(directory: Directory) -> bool:
    """Whether no record is sealed, as far as the files can be read."""
    for name in names_of_records(directory):
        try:
            if is_sealed(_record(name, directory.read(name)).data):
                return False
        except (Damaged, Newer, Unfit):
            continue
    return True


def _record(name: str, content: bytes) -> Record:
    record = unpack(content)
    try:
        belongs = file_name(record.kind, record.id)
    except ValueError as error:
        raise Damaged(str(error)) from None
    if belongs != name:
        raise Damaged("it holds another record than its name says")
    return record
