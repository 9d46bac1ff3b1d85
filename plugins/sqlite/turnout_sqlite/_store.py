"""The store: the database, with the waiting done in a thread."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from logging import Logger
from typing import ClassVar, TypeVar, final

import trio

from turnout import Record
from turnout.abc import Allotment, Change, Claim, Lease, PluginContext
from turnout.errors import StoreError
from turnout_sqlite._allotments import allot
from turnout_sqlite._leases import give_back, take
from turnout_sqlite._opening import Opened, doze
from turnout_sqlite._settings import SqliteSettings

T = TypeVar("T")

POLL = 0.5
"""Seconds between two looks at what others have changed."""


@final
class Sqlite:
    """Keeps records in a database that several processes may share; the README has its laws."""

    api: ClassVar[int] = 1
    Settings = SqliteSettings

    def __init__(self, opened: Opened, now: Callable[[], float], lane: trio.CapacityLimiter, log: Logger) -> None:
        """Made by `open`."""
        self._log = log
        self._opened = opened
        self._records = opened.records
        self._now = now
        self._lane = lane

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: SqliteSettings, context: PluginContext) -> AsyncIterator["Sqlite"]:
        """Open the database; raises StoreError when it or its key cannot be used, saying what to do."""
        lane = trio.CapacityLimiter(1)
        opened = await trio.to_thread.run_sync(
            Opened, settings, context.now(), context.log, _doze_unless_cancelled, limiter=lane
        )
        context.log.info("kept in %s", settings.place())
        try:
            yield cls(opened, context.now, lane, context.log)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(opened.close, limiter=lane)

    async def list(self) -> Iterable[Record]:
        """Every sound record; a damaged one moves to the table `set_aside` and is logged. Raises StoreError."""
        return await self._in_thread(self._records.list)

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        """Write a record to disk and give its new version; see `turnout.abc.Store.save`.

        A secret whose lease this process had, and lost, is a StoreConflict whatever its version.
        """
        return await self._in_thread(lambda now: self._records.save(kind, id, data, if_version, now))

    async def read(self, kind: str, id: str) -> Record | None:
        """One record as it is now, None when there is none; see `turnout.abc.Reader`."""
        return await self._in_thread(lambda now: self._records.read(kind, id, now))

    async def delete(self, kind: str, id: str) -> None:
        """Remove a record; nothing happens when there is none. Raises StoreError."""
        await self._in_thread(lambda _: self._records.delete(kind, id))

    def watch(self) -> AsyncIterator[Sequence[Change]]:
        """What other processes have changed since the last `list`; see `turnout.abc.Watcher`."""
        return Watching(self._changes)

    async def _changes(self) -> Sequence[Change]:
        return await self._in_thread(self._records.changes)

    @asynccontextmanager
    async def lease(self, id: str, seconds: float) -> AsyncIterator[Lease | None]:
        """The sole right to renew a credential, None while somebody else has it; see `turnout.abc.Leaser`."""
        lease = await self._in_thread(lambda _: take(self._opened.connection, id, seconds))
        if lease is None:
            yield None
            return
        self._records.fences[id] = lease.fence
        try:
            yield lease
        finally:
            del self._records.fences[id]
            with trio.CancelScope(shield=True):
                await self._give_back(lease)

    async def _give_back(self, lease: Lease) -> None:
        try:
            await self._in_thread(lambda _: give_back(self._opened.connection, lease))
        except StoreError as error:
            self._log.warning("%s; it ends by itself", error)

    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        """Divide limits among the processes; see `turnout.abc.Allotter`."""
        return await self._in_thread(lambda _: allot(self._opened.connection, self._records.writer, claims))

    async def rotate_key(self) -> int:
        """Re-wrap every secret with a new key, in pieces between which others are served; gives how many."""
        await self._in_thread(lambda _: self._records.begin_rotation())
        total = 0
        after: str | None = None
        while True:
            done, after = await self._rewrap_some(after)
            total += done
            if after is None:
                break
        await self._in_thread(lambda _: self._records.end_rotation())
        return total

    async def _rewrap_some(self, after: str | None) -> tuple[int, str | None]:
        return await self._in_thread(lambda now: self._records.rewrap_some(after, now))

    async def _in_thread(self, work: Callable[[float], T]) -> T:
        """Do `work` in the one thread lane of this database, to its end: a cancelled caller waits for what has begun.

        The time is read here, for the kernel's clock answers in Trio's own thread only.
        """
        return await trio.to_thread.run_sync(self._opened.in_place, work, self._now(), limiter=self._lane)


def _doze_unless_cancelled() -> None:
    """In a thread of Trio's: nobody waits for the end of a wait that was given up."""
    trio.from_thread.check_cancelled()
    doze()


@final
class Watching:
    """Changes of others, one batch after the other."""

    def __init__(self, look: Callable[[], Awaitable[Sequence[Change]]]) -> None:
        """Made by `Sqlite.watch`."""
        self._look = look

    def __aiter__(self) -> "Watching":
        return self

    async def __anext__(self) -> Sequence[Change]:
        """Wait for changes and give them. Raises StoreError; may be asked again."""
        while True:
            await trio.sleep(POLL)
            if changes := await self._look():
                return changes
