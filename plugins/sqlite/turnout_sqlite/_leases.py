"""Leases in the database: who may renew a credential until when, by the database's own clock. Blocks."""

from typing import Final

from turnout.abc import Lease
from turnout_sqlite._database import Connection, writing
from turnout_sqlite._records import raw, translated

LONGEST: Final = 3600.0
"""Seconds: a holder that died must not keep others away for long."""


def take(connection: Connection, id: str, seconds: float) -> Lease | None:
    """Take a lease; None while somebody else has it. Its fence is one more than that of the last. Raises StoreError."""
    with translated(f"the lease of {id!r} cannot be taken"), writing(connection):
        now = store_now(connection)
        row = connection.execute("SELECT fence, until FROM leases WHERE id = ?", (raw(id),)).fetchone()
        fence, until = row or (0, 0.0)
        if now < until <= now + LONGEST:
            return None
        lease = Lease(id=id, fence=fence + 1, until=now + min(seconds, LONGEST))
        connection.execute(
            "INSERT INTO leases (id, fence, until) VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET fence = excluded.fence, until = excluded.until",
            (raw(id), lease.fence, lease.until),
        )
    return lease


def give_back(connection: Connection, lease: Lease) -> None:
    """End a lease early; nothing happens when somebody else has got it since. Raises StoreError."""
    with translated(f"the lease of {lease.id!r} cannot be given back"), writing(connection):
        connection.execute("UPDATE leases SET until = 0 WHERE id = ? AND fence = ?", (raw(lease.id), lease.fence))


def store_now(connection: Connection) -> float:
    """POSIX seconds; by Julian days, since `unixepoch` has whole seconds only before SQLite 3.42."""
    (now,) = connection.execute("SELECT (julianday('now') - 2440587.5) * 86400.0").fetchone()
    return float(now)
