"""The store: the archive, with the waiting done in a thread."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar, Final, TypeVar, final

import trio

from turnout import Record
from turnout.abc import Change, PluginContext
from turnout_files._archive import Archive
from turnout_files._directory import TRY
from turnout_files._settings import FilesSettings

T = TypeVar("T")

POLL: Final = 1.0
"""Seconds between two looks at what others have changed; what has changed must look the same in two of them."""

SHARE: Final = 0.02
"""Part of the time that looking may take: with 10,000 credentials that makes some three seconds between two looks."""

BREATH: Final = 4 * TRY
"""Seconds between two turns of a rotation: without it whoever waits for one would hardly ever find none taken."""


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
        """Open the directory and hold its lock; raises StoreError, which says what to do, without directory or key.

        A command is let in while another process has the lock, and writes in turn with it.
        """
        place = settings.place()
        opened = partial(Archive, place, context.log, settings.key_source(place), context.now(), guest=context.briefly)
        archive = await trio.to_thread.run_sync(opened)
        context.log.info("kept in %s", place)
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

    def watch(self) -> AsyncIterator[Sequence[Change]]:
        """What people and other programs have changed in the directory; see `turnout.abc.Watcher`."""
        return Watching(self._look)

    async def _look(self) -> Sequence[Change]:
        found = await trio.to_thread.run_sync(self._archive.look)
        return await self._in_thread(lambda now: self._archive.changes(found, now))

    async def rotate_key(self) -> int:
        """Bring every secret under a new key, in pieces between which others are served; gives how many.

        See `turnout.abc.KeyRotator`. Raises StoreError; then the older keys are kept.
        """
        steps, total = self._archive.rotation(self._now()), 0
        while (done := await self._in_thread(lambda _: next(steps, None))) is not None:
            total += done
            await trio.sleep(BREATH)
        return total

    async def _in_thread(self, work: Callable[[float], T]) -> T:
        """Do `work` in a thread, one at a time and to its end: a cancelled caller waits for what has begun.

        The time is read here, for the kernel's clock answers in Trio's own thread only.
        """
        return await trio.to_thread.run_sync(work, self._now(), limiter=self._one_at_a_time)


@final
class Watching:
    """Changes by others, one batch after the other."""

    def __init__(self, look: Callable[[], Awaitable[Sequence[Change]]]) -> None:
        """Made by `Files.watch`."""
        self._look = look
        self._pause = POLL

    def __aiter__(self) -> "Watching":
        return self

    async def __anext__(self) -> Sequence[Change]:
        """Wait for changes and give them. Raises StoreError; may be asked again."""
        while True:
            await trio.sleep(self._pause)
            began = trio.current_time()
            changes = await self._look()
            self._pause = max(POLL, (trio.current_time() - began) / SHARE)
            if changes:
                return changes
