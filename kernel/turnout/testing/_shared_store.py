"""The laws of stores that several processes share: one record read anew, and leases with fences."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import cast

import trio

from turnout.abc import Lease, Leaser, Reader, Store
from turnout.errors import StoreConflict
from turnout.testing._law import Laws

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]
"""Opens the same place each time; what was saved before is there again."""

SHORT = 0.02
"""Seconds of a lease that is to run out."""

LONG = 60.0
"""Seconds of one that is not."""

TRIES = 500
"""How often it is looked whether a lease has run out."""

_reads = Laws("Reader", "Stores")
_leases = Laws("Leaser", "Stores")


async def check_reading(store: Store) -> None:
    """The laws of `turnout.abc.Reader`, if the store is one. Leaves nothing behind."""
    if not isinstance(store, Reader):
        return
    _reads(await store.read("secret", "read") is None, "read gives None for a record that never was")
    await store.save("secret", "read", b"one", 0)
    await store.save("state", "read", b"other", 0)
    _reads(await _read(store) == (b"one", 1), "read gives the bytes and the version of the last save, of that kind")
    await store.delete("secret", "read")
    _reads(await _read(store) is None, "read gives None for a record that was removed")
    await store.delete("state", "read")


async def _read(store: Reader) -> tuple[bytes, int] | None:
    record = await store.read("secret", "read")
    return None if record is None else (record.data, record.version)


async def check_leases(store: Store, open_store: OpenStore) -> None:
    """The laws of `turnout.abc.Leaser`, if the store is one: of two that are open at once. Leaves nothing behind."""
    if not isinstance(store, Leaser):
        return
    async with open_store() as second:
        other = _leaser(second)
        await _check_reading_others(store, second)
        await _check_exclusion(store, other)
        await _check_cancelled(store)
        await _check_fences(store, second)
        await _check_late_end(store, other)


async def _check_reading_others(one: Store, two: Store) -> None:
    if not isinstance(one, Reader) or not isinstance(two, Reader):
        return
    version = await one.save("secret", "read", b"one", None)
    await two.list()
    await two.save("secret", "read", b"two", version)
    _reads(await _read(one) == (b"two", version + 1), "read gives what another process has written last")
    await one.delete("secret", "read")
    _reads(await _read(two) is None, "read gives None for a record that another process has removed")


def _leaser(store: Store) -> Leaser:
    _leases(isinstance(store, Leaser), "a store that has leases has them each time it is opened")
    return cast("Leaser", store)


async def _check_exclusion(one: Leaser, two: Leaser) -> None:
    async with one.lease("leased", LONG) as held:
        first = _given(held)
        async with two.lease("leased", LONG) as refused, one.lease("leased", LONG) as again:
            _leases(refused is None, "a lease that another process holds is not given")
            _leases(again is None, "a lease that is held is not given again, not even to its holder")
        async with two.lease("other", LONG) as other:
            _leases(other is not None, "leases of different credentials have nothing to do with each other")
    async with two.lease("leased", LONG) as held:
        second = _given(held, "a lease is given back at the end of its block")
        _leases(second.fence > first.fence, "each lease of a credential has a greater fence than the one before")


async def _check_cancelled(store: Leaser) -> None:
    with trio.CancelScope() as scope:
        async with store.lease("leased", LONG):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    async with store.lease("leased", LONG) as held:
        _leases(held is not None, "a lease is given back by whatever way its block is left")


async def _check_fences(one: Store, two: Store) -> None:
    version = await one.save("secret", "leased", b"old", None)
    async with _leaser(one).lease("leased", SHORT) as held:
        first = _given(held)
        async with _next_lease(_leaser(two), "leased") as second:
            _leases(second.fence > first.fence, "each lease of a credential has a greater fence than the one before")
            for if_version in (version, None):
                refused = await _refused(one, if_version)
                _leases(refused, "whoever lost its lease cannot save the secret, whatever version it expects")
            await one.save("state", "leased", b"cools", None)
            saved = await two.save("secret", "leased", b"new", version)
            _leases(saved == version + 1, "whoever has the lease may save the secret")
    for kind in ("secret", "state"):
        await one.delete(kind, "leased")


async def _check_late_end(one: Leaser, two: Leaser) -> None:
    async with AsyncExitStack() as stack:
        async with one.lease("leased", SHORT) as held:
            _given(held)
            await stack.enter_async_context(_next_lease(two, "leased"))
        async with one.lease("leased", LONG) as again:
            _leases(again is None, "whoever lost its lease does not end the one of its successor")


@asynccontextmanager
async def _next_lease(store: Leaser, id: str) -> AsyncIterator[Lease]:
    """The lease, as soon as the one before has run out."""
    for _ in range(TRIES):
        async with store.lease(id, LONG) as lease:
            if lease is not None:
                yield lease
                return
        await trio.sleep(SHORT)
    _leases(False, "a lease that ran out is given to whoever asks")


async def _refused(store: Store, if_version: int | None) -> bool:
    try:
        await store.save("secret", "leased", b"late", if_version)
    except StoreConflict:
        return True
    return False


def _given(lease: Lease | None, law: str = "a lease that nobody holds is given") -> Lease:
    _leases(lease is not None, law)
    return cast("Lease", lease)
