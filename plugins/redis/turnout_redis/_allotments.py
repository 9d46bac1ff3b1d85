"""Allotments: how much of a limit each node holds, by the server's clock. What nobody claims goes by itself."""

from collections.abc import Sequence
from typing import Any, Final

from turnout.abc import Allotment, Claim, Share
from turnout_redis._keys import Keys
from turnout_redis._scripts import ALLOT
from turnout_redis._server import Server

AT_ONCE: Final = 100
"""Claims in one script: while it runs the server does nothing else."""


async def allot(server: Server, keys: Keys, writer: str, claims: Sequence[Claim]) -> Sequence[Allotment]:
    """Put these claims in place of the earlier ones of `writer`; see `turnout.abc.Allotter`. Raises StoreError."""
    found: list[Allotment] = []
    for first in range(0, len(claims), AT_ONCE):
        some = claims[first : first + AT_ONCE]
        names = [keys.allotments(claim.name) for claim in some]
        rows = await server.run(
            "limits cannot be shared", ALLOT, names, writer, *(n for one in some for n in _row(one))
        )
        found += [_allotment(row) for row in rows]
    return found


def _row(claim: Claim) -> tuple[int, int, int, int]:
    return claim.limit, claim.used, claim.wanted, int(claim.seconds * 1000)


def _allotment(row: Sequence[Any]) -> Allotment:
    granted, *others = map(int, row)
    pairs = zip(others[::2], others[1::2], strict=True)
    return Allotment(granted=granted, others=tuple(Share(used=used, wanted=wanted) for used, wanted in pairs))
