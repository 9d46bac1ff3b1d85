"""The connection: opened, checked and set up. Blocks.

Journal in WAL mode, so that readers never wait; every commit is synced (`synchronous = FULL`), so that a token that was
acknowledged survives a power loss; what is deleted is overwritten (`secure_delete`).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from turnout.errors import StoreError

BUSY: Final = 1.5
"""Seconds that a write waits for the write of another process: with its own work no call takes two (acceptance G3)."""

FORMAT: Final = 1
"""Version of the tables. A database with a later one is neither read nor written."""

APPLICATION: Final = 0x5475726E
"""`Turn`, so that nobody takes this database for another program's, nor another program's for this."""

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

Connection = sqlite3.Connection


class Damaged(Exception):
    """The file is no sound database; the text says why."""


def connect(path: Path) -> Connection:
    """Open a database that exists, check it, and set it up when it is empty. Raises Damaged, StoreError."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY
    )
    try:
        with noticing_damage():
            _set_up(connection)
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except BaseException:
        connection.close()
        raise
    if found != ("ok",):
        connection.close()
        raise Damaged(str(found[0]) if found else "it cannot be checked")
    return connection


@contextmanager
def noticing_damage() -> Iterator[None]:
    """Raise Damaged in place of what SQLite raises for a file that is no sound database."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
            raise
        raise Damaged(str(error)) from error


@contextmanager
def writing(connection: Connection) -> Iterator[None]:
    """A transaction that no other writer can come between; undone when the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def unsynced(connection: Connection) -> Iterator[None]:
    """Commits of the block need not survive a power loss: nothing waits for the disk."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """A transaction that sees one state of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _set_up(connection: Connection) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA synchronous = FULL")
    _check_owner(connection)
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise StoreError("the disk of the database cannot be shared as SQLite needs it: use one of this machine")
    with writing(connection):
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            _make_tables(connection)
        _make_allotments(connection)


def _check_owner(connection: Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (format,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (application or format or tables):
        raise StoreError("it is the database of another program")
    if format > FORMAT:
        raise StoreError(f"the database has format {format}, this version knows {FORMAT}: nothing is changed")


def _make_allotments(connection: Connection) -> None:
    """In databases of an older version, too: it leaves a table alone that it does not know."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS allotments (name BLOB NOT NULL, holder TEXT NOT NULL, used INTEGER NOT NULL, "
        "wanted INTEGER NOT NULL, held INTEGER NOT NULL, until REAL NOT NULL, PRIMARY KEY (name, holder)) STRICT"
    )


def _make_tables(connection: Connection) -> None:
    """Ids are bytes: SQLite's texts hold no lone surrogates. A removed record keeps its version, without data."""
    connection.execute("PRAGMA application_id = 1416983150")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT")
    connection.execute(
        "CREATE TABLE records (kind TEXT NOT NULL, id BLOB NOT NULL, version INTEGER NOT NULL, data BLOB, "
        "sealed_by TEXT NOT NULL, seq INTEGER NOT NULL, writer TEXT NOT NULL, PRIMARY KEY (kind, id)) STRICT"
    )
    connection.execute("CREATE UNIQUE INDEX records_in_order ON records (seq)")
    connection.execute("CREATE INDEX records_by_key ON records (sealed_by, id)")
    connection.execute(
        "CREATE TABLE set_aside (at REAL NOT NULL, kind TEXT NOT NULL, id BLOB NOT NULL, version INTEGER NOT NULL, "
        "data BLOB NOT NULL, reason TEXT NOT NULL) STRICT"
    )
    connection.execute("CREATE TABLE leases (id BLOB PRIMARY KEY, fence INTEGER NOT NULL, until REAL NOT NULL) STRICT")
