"""Allotments in the database: how much of a limit each process holds, by the database's own clock. Blocks."""

from collections.abc import Sequence
from typing import Final

from turnout.abc import Allotment, Claim, Share
from turnout_sqlite._database import Connection, unsynced, writing
from turnout_sqlite._leases import store_now
from turnout_sqlite._records import raw, translated

LONGEST: Final = 3600.0
"""Seconds: what was claimed for a later time than this was claimed by another clock."""


def allot(connection: Connection, holder: str, claims: Sequence[Claim]) -> Sequence[Allotment]:
    """Put these claims in place of the earlier ones of `holder`; see `turnout.abc.Allotter`. Raises StoreError."""
    with translated("limits cannot be shared"), unsynced(connection), writing(connection):
        now = store_now(connection)
        connection.execute("DELETE FROM allotments WHERE until <= ? OR until > ?", (now, now + LONGEST))
        return [_judged(connection, holder, claim, now) for claim in claims]


def _judged(connection: Connection, holder: str, claim: Claim, now: float) -> Allotment:
    name = raw(claim.name)
    connection.execute("DELETE FROM allotments WHERE name = ? AND holder = ?", (name, holder))
    rows = connection.execute("SELECT used, wanted, held FROM allotments WHERE name = ?", (name,)).fetchall()
    granted = claim.granted(sum(theirs for _, _, theirs in rows))
    if claim.wanted or claim.used:
        connection.execute(
            "INSERT INTO allotments (name, holder, used, wanted, held, until) VALUES (?, ?, ?, ?, ?, ?)",
            (name, holder, claim.used, claim.wanted, max(claim.used, granted), now + min(claim.seconds, LONGEST)),
        )
    return Allotment(granted=granted, others=tuple(Share(used=used, wanted=wanted) for used, wanted, _ in rows))
