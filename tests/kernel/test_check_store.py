"""`check_store` catches stores that break a law, those with leases too, and lets one that keeps them pass."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import attrs
import pytest
import trio
from kit_laws import laws_of, unproven
from trio.testing import MockClock

from turnout import Record
from turnout.abc import Lease, Store
from turnout.errors import StoreConflict, StoreError
from turnout.testing import MemoryStore, check_store
from turnout.testing import _shared_store as shared_rules
from turnout.testing import _store as rules


class Place:
    """What several processes share."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.leases: dict[str, tuple[int, float]] = {}
        self.opens = 0
        self.broken = False


class Sound:
    """A store with leases, as one process sees it."""

    api: ClassVar[int] = 1

    def __init__(self, place: Place) -> None:
        self.place = place
        self.fences: dict[str, int] = {}
        place.opens += 1
        self.found(place.memory.records, place.opens)

    def found(self, records: dict[tuple[str, str], Record], opens: int) -> None:
        """What is there when it is opened for the nth time: first, beside the first one for leases, and twice again."""

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


async def check(store: Callable[[Place], Store]) -> None:
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


class ReadsWhatNeverWas(Sound):
    async def read(self, kind: str, id: str) -> Record | None:
        return await super().read(kind, id) or Record(kind=kind, id=id, data=b"", version=0)


class ReadsWhatAnotherRemoved(ReadsMemories):
    async def read(self, kind: str, id: str) -> Record | None:
        return await Sound.read(self, kind, id) or await super().read(kind, id)


class MiscountsUnderALease(Sound):
    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        return await super().save(kind, id, data, if_version) + (id in self.fences and kind == "secret")


class GivesToNobody(Sound):
    def taken(self, id: str) -> bool:
        return True


def leases_once(place: Place) -> Store:
    return place.memory if place.opens else Sound(place)


class Forgets(Sound):
    def found(self, records: dict[tuple[str, str], Record], opens: int) -> None:
        if opens == 3:
            records.clear()


class BringsBack(Sound):
    def found(self, records: dict[tuple[str, str], Record], opens: int) -> None:
        if opens == 4:
            records["secret", "a"] = Record(kind="secret", id="a", data=b"one", version=1)


class HasSomething(Sound):
    def found(self, records: dict[tuple[str, str], Record], opens: int) -> None:
        records["secret", "a"] = Record(kind="secret", id="a", data=b"one", version=1)


class Saves(Sound):
    """Sound, and a base of those that save badly."""

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        there = (kind, id) in self.place.memory.records
        try:
            version = await super().save(kind, id, data, self.expected(if_version, there=there))
        except StoreConflict as conflict:
            self.refused(kind, id, data)
            raise StoreConflict(str(conflict), current=self.current(conflict.current, if_version)) from None
        return version + self.beside(if_version)

    def expected(self, if_version: int | None, *, there: bool) -> int | None:
        return if_version

    def refused(self, kind: str, id: str, data: bytes) -> None:
        pass

    def current(self, version: int, if_version: int | None) -> int:
        return version

    def beside(self, if_version: int | None) -> int:
        return 0


class CountsFromNought(Saves):
    def beside(self, if_version: int | None) -> int:
        return -1


class MiscountsNewOnes(Saves):
    def beside(self, if_version: int | None) -> int:
        return int(if_version == 0)


class MiscountsLaterOnes(Saves):
    def beside(self, if_version: int | None) -> int:
        return int(if_version == 1)


class ExpectsNothingOfNothing(Saves):
    def expected(self, if_version: int | None, *, there: bool) -> int | None:
        return if_version if there else None


class TakesNoughtForAny(Saves):
    def expected(self, if_version: int | None, *, there: bool) -> int | None:
        return if_version or None


class TellsWhatWasExpected(Saves):
    def current(self, version: int, if_version: int | None) -> int:
        return if_version if if_version == 1 else version


class SavesWhatItRefuses(Saves):
    def refused(self, kind: str, id: str, data: bytes) -> None:
        if (old := self.place.memory.records.get((kind, id))) is not None:
            self.place.memory.records[kind, id] = attrs.evolve(old, data=data)


class LooksBeforeItLeaps(Saves):
    """Lets another one in between looking and saving."""

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        if if_version == 0 and (kind, id) not in self.place.memory.records:
            await trio.lowlevel.checkpoint()
            if_version = None
        return await super().save(kind, id, data, if_version)


