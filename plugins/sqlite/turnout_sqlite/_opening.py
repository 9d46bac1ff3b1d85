"""Opening the store: directory, database, key and versions, in this order. Blocks."""

import secrets
import sqlite3
from datetime import UTC, datetime
from logging import Logger
from typing import final

from turnout.errors import StoreError
from turnout_seal import Versions
from turnout_sqlite._database import Connection, Damaged, connect
from turnout_sqlite._place import Place
from turnout_sqlite._records import Records
from turnout_sqlite._settings import SqliteSettings


@final
class Opened:
    """What is open together, and is closed together.

    Attributes:
        records: of the database.
        connection: to the database.
    """

    records: Records
    connection: Connection

    def __init__(self, settings: SqliteSettings, now: float, log: Logger) -> None:
        """Open all of it. Raises StoreError that says what to do; then nothing is left open."""
        path = settings.place()
        self._versions: Versions | None = None
        try:
            self._place = Place(path, log.warning)
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror}") from error
        try:
            self.connection = self._connected(now, log)
        except BaseException:
            self._place.close()
            raise
        try:
            self._versions = Versions(path.with_name(path.name + ".versions"), log, alone=self._place.alone)
            keys = settings.key_source(path)
            self.records = Records(self.connection, keys, self._versions, secrets.token_hex(8), log)
            self._place.share()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all of it; the last one to close brings the journal into the database."""
        self.connection.close()
        if self._versions is not None:
            self._versions.close()
        self._place.close()

    def _connected(self, now: float, log: Logger) -> Connection:
        path = self._place.database
        try:
            self._place.make_database()
            try:
                return connect(path)
            except Damaged as reason:
                self._set_aside(str(reason), now, log)
            self._place.make_database()
            return connect(path)
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror}") from error
        except (sqlite3.Error, Damaged) as error:
            raise StoreError(f"cannot use {path}: {error}") from error

    def _set_aside(self, reason: str, now: float, log: Logger) -> None:
        """Make room for an empty database; only one who is alone may, or others would go on with the damaged one."""
        path = self._place.database
        if not self._place.alone:
            raise StoreError(f"{path} is damaged ({reason}): stop every process that uses it, then start one")
        aside = self._place.set_aside(f".corrupt-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}")
        log.error("%s is damaged: %s; it is kept as %s, and an empty one takes its place", path, reason, aside)
