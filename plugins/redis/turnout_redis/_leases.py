"""Leases: who may renew a credential until when, by the server's clock, numbered so that a late one is known."""

from typing import Final

from turnout.abc import Lease
from turnout_redis._keys import Keys
from turnout_redis._scripts import GIVE_BACK, TAKE_LEASE
from turnout_redis._server import Server

LONGEST: Final = 3600.0
"""Seconds: a holder that died must not keep others away for long."""


async def take(server: Server, keys: Keys, id: str, seconds: float, *, writer: str, ask: int) -> Lease | None:
    """Take a lease; None while somebody else has it. Raises StoreError.

    A lease that `writer` took with a lesser `ask` is one of which it was not told, and is taken back.
    """
    what = f"the lease of {id!r} cannot be taken"
    lasts, longest = int(min(seconds, LONGEST) * 1000), int(LONGEST * 1000)
    fence, until = await server.run(what, TAKE_LEASE, [keys.lease(id)], lasts, longest, writer, ask)
    return Lease(id=id, fence=fence, until=until / 1000) if fence else None


async def give_back(server: Server, keys: Keys, lease: Lease) -> None:
    """End a lease early; nothing happens when somebody else has got it since. Raises StoreError."""
    what = f"the lease of {lease.id!r} cannot be given back"
    await server.run(what, GIVE_BACK, [keys.lease(lease.id)], lease.fence)
