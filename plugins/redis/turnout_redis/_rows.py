"""What the server holds, as values: one record as it lies there, and pages of them by their last change."""

import math
from collections.abc import Sequence
from typing import Any, Final, Self, final

import attrs

from turnout_redis._keys import Keys, text
from turnout_redis._server import Server

PAGE: Final = 200
"""Records that are read at once: unsealing them takes some 40 ms."""

_FIELDS: Final = (b"kind", b"id", b"version", b"data", b"by", b"writer")


@final
@attrs.frozen
class Row:
    """A record as it lies there.

    Attributes:
        data: None when it was removed.
        by: id of the key that sealed it, empty when it is not sealed.
        writer: who wrote it.
    """

    digest: str
    kind: str
    id: str
    version: int
    data: bytes | None = attrs.field(repr=False)
    by: str
    writer: str

    @classmethod
    def of(cls, digest: str, fields: Sequence[Any]) -> Self | None:
        """The record in these fields; None when it went away."""
        kind, id, version, data, by, writer = fields
        if kind is None or id is None or version is None:
            return None
        return cls(digest, kind.decode(), text(id), int(version), data, (by or b"").decode(), (writer or b"").decode())


@final
class Pages:
    """Pages of the records changed after a sequence number, oldest first, each with the last number in it.

    Nothing is missed: what changes meanwhile moves to the end. No generator, so that a loop may be left at any time.
    """

    def __init__(self, server: Server, keys: Keys, after: int) -> None:
        self._server = server
        self._keys = keys
        self._after = after

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Sequence[Row], int]:
        """The next page. Raises StoreError."""
        rows, last = await _page(self._server, self._keys, self._after)
        if last is None:
            raise StopAsyncIteration
        self._after = last
        return rows, last


async def _page(server: Server, keys: Keys, after: int) -> tuple[list[Row], int | None]:
    what = "the store cannot be read"
    client = server.client
    ranked = await server.ask(
        what, lambda: client.zrangebyscore(keys.changes, after + 1, math.inf, withscores=True, offset=0, count=PAGE)
    )
    if not ranked:
        return [], None
    digests = [_text(member) for member, _ in ranked]

    async def read() -> list[Any]:
        async with client.pipeline(transaction=False) as pipe:
            found = [pipe.hmget(keys.record(digest), _FIELDS) for digest in digests]
        return [await one for one in found]

    fields = await server.ask(what, read)
    rows = [row for digest, one in zip(digests, fields, strict=True) if (row := Row.of(digest, one)) is not None]
    return rows, int(ranked[-1][1])


async def row_of(server: Server, keys: Keys, digest: str) -> Row | None:
    """One record; None when there never was one. Raises StoreError."""
    key = keys.record(digest)
    fields = await server.ask("the store cannot be read", lambda: server.client.hmget(key, _FIELDS))
    return Row.of(digest, fields)


def _text(member: Any) -> str:
    return member.decode() if isinstance(member, bytes) else str(member)
