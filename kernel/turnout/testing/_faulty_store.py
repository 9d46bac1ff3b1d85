"""A store that fails in every way there is, by chance that can be replayed."""

from collections.abc import Iterable
from random import Random
from typing import ClassVar

import attrs
import trio

from turnout._values import Record
from turnout.errors import StoreConflict, StoreError
from turnout.testing._store import MemoryStore


class StoreBug(Exception):
    """A mistake of the store's own."""


@attrs.define(eq=False)
class FaultyStore:
    """A store that refuses, stalls and tells of others' changes.

    Attributes:
        share: of the writes that go wrong.
        refused: (kind, id) of the writes that failed.
    """

    api: ClassVar[int] = 1

    chance: Random
    share: float
    memory: MemoryStore = attrs.field(factory=MemoryStore)
    refused: set[tuple[str, str]] = attrs.field(factory=set)

    async def list(self) -> Iterable[Record]:
        """Every record."""
        return await self.memory.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        """Keep a record, or not."""
        if self.chance.random() < self.share:
            self.refused.add((kind, id))
            way = self.chance.choice(("error", "conflict", "stall", "bug"))
            if way == "stall":
                await trio.sleep_forever()
            if way == "conflict":
                raise StoreConflict("somebody else", current=self.chance.randint(0, 3))
            raise StoreError("the disk is full") if way == "error" else StoreBug("a store's own mistake")
        return await self.memory.save(kind, id, data, if_version)

    async def delete(self, kind: str, id: str) -> None:
        """Forget a record."""
        await self.memory.delete(kind, id)
