"""`check_store` catches stores with leases that break a law, and lets one that keeps them pass."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock

from turnout import Record
from turnout.abc import Lease, Store
from turnout.errors import StoreConflict
from turnout.testing import MemoryStore, check_store


class Place:
    """What several processes share."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.leases: dict[str, tuple[int, float]] = {}


class Sound:
    """A store with leases, as one process sees it."""

    api: ClassVar[int] = 1

    def __init__(self, place: Place) -> None:
        self.place = place
        self.fences: dict[str, int] = {}

    async def list(self) -> Iterable[Record]:
        return await self.place.memory.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        if self.lost(kind, id):
            raise StoreConflict("its lease was lost", current=0)
        return await self.place.memory.save(kind, id, data, if_version)

    def lost(self, kind: str, id: str) -> bool:
        return kind == "secret" and id in self.fences and self.fences[id] != self.place.leases[id][0]

    async def delete(self, kind: str, id: str) -> None:
        await self.place.memory.delete(kind, id)

    async def read(self, kind: str, id: str) -> Record | None:
        await trio.lowlevel.checkpoint()
        return self.place.memory.records.get((kind, id))

    def taken(self, id: str) -> bool:
        return self.place.leases.get(id, (0, 0.0))[1] > trio.current_time()

    def next_fence(self, id: str) -> int:
        return self.place.leases.get(id, (0, 0.0))[0] + 1

    @asynccontextmanager
    async def lease(self, id: str, seconds: float) -> AsyncIterator[Lease | None]:
        await trio.lowlevel.checkpoint()
        if self.taken(id):
            yield None
            return
        lease = Lease(id=id, fence=self.next_fence(id), until=trio.current_time() + seconds)
        self.place.leases[id] = lease.fence, lease.until
        self.fences[id] = lease.fence
        cancelled = True
        try:
            yield lease
            cancelled = False
        finally:
            self.fences.pop(id, None)
            self.give_back(lease, cancelled=cancelled)

    def give_back(self, lease: Lease, *, cancelled: bool) -> None:
        if self.place.leases[lease.id][0] == lease.fence:
            self.place.leases[lease.id] = lease.fence, 0.0


async def check(store: type[Sound]) -> None:
    place = Place()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        yield store(place)
        await trio.lowlevel.checkpoint()

    await check_store(opened)


class GivesToAll(Sound):
    def taken(self, id: str) -> bool:
        return False


class GivesToOneself(Sound):
    def taken(self, id: str) -> bool:
        return id not in self.fences and super().taken(id)


class OneForAll(Sound):
    def taken(self, id: str) -> bool:
        return any(super(OneForAll, self).taken(one) for one in self.place.leases)


class SameFence(Sound):
    def next_fence(self, id: str) -> int:
        return 1


class GivesNothingBack(Sound):
    def give_back(self, lease: Lease, *, cancelled: bool) -> None:
        pass


class CancelledForGood(Sound):
    def give_back(self, lease: Lease, *, cancelled: bool) -> None:
        if not cancelled:
            super().give_back(lease, cancelled=cancelled)


class NeverEnds(Sound):
    def taken(self, id: str) -> bool:
        return self.place.leases.get(id, (0, 0.0))[1] > 0


class WritesOn(Sound):
    def lost(self, kind: str, id: str) -> bool:
        return False


class WritesOnWithoutVersion(Sound):
    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        if if_version is None:
            return await self.place.memory.save(kind, id, data, if_version)
        return await super().save(kind, id, data, if_version)


class FencesStates(Sound):
    def lost(self, kind: str, id: str) -> bool:
        return super().lost("secret", id)


class FencesSuccessors(Sound):
    def lost(self, kind: str, id: str) -> bool:
        return kind == "secret" and self.place.leases.get(id, (0, 0.0))[0] > 4


class EndsAnothers(Sound):
    def give_back(self, lease: Lease, *, cancelled: bool) -> None:
        self.place.leases[lease.id] = self.place.leases[lease.id][0], 0.0


class ReadsAnotherKind(Sound):
    async def read(self, kind: str, id: str) -> Record | None:
        return await super().read("state", id)


class ReadsMemories(Sound):
    """Gives what it read first, for ever."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.known: dict[tuple[str, str], Record] = {}

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        version = await super().save(kind, id, data, if_version)
        self.known[kind, id] = self.place.memory.records[kind, id]
        return version

    async def delete(self, kind: str, id: str) -> None:
        await super().delete(kind, id)
        self.known.pop((kind, id), None)

    async def read(self, kind: str, id: str) -> Record | None:
        await trio.lowlevel.checkpoint()
        return self.known.get((kind, id))


class ReadsTheRemoved(Sound):
    async def delete(self, kind: str, id: str) -> None:
        self.place.memory.records[kind, id] = Record(kind=kind, id=id, data=b"", version=0)

    async def list(self) -> Iterable[Record]:
        return [record for record in await super().list() if record.version]


async def test_a_store_with_leases_passes(autojump_clock: MockClock) -> None:
    await check(Sound)


@pytest.mark.parametrize(
    ("store", "law"),
    [
        (GivesToAll, "a lease that another process holds is not given"),
        (GivesToOneself, "not even to its holder"),
        (OneForAll, "leases of different credentials have nothing to do with each other"),
        (SameFence, "each lease of a credential has a greater fence than the one before"),
        (GivesNothingBack, "a lease is given back at the end of its block"),
        (CancelledForGood, "a lease is given back by whatever way its block is left"),
        (NeverEnds, "a lease that ran out is given to whoever asks"),
        (WritesOn, "whoever lost its lease cannot save the secret, whatever version it expects"),
        (WritesOnWithoutVersion, "whoever lost its lease cannot save the secret, whatever version it expects"),
        (EndsAnothers, "whoever lost its lease does not end the one of its successor"),
        (ReadsAnotherKind, "read gives the bytes and the version of the last save, of that kind"),
        (ReadsMemories, "read gives what another process has written last"),
        (ReadsTheRemoved, "read gives None for a record that was removed"),
    ],
)
async def test_a_store_that_breaks_a_law_is_told_which(autojump_clock: MockClock, store: type[Sound], law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        await check(store)


@pytest.mark.parametrize("store", [FencesStates, FencesSuccessors])
async def test_a_store_that_refuses_what_it_must_take_is_found(autojump_clock: MockClock, store: type[Sound]) -> None:
    with pytest.raises(StoreConflict):
        await check(store)
