"""Opening the store: directory, database, key and versions, in this order. Blocks."""

import secrets
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from logging import Logger
from typing import TypeVar, final

from turnout.errors import StoreError
from turnout_seal import Versions
from turnout_sqlite._database import Connection, Damaged, connect
from turnout_sqlite._place import PAUSE, Place
from turnout_sqlite._records import Records
from turnout_sqlite._settings import SqliteSettings

T = TypeVar("T")


def doze() -> None:
    """Wait a moment for somebody else to have set the database up."""
    time.sleep(PAUSE)


@final
class Opened:
    """What is open together, and is closed together.

    Attributes:
        records: of the database.
        connection: to the database.
    """

    records: Records
    connection: Connection

    def __init__(self, settings: SqliteSettings, now: float, log: Logger, pause: Callable[[], None] = doze) -> None:
        """Open all of it. Raises StoreError that says what to do, and what `pause` raises; then nothing is left open.

        `pause` is called while somebody else sets the database up.
        """
        path = settings.place()
        self._versions: Versions | None = None
        try:
            self._place = Place(path, log.warning, pause)
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

    def in_place(self, work: Callable[[float], T], now: float) -> T:
        """Do `work` on the database that has this name. Raises StoreError when that is not the one that was opened.

        SQLite goes on with a file that was removed or replaced, where nobody finds again what it writes, and beside a
        new file of the same name it does harm. Looked at afterwards as well: nothing is said to be kept that is not.
        """
        self._check_place()
        done = work(now)
        self._check_place()
        return done

    def _check_place(self) -> None:
        if self._place.found() != self._file:
            raise StoreError(
                f"{self._place.database} was removed or replaced while it is open, so it is left alone: move it back, "
                "or name another path in [stores.sqlite] and reload, and what is in memory goes there"
            )

    def close(self) -> None:
        """Close all of it; the last one to close brings the journal into the database."""
        self.connection.close()
        if self._versions is not None:
            self._versions.close()
        self._place.close()

    def _connected(self, now: float, log: Logger) -> Connection:
        path = self._place.database
        try:
            try:
                return self._connect()
            except Damaged as reason:
                self._set_aside(str(reason), now, log)
            return self._connect()
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror}") from error
        except (sqlite3.Error, Damaged) as error:
            raise StoreError(f"cannot use {path}: {error}") from error

    def _connect(self) -> Connection:
        self._place.make_database()
        self._file = self._place.found()  # before it is opened: one that is put in its place now is noticed, too
        return connect(self._place.database)

    def _set_aside(self, reason: str, now: float, log: Logger) -> None:
        """Make room for an empty database; only one who is alone may, or others would go on with the damaged one."""
        path = self._place.database
        if not self._place.alone:
            raise StoreError(f"{path} is damaged ({reason}): stop every process that uses it, then start one")
        aside = self._place.set_aside(f".corrupt-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}")
        log.error("%s is damaged: %s; it is kept as %s, and an empty one takes its place", path, reason, aside)