class SavesHalf(Saves):
    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        try:
            return await super().save(kind, id, data, if_version)
        except trio.Cancelled:
            self.place.memory.records[kind, id] = Record(kind=kind, id=id, data=data[:3], version=1)
            raise


class GivesUpWhenCancelled(Saves):
    cancelled = False

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        try:
            return await super().save(kind, id, b"" if self.cancelled else data, if_version)
        except trio.Cancelled:
            self.cancelled = True
            raise


class KnowsNoCase(Sound):
    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        return await super().save(kind, id.lower(), data, if_version)


class ListsFirstVersions(Sound):
    async def list(self) -> Iterable[Record]:
        return [attrs.evolve(record, version=1) for record in await super().list()]


class ListsTwice(Sound):
    async def list(self) -> Iterable[Record]:
        return [*await super().list(), *await super().list()]


class DeletesMore(Sound):
    async def delete(self, kind: str, id: str) -> None:
        await super().delete(kind, id)
        if id == "a":
            self.place.memory.records.clear()


class DeletesLess(Sound):
    async def delete(self, kind: str, id: str) -> None:
        if id.isascii():
            await super().delete(kind, id)


class SwallowsSaves(Sound):
    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        try:
            return await super().save(kind, id, data, if_version)
        except trio.Cancelled:
            return 1


class SwallowsLists(Sound):
    """What it gives is right, and its caller is held all the same."""

    async def list(self) -> Iterable[Record]:
        try:
            return await super().list()
        except BaseException:  # noqa: BLE001 # as careless authors do
            return tuple(self.place.memory.records.values())


class SwallowsDeletes(Sound):
    async def delete(self, kind: str, id: str) -> None:
        try:
            await super().delete(kind, id)
        except BaseException:  # noqa: BLE001 # as careless authors do
            return


class SwallowsReads(Sound):
    async def read(self, kind: str, id: str) -> Record | None:
        try:
            return await super().read(kind, id)
        except trio.Cancelled:
            return None


class CallsACancellationAFailure(Sound):
    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        try:
            return await super().save(kind, id, data, if_version)
        except trio.Cancelled:
            raise StoreError("the disk was not reached") from None


class LeavesAMess(Sound):
    """Cannot be opened any more after a save that was broken off late."""

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        version = await super().save(kind, id, data, if_version)
        self.place.broken = True
        await trio.lowlevel.checkpoint()
        self.place.broken = False
        return version

    def found(self, records: dict[tuple[str, str], Record], opens: int) -> None:
        if self.place.broken:
            raise OSError("half a file")


class LosesTheOldOne(Sound):
    """Takes the old record away before it writes the new one."""

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        if id == "broken off":
            await self.delete(kind, id)
        return await super().save(kind, id, data, if_version)


class Trips(Sound):
    async def delete(self, kind: str, id: str) -> None:
        await trio.lowlevel.checkpoint()
        del self.place.memory.records[kind, id]


class Exits(Sound):
    async def list(self) -> Iterable[Record]:
        raise SystemExit(3)


class ListsTuples(Sound):
    async def list(self) -> Any:
        return [attrs.astuple(record) for record in await super().list()]


class SavesSilently(Sound):
    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> Any:
        await super().save(kind, id, data, if_version)


class FailsTheSlower(Sound):
    """Says of whoever lost a race that the disk failed."""

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        try:
            return await super().save(kind, id, data, if_version)
        except StoreConflict:
            if id == "raced":
                raise StoreError("cannot be written") from None
            raise


class NeverSaves(Sound):
    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        await trio.sleep_forever()
        raise AssertionError


class ReadsForEver(Sound):
    """Waits in a shielded scope as soon as it is asked for a record that there is."""

    async def read(self, kind: str, id: str) -> Record | None:
        found = await super().read(kind, id)
        if found is not None and id == "read":
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        return found


LETS_PASS = r"a cancellation is let pass: nothing is given or raised in its place \(`{}`\)"
OPENS_AGAIN = "a save that is cancelled leaves a store that can be opened again, with the old record or the new one"
RAISES = r"a store raises StoreError and StoreConflict, nothing else \(`{}`: {}\)"

