"""A store in memory, and the laws that every store keeps."""

import itertools
from collections.abc import Iterable
from typing import ClassVar, final

import trio

from turnout._values import Record
from turnout.abc import Store
from turnout.errors import StoreConflict, StoreError
from turnout.testing._check_allotting import check_allotting
from turnout.testing._law import Laws
from turnout.testing._shared_store import OpenStore, check_leases, check_reading

_law = Laws("Store", "Stores")


@final
class MemoryStore:
    """A store that forgets when its process ends.

    Attributes:
        records: what it holds, by kind and id.
        broken: why every method fails with StoreError; empty when the store is well. A test may set it at any time.
    """

    api: ClassVar[int] = 1

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records: dict[tuple[str, str], Record] = {(record.kind, record.id): record for record in records}
        self.broken = ""

    async def list(self) -> Iterable[Record]:
        """Every record."""
        await self._reached()
        return tuple(self.records.values())

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        """Keep a record; see `turnout.abc.Store.save`."""
        await self._reached()
        old = self.records.get((kind, id))
        current = old.version if old else 0
        if if_version is not None and if_version != current:
            raise StoreConflict(f"{kind} of {id!r} has version {current}, not {if_version}", current=current)
        self.records[kind, id] = Record(kind=kind, id=id, data=data, version=current + 1)
        return current + 1

    async def delete(self, kind: str, id: str) -> None:
        """Forget a record."""
        await self._reached()
        self.records.pop((kind, id), None)

    async def _reached(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise StoreError(self.broken)


AWKWARD_IDS = (
    "../x",
    "/abs",
    "a\0b",
    "CON",
    ".",
    "..",
    ".hidden",
    "a%2eb",
    "a.secret",
    "ü",
    "‥",
    "x" * 255,
    "A",
    "a b",
)
"""Ids that a careless store confuses, loses, or lets out of its place (S25)."""


async def check_store(open_store: OpenStore) -> None:
    """Check that a store keeps the laws of `turnout.abc.Store`, and of `Allotter` if it is one.

    `open_store` opens an empty place, and the same one when called again; that of a store with leases is called while
    the first is open. The laws of `Reader` and `Leaser` are checked where the store is one. Raises AssertionError that
    names the law that was broken. It waits as long as the store does; a store that keeps its records elsewhere is
    checked as well for what is left when it is opened a second time.
    """
    async with open_store() as store:
        await _check_versions(store)
        await _check_conflicts(store)
        await _check_kinds_and_ids(store)
        await _check_concurrency(store)
        await _check_cancellation(store)
        await check_reading(store)
        await check_leases(store, open_store)
        before = await _held(store)
    async with open_store() as store:
        _law(await _held(store) == before, "what was saved is there, with its version, when the store is opened again")
        await _check_deletion(store)
    async with open_store() as store:
        _law(not await _held(store), "what was deleted stays away when the store is opened again")
    await check_allotting(open_store)


async def _check_versions(store: Store) -> None:
    _law(not await _held(store), "the check needs a place that is empty")
    for version, data in enumerate((b"one", b"", b"\x00\xff\n{}\r\n", b"x" * 100_000), start=1):
        _law(await store.save("secret", "a", data, None) == version, "versions start at 1 and grow by 1 with each save")
        held = await _held(store)
        _law(held == {("secret", "a"): (data, version)}, "list gives the bytes and the version of the last save")


async def _check_conflicts(store: Store) -> None:
    _law(await _conflict(store, "b", 3) == 0, "a save that expects a version refuses a record that is not there")
    _law(await store.save("secret", "b", b"new", 0) == 1, "version 0 means: only when there is none")
    _law(await _conflict(store, "b", 0) == 1, "a save that expects none refuses a record that is there")
    _law(await store.save("secret", "b", b"newer", 1) == 2, "a save that expects the right version is done")
    _law(
        await _conflict(store, "b", 1) == 2, "a save that expects an older version is refused, and told the current one"
    )
    _law((await _held(store))["secret", "b"] == (b"newer", 2), "a refused save changes nothing")


async def _conflict(store: Store, id: str, if_version: int) -> int | None:
    try:
        await store.save("secret", id, b"lost", if_version)
    except StoreConflict as conflict:
        return conflict.current
    return None


async def _check_kinds_and_ids(store: Store) -> None:
    for id in AWKWARD_IDS:
        for kind in ("secret", "state"):
            await store.save(kind, id, f"{kind} {id}".encode(), None)
    held = await _held(store)
    for id, kind in itertools.product(AWKWARD_IDS, ("secret", "state")):
        kept = held.get((kind, id), (b"", 0))[0]
        _law(kept == f"{kind} {id}".encode(), f"records are told apart by kind and id, whatever the id, such as {id!r}")


async def _check_concurrency(store: Store) -> None:
    won: list[int] = []

    async def write(number: int) -> None:
        try:
            won.append(await store.save("secret", "raced", str(number).encode(), 0))
        except StoreConflict:
            return

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(write, number)
    _law(won == [1], "of several saves that expect the same version exactly one is done")


async def _check_cancellation(store: Store) -> None:
    for version in range(1, 6):
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.save("state", "cancelled", b"whole" * version, None)
    held = (await _held(store)).get(("state", "cancelled"))
    _law(held is None or held[0] == b"whole" * (len(held[0]) // 5), "a cancelled save leaves the old record or the new")
    await store.save("state", "cancelled", b"after", None)
    _law((await _held(store))["state", "cancelled"][0] == b"after", "a store serves on after a cancelled save")


async def _check_deletion(store: Store) -> None:
    await store.delete("secret", "never there")
    kept = await _held(store)
    await store.delete("secret", "a")
    kept.pop(("secret", "a"))
    _law(await _held(store) == kept, "delete removes the record that it names and no other")
    for kind, id in kept:
        await store.delete(kind, id)
    _law(not await _held(store), "delete removes every record that list gave")


async def _held(store: Store) -> dict[tuple[str, str], tuple[bytes, int]]:
    records = list(await store.list())
    held = {(record.kind, record.id): (record.data, record.version) for record in records}
    _law(len(held) == len(records), "list gives each record once")
    return held
