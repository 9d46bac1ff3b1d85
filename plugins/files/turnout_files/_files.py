"""The store: the archive, with the waiting done in a thread."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar, TypeVar, final

import trio

from turnout import Record
from turnout.abc import PluginContext
from turnout_files._archive import Archive
from turnout_files._settings import FilesSettings

T = TypeVar("T")


@final
class Files:
    """Keeps each record in a private file of its own; the README has the laws of the directory."""

    api: ClassVar[int] = 1
    Settings = FilesSettings

    def __init__(self, archive: Archive, now: Callable[[], float]) -> None:
        """Made by `open`."""
        self._archive = archive
        self._now = now
        self._one_at_a_time = trio.CapacityLimiter(1)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: FilesSettings, context: PluginContext) -> AsyncIterator["Files"]:
        """Open the directory and hold its lock; raises StoreError, which says what to do, without directory or key."""
        place = settings.place()
        keys = settings.key_source(place)
        archive = await trio.to_thread.run_sync(Archive, place, context.log, keys, context.now())
        try:
            yield cls(archive, context.now)
        finally:
            archive.close()

    async def list(self) -> Iterable[Record]:
        """Every sound record; a damaged one is renamed to `*.corrupt-TIME`, logged and left out. Raises StoreError."""
        return await self._in_thread(self._archive.list)

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        """Write a record to disk and give its new version; see `turnout.abc.Store.save`."""
        return await self._in_thread(lambda now: self._archive.save(kind, id, data, if_version, now))

    async def delete(self, kind: str, id: str) -> None:
        """Remove a record; nothing happens when there is none. Raises StoreError."""
        await self._in_thread(lambda _: self._archive.delete(kind, id))

    async def rotate_key(self) -> int:
        """Re-wrap every secret with a new key; gives how many; see `turnout.abc.KeyRotator`."""
        return await self._in_thread(self._archive.rotate_key)

    async def _in_thread(self, work: Callable[[float], T]) -> T:
        """Do `work` in a thread, one at a time and to its end: a cancelled caller waits for what has begun.

        The time is read here, for the kernel's clock answers in Trio's own thread only.
        """
        return await trio.to_thread.run_sync(work, self._now(), limiter=self._one_at_a_time)
