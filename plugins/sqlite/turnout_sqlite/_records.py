"""Records in the database: versions, compare-and-set, sealing, and what others have changed. Blocks.

Every statement is a constant and every value is bound (S24). `now` arguments are POSIX seconds.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging import Logger
from typing import Final, final

from turnout import Record
from turnout.abc import Change
from turnout.errors import StoreConflict, StoreError
from turnout_seal import KeySource, UnknownKey, Unsealable, Versions
from turnout_sqlite._database import Connection, reading, writing
from turnout_sqlite._seal import SharedSealing

SEALED: Final = "secret"
"""The kind of record that is sealed."""

BATCH: Final = 100
"""Records that are re-wrapped in one transaction: others wait for no longer than that."""

Row = tuple[str, bytes, int, bytes]
"""Kind, id, version, data."""


@final
class Records:
    """The records of one database.

    Attributes:
        writer: names this process among those that have it open.
        fences: of the leases that this process holds, by the id of the credential.
    """

    def __init__(self, connection: Connection, keys: KeySource, versions: Versions, writer: str, log: Logger) -> None:
        """Find the sealing of the database; a new one is made in an empty database only. Raises StoreError."""
        self.writer = writer
        self.fences: dict[str, int] = {}
        self._connection = connection
        self._versions = versions
        self._log = log
        self._seq = 0
        self._data_version: int | None = None
        with translated("the store cannot be opened"):
            self._sealing = SharedSealing(connection, keys)
        if self._sealing.is_new and versions.kept:
            log.error("the store is new or was emptied; it held %d secrets: is a backup due?", versions.kept)

    def list(self, now: float) -> tuple[Record, ...]:
        """Every sound record; see `turnout.abc.Store.list`."""
        with translated("the store cannot be read"):
            with reading(self._connection):
                self._sealing.follow()
                self._seq = self._last_seq()
                rows: list[Row] = self._connection.execute(
                    "SELECT kind, id, version, data FROM records WHERE data IS NOT NULL ORDER BY kind, id"
                ).fetchall()
            return tuple(record for row in rows if (record := self._sound(row, now)) is not None)

    def save(self, kind: str, id: str, data: bytes, if_version: int | None, now: float) -> int:
        """Write a record and give its new version; see `turnout.abc.Store.save`."""
        with translated(f"the {kind} of {id!r} cannot be saved"), writing(self._connection):
            self._sealing.follow()
            last, current = self._version(kind, id, now)
            if kind == SEALED and self._lost(id):
                raise StoreConflict(f"the {kind} of {id!r} is not saved: its lease was lost", current=current)
            if if_version is not None and if_version != current:
                raise StoreConflict(f"the {kind} of {id!r} has version {current}, not {if_version}", current=current)
            version, sealed_by = last + 1, ""
            if kind == SEALED:
                data, sealed_by = self._sealing.now.seal(kind, id, version, data), self._sealing.now.key.id
            self._connection.execute(
                "INSERT INTO records (kind, id, version, data, sealed_by, seq, writer) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, data = excluded.data, "
                "sealed_by = excluded.sealed_by, seq = excluded.seq, writer = excluded.writer",
                (kind, raw(id), version, data, sealed_by, self._last_seq() + 1, self.writer),
            )
        if kind == SEALED:
            self._versions.note(kind, id, version)
        return version

    def _lost(self, id: str) -> bool:
        """Whether this process had the lease of a credential, and somebody else got it since."""
        fence = self.fences.get(id)
        if fence is None:
            return False
        row = self._connection.execute("SELECT fence FROM leases WHERE id = ?", (raw(id),)).fetchone()
        return bool(row != (fence,))

    def read(self, kind: str, id: str, now: float) -> Record | None:
        """One record as it is now; see `turnout.abc.Reader`."""
        with translated("the store cannot be read"):
            with reading(self._connection):
                self._sealing.follow()
                row: Row | None = self._connection.execute(
                    "SELECT kind, id, version, data FROM records WHERE kind = ? AND id = ? AND data IS NOT NULL",
                    (kind, raw(id)),
                ).fetchone()
                aside = self._connection.execute(
                    "SELECT 1 FROM records JOIN set_aside USING (kind, id, version) WHERE kind = ? AND id = ?",
                    (kind, raw(id)),
                ).fetchone()
            record = None if row is None else self._sound(row, now)
        if record is None and (row is not None or aside is not None):
            raise StoreError(f"the {kind} of {id!r} cannot be read, or was set aside")
        return record

    def delete(self, kind: str, id: str) -> None:
        """Remove a record; see `turnout.abc.Store.delete`. What stays is its version."""
        with translated(f"the {kind} of {id!r} cannot be removed"), writing(self._connection):
            self._connection.execute(
                "UPDATE records SET data = NULL, sealed_by = '', version = version + 1, seq = ?, writer = ? "
                "WHERE kind = ? AND id = ? AND data IS NOT NULL",
                (self._last_seq() + 1, self.writer, kind, raw(id)),
            )
        if kind == SEALED:
            self._versions.note(kind, id, 0)

    def changes(self, now: float) -> Sequence[Change]:
        """What others have written or removed since the last call, or since `list`."""
        with translated("the changes of others cannot be read"):
            (data_version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if data_version == self._data_version:
                return ()
            with reading(self._connection):
                self._sealing.follow()
                last = self._last_seq()
                rows = self._connection.execute(
                    "SELECT kind, id, version, data FROM records WHERE seq > ? AND writer <> ? ORDER BY seq",
                    (self._seq, self.writer),
                ).fetchall()
            found = [
                Change(
                    kind=kind, id=text(id), record=None if data is None else self._sound((kind, id, version, data), now)
                )
                for kind, id, version, data in rows
            ]
        self._seq, self._data_version = last, data_version
        return [change for change, row in zip(found, rows, strict=True) if change.record or row[3] is None]

    # --- rotation ----------------------------------------------------------------------------------------------------

    def begin_rotation(self) -> None:
        """Seal with a new key from now on, in every process: each looks at the header before it writes."""
        with translated("the key cannot be rotated"):
            self._sealing.rotate()

    def rewrap_some(self, after: str | None, now: float) -> tuple[int, str | None]:
        """Re-wrap the next records behind this id; gives how many, and the last id, None when there was none."""
        with translated("the key cannot be rotated"), writing(self._connection):
            self._sealing.follow()
            rows: list[Row] = self._connection.execute(
                "SELECT kind, id, version, data FROM records WHERE sealed_by NOT IN ('', ?) AND id > ? "
                "ORDER BY id LIMIT ?",
                (self._sealing.now.key.id, b"" if after is None else raw(after), BATCH),
            ).fetchall()
            done = sum(self._rewrap(row, now) for row in rows)
        return done, text(rows[-1][1]) if rows else None

    def end_rotation(self) -> None:
        """Let the older keys go, unless something could not be re-wrapped."""
        with translated("the key cannot be rotated"):
            (left,) = self._connection.execute(
                "SELECT count(*) FROM records WHERE sealed_by NOT IN ('', ?)", (self._sealing.now.key.id,)
            ).fetchone()
        if left:
            raise StoreError(f"{left} records are sealed with keys that are not here: the older keys are kept")
        self._sealing.forget_older()

    def _rewrap(self, row: Row, now: float) -> bool:
        kind, id, version, data = row
        try:
            renewed = self._sealing.now.renewed(kind, text(id), version, data)
        except UnknownKey as reason:
            self._log.error("the %s of %r is not re-wrapped: %s", kind, text(id), reason)
            return False
        except Unsealable as reason:
            self._set_aside(row, str(reason), now)
            return False
        self._connection.execute(
            "UPDATE records SET data = ?, sealed_by = ? WHERE kind = ? AND id = ?",
            (renewed, self._sealing.now.key.id, kind, id),
        )
        return True

    # --- one record --------------------------------------------------------------------------------------------------

    def _version(self, kind: str, id: str, now: float) -> tuple[int, int]:
        """The last version of a record, and its present one: 0 when it is not there. Raises StoreError."""
        row = self._connection.execute(
            "SELECT kind, id, version, data FROM records WHERE kind = ? AND id = ?", (kind, raw(id))
        ).fetchone()
        if row is None or row[3] is None:
            return (0 if row is None else row[2]), 0
        try:
            self._unsealed(row)
        except UnknownKey as reason:
            raise StoreError(f"the {kind} of {id!r} is not overwritten: {reason}") from None
        except Unsealable as reason:
            self._set_aside(row, str(reason), now)
            return row[2], 0
        return row[2], row[2]

    def _sound(self, row: Row, now: float) -> Record | None:
        """The record of a row; None when it is damaged, and has been set aside, or its key is not here."""
        kind, id, version, _ = row
        try:
            data = self._unsealed(row)
        except UnknownKey as reason:
            self._log.error("the %s of %r is left alone: %s", kind, text(id), reason)
            return None
        except Unsealable as reason:
            with writing(self._connection):
                self._set_aside(row, str(reason), now)
            return None
        if kind == SEALED:
            self._versions.tell_if_older(kind, text(id), version)
        return Record(kind=kind, id=text(id), data=data, version=version)

    def _unsealed(self, row: Row) -> bytes:
        kind, id, version, data = row
        return self._sealing.now.unseal(kind, text(id), version, data) if kind == SEALED else data

    def _set_aside(self, row: Row, reason: str, now: float) -> None:
        kind, id, version, data = row
        self._connection.execute(
            "INSERT INTO set_aside (at, kind, id, version, data, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (now, kind, id, version, data, reason),
        )
        self._connection.execute(
            "UPDATE records SET data = NULL, sealed_by = '' WHERE kind = ? AND id = ? AND version = ?",
            (kind, id, version),
        )
        self._log.error("the %s of %r cannot be read: %s; it is kept in the table set_aside", kind, text(id), reason)

    def _last_seq(self) -> int:
        (seq,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
        return int(seq)


def raw(id: str) -> bytes:
    """An id as the database keeps it: any text, lone surrogates included."""
    return id.encode("utf-8", "surrogatepass")


def text(id: bytes) -> str:
    """The id that `raw` wrote."""
    return id.decode("utf-8", "surrogatepass")


@contextmanager
def translated(failed: str) -> Iterator[None]:
    """Raise StoreError in place of what SQLite raises."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{failed}: {error}") from error
