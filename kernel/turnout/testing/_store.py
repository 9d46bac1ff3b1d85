"""A store in memory, and the laws that every store keeps."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import ClassVar, cast, final

import trio

from turnout._values import Record
from turnout.abc import Reader, Store
from turnout.errors import StoreConflict, StoreError
from turnout.testing._cancelling import cancelled_at, swallows
from turnout.testing._check_allotting import check_allotting
from turnout.testing._hung import Hanging, watching
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

PATIENCE = 70.0
"""Seconds that one part of the check may take: the longest wait that is part of one is 60."""

MOST_OPENINGS = 20
"""Saves that are broken off, each before the store is closed and opened again."""


async def check_store(open_store: OpenStore) -> None:
    """Check that a store keeps the laws of `turnout.abc.Store`, and of `Allotter` if it is one.

    `open_store` opens an empty place, and the same one when called again; that of a store with leases is called while
    the first is open. The laws of `Reader` and `Leaser` are checked where the store is one. Raises AssertionError that
    names the law that was broken. It waits as long as the store does, but for no part longer than `PATIENCE`; a store
    that keeps its records elsewhere is checked as well for what is left when it is opened a second time.
    """
    async with watching(_law) as hanging:
        await _check(open_store, partial(_ending, hanging))


async def _check(open_store: OpenStore, ending: Callable[[str], AbstractContextManager[None]]) -> None:
    async with open_store() as opened:
        store = _Judged(opened)
        with ending("versions"):
            await _check_versions(store)
            await _check_conflicts(store)
        with ending("kinds and ids"):
            await _check_kinds_and_ids(store)
            await _check_concurrency(store)
        with ending("cancelled"):
            await _check_passing_on(opened)
            await _check_cancellation(store)
        with ending("`read` and `lease`"):
            await check_reading(opened)
            await check_leases(opened, open_store)
            before = await _held(store)
    async with open_store() as opened:
        store = _Judged(opened)
        with ending("opened again"):
            _law(
                await _held(store) == before,
                "what was saved is there, with its version, when the store is opened again",
            )
            await _check_deletion(store)
    async with open_store() as opened:
        with ending("opened a third time"):
            _law(not await _held(_Judged(opened)), "what was deleted stays away when the store is opened again")
    with ending("`allot`"):
        await check_allotting(open_store)
    with ending("broken off"):
        await _check_broken_off(open_store)


@contextmanager
def _ending(hanging: Hanging, what: str) -> Iterator[None]:
    with hanging.ended(PATIENCE, what), trio.move_on_after(PATIENCE) as scope:
        yield
    _law(not scope.cancelled_caught, f"whatever a store is asked comes to its end ({what}: not within {PATIENCE:g} s)")


@final
class _Judged:
    """A store whose answers are judged: what they are, and what is raised in their place."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self) -> Iterable[Record]:
        with _told("list"):
            records = tuple(await self._store.list())
        _law(all(isinstance(record, Record) for record in records), "`list` gives Records")
        return records

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        with _told("save"):
            version: object = await self._store.save(kind, id, data, if_version)
        _law(type(version) is int, "`save` gives the new version, a number")
        return cast("int", version)

    async def delete(self, kind: str, id: str) -> None:
        with _told("delete"):
            await self._store.delete(kind, id)


@contextmanager
def _told(method: str) -> Iterator[None]:
    try:
        yield
    except (StoreError, StoreConflict, AssertionError):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 # told as the store's
        kind = type(error).__name__
        _law(False, f"a store raises StoreError and StoreConflict, nothing else (`{method}`: {kind})", error)


async def _check_versions(store: _Judged) -> None:
    _law(not await _held(store), "the check needs a place that is empty")
    for version, data in enumerate((b"one", b"", b"\x00\xff\n{}\r\n", b"x" * 100_000), start=1):
        _law(await store.save("secret", "a", data, None) == version, "versions start at 1 and grow by 1 with each save")
        held = await _held(store)
        _law(held == {("secret", "a"): (data, version)}, "list gives the bytes and the version of the last save")