BROKEN: tuple[tuple[Callable[[Place], Store], str], ...] = (
    (GivesToAll, "a lease that another process holds is not given"),
    (GivesToOneself, "a lease that is held is not given again, not even to its holder"),
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
    (ReadsWhatNeverWas, "read gives None for a record that never was"),
    (ReadsWhatAnotherRemoved, "read gives None for a record that another process has removed"),
    (leases_once, "a store that has leases has them each time it is opened"),
    (MiscountsUnderALease, "whoever has the lease may save the secret"),
    (GivesToNobody, "a lease that nobody holds is given"),
    (HasSomething, "the check needs a place that is empty"),
    (CountsFromNought, "versions start at 1 and grow by 1 with each save"),
    (ListsFirstVersions, "list gives the bytes and the version of the last save"),
    (ListsTwice, "list gives each record once"),
    (ExpectsNothingOfNothing, "a save that expects a version refuses a record that is not there"),
    (MiscountsNewOnes, "version 0 means: only when there is none"),
    (TakesNoughtForAny, "a save that expects none refuses a record that is there"),
    (MiscountsLaterOnes, "a save that expects the right version is done"),
    (TellsWhatWasExpected, "a save that expects an older version is refused, and told the current one"),
    (SavesWhatItRefuses, "a refused save changes nothing"),
    (KnowsNoCase, "records are told apart by kind and id, whatever the id"),
    (LooksBeforeItLeaps, "of several saves that expect the same version exactly one is done"),
    (CallsACancellationAFailure, LETS_PASS.format("save")),
    (SavesHalf, "a cancelled save leaves the old record or the new"),
    (GivesUpWhenCancelled, "a store serves on after a cancelled save"),
    (Forgets, "what was saved is there, with its version, when the store is opened again"),
    (DeletesMore, "delete removes the record that it names and no other"),
    (DeletesLess, "delete removes every record that list gave"),
    (BringsBack, "what was deleted stays away when the store is opened again"),
    (SwallowsSaves, LETS_PASS.format("save")),
    (SwallowsLists, LETS_PASS.format("list")),
    (SwallowsDeletes, LETS_PASS.format("delete")),
    (SwallowsReads, LETS_PASS.format("read")),
    (LeavesAMess, OPENS_AGAIN),
    (LosesTheOldOne, OPENS_AGAIN),
    (Trips, RAISES.format("delete", "KeyError")),
    (Exits, RAISES.format("list", "SystemExit")),
    (ListsTuples, "`list` gives Records"),
    (SavesSilently, "`save` gives the new version, a number"),
    (FailsTheSlower, "of several saves that expect the same version exactly one is done, and the others raise"),
    (NeverSaves, r"whatever a store is asked comes to its end \(versions: not within 70 s\)"),
)
"""Each with the law that it breaks."""


@pytest.mark.parametrize("store", [Sound, Saves])
async def test_a_store_with_leases_passes(store: type[Sound], autojump_clock: MockClock) -> None:
    await check(store)


@pytest.mark.parametrize(("store", "law"), BROKEN)
async def test_a_store_that_breaks_a_law_is_told_which(
    autojump_clock: MockClock, store: Callable[[Place], Store], law: str
) -> None:
    with pytest.raises(AssertionError, match=rf"^broken: {law}"):
        await check(store)


def test_every_law_of_a_store_has_a_broken_one() -> None:
    assert not unproven(laws_of(rules, shared_rules), [law for _, law in BROKEN])


@pytest.mark.parametrize("store", [FencesStates, FencesSuccessors])
async def test_a_store_that_refuses_what_it_must_take_is_found(autojump_clock: MockClock, store: type[Sound]) -> None:
    with pytest.raises(StoreConflict):
        await check(store)


async def test_a_store_that_hangs_shielded_is_told_with_its_place(autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=r"a scope without a deadline shields kernel/test_check_store\.py:\d+ "):
        await check(ReadsForEver)


async def test_the_memory_store_keeps_the_laws_of_a_store() -> None:
    await check(lambda place: place.memory)


async def test_a_broken_memory_store_fails_and_recovers() -> None:
    store = MemoryStore([Record(kind="state", id="a", data=b"x", version=3)])
    store.broken = "the disk is away"
    with pytest.raises(StoreError, match="the disk is away"):
        await store.list()
    store.broken = ""

    assert await store.save("state", "a", b"y", 3) == 4