async def _check_conflicts(store: _Judged) -> None:
    _law(await _conflict(store, "b", 3) == 0, "a save that expects a version refuses a record that is not there")
    _law(await store.save("secret", "b", b"new", 0) == 1, "version 0 means: only when there is none")
    _law(await _conflict(store, "b", 0) == 1, "a save that expects none refuses a record that is there")
    _law(await store.save("secret", "b", b"newer", 1) == 2, "a save that expects the right version is done")
    _law(
        await _conflict(store, "b", 1) == 2, "a save that expects an older version is refused, and told the current one"
    )
    _law((await _held(store))["secret", "b"] == (b"newer", 2), "a refused save changes nothing")


async def _conflict(store: _Judged, id: str, if_version: int) -> int | None:
    try:
        await store.save("secret", id, b"lost", if_version)
    except StoreConflict as conflict:
        return conflict.current
    return None


async def _check_kinds_and_ids(store: _Judged) -> None:
    for id in AWKWARD_IDS:
        for kind in ("secret", "state"):
            await store.save(kind, id, f"{kind} {id}".encode(), None)
    held = await _held(store)
    for id, kind in itertools.product(AWKWARD_IDS, ("secret", "state")):
        kept = held.get((kind, id), (b"", 0))[0]
        _law(kept == f"{kind} {id}".encode(), f"records are told apart by kind and id, whatever the id, such as {id!r}")


async def _check_concurrency(store: _Judged) -> None:
    won: list[int] = []
    lost: list[Exception] = []

    async def write(number: int) -> None:
        try:
            won.append(await store.save("secret", "raced", str(number).encode(), 0))
        except (StoreError, AssertionError) as error:
            lost.append(error)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(write, number)
    refused = all(isinstance(error, StoreConflict) for error in lost)
    _law(
        won == [1] and refused,
        "of several saves that expect the same version exactly one is done, and the others raise StoreConflict",
        next((error for error in lost if not isinstance(error, StoreConflict)), None),
    )


async def _check_cancellation(store: _Judged) -> None:
    for version in range(1, 6):
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.save("state", "cancelled", b"whole" * version, None)
    held = (await _held(store)).get(("state", "cancelled"))
    _law(held is None or held[0] == b"whole" * (len(held[0]) // 5), "a cancelled save leaves the old record or the new")
    await store.save("state", "cancelled", b"after", None)
    _law((await _held(store))["state", "cancelled"][0] == b"after", "a store serves on after a cancelled save")


async def _check_broken_off(open_store: OpenStore) -> None:
    """Saves that are cancelled at one wait after the other, and what is there when the store is opened anew."""
    kept = {b"old" * 1000, b"new" * 1000}
    for wait in range(MOST_OPENINGS):
        async with open_store() as store:
            await store.save("state", "broken off", b"old" * 1000, None)
            seen = await cancelled_at(wait, store.save("state", "broken off", b"new" * 1000, None))
        failed: Exception | None = None
        held: dict[tuple[str, str], tuple[bytes, int]] = {}
        try:
            async with open_store() as store:
                held = await _held(_Judged(store))
                await store.delete("state", "broken off")
        except Exception as error:  # noqa: BLE001 # it cannot be opened
            failed = error
        _law(
            failed is None and held.get(("state", "broken off"), (b"", 0))[0] in kept,
            "a save that is cancelled leaves a store that can be opened again, with the old record or the new one",
            failed,
        )
        if not seen.reached:
            break


async def _check_passing_on(store: Store) -> None:
    async def save() -> object:
        return await store.save("state", "passing", b"on", None)

    async def delete() -> None:
        await store.delete("state", "passing")

    async def read() -> object:
        return await store.read("state", "passing") if isinstance(store, Reader) else None

    for method, make in (("save", save), ("list", store.list), ("read", read), ("delete", delete)):
        with _told(method):
            swallowed = await swallows(make)
        _law(not swallowed, f"a cancellation is let pass: nothing is given or raised in its place (`{method}`)")
    await _Judged(store).delete("state", "passing")


async def _check_deletion(store: _Judged) -> None:
    await store.delete("secret", "never there")
    kept = await _held(store)
    await store.delete("secret", "a")
    kept.pop(("secret", "a"))
    _law(await _held(store) == kept, "delete removes the record that it names and no other")
    for kind, id in kept:
        await store.delete(kind, id)
    _law(not await _held(store), "delete removes every record that list gave")


async def _held(store: _Judged) -> dict[tuple[str, str], tuple[bytes, int]]:
    records = list(await store.list())
    held = {(record.kind, record.id): (record.data, record.version) for record in records}
    _law(len(held) == len(records), "list gives each record once")
    return held
