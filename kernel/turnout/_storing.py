"""Which store a kernel writes to: the configured one, another one after a reload, the same one when it is opened again.

What runs beside calls to keep a store up to date is started here, and what is dirty is flushed when the kernel closes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import trio

from turnout._affinity import BUCKETS
from turnout._affinity_records import KEEPERS
from turnout._custody import Custody, is_kept
from turnout._shared_limits import SharedLimits
from turnout._write_behind import LAST_PATIENCE, STORE_LIMIT, WriteBehind
from turnout.abc import Change, Store

FLUSH_LIMIT = 10.0
"""Seconds that closing may spend on bringing what is dirty to the store."""


class Storing:
    """Writes what changes in one custody to one store at a time.

    Attributes:
        writer: who writes to the store in use; there from when the plugins are open.
        limits: places under limits, which the store divides among processes if it can.
    """

    writer: WriteBehind

    def __init__(
        self,
        custody: Custody,
        *,
        failed: Callable[[str, str, str], Any],
        follow: Callable[[Sequence[Change]], Any],
    ) -> None:
        self._custody = custody
        self._failed = failed
        self._follow = follow
        self._nursery: trio.Nursery | None = None
        self.limits = SharedLimits()
        self._refused = False

    def new_writer(self, store: Store, name: str) -> WriteBehind:
        """Somebody who can write to this store, not in use yet."""
        return WriteBehind(self._custody, store, name, failed=self._failed, follow=self._follow)

    def start(self, nursery: trio.Nursery) -> None:
        """Bring changes to the store and back, from now on in tasks of `nursery`."""
        self._nursery = nursery
        nursery.start_soon(self.writer.run, name="write-behind")
        nursery.start_soon(self.writer.watch, name="following the store")
        nursery.start_soon(self.writer.gather, name="keeping affinity")
        self._share_limits(nursery)

    def move_to(self, writer: WriteBehind, nursery: trio.Nursery) -> None:
        """Write to another store from now on; everything worth keeping goes there.

        What that store has already is to be joined with it before anything is written, so before the next wait.
        """
        self.writer.hand_over(writer)
        self.writer = writer
        dirty, affinity = self._custody.dirty, self._custody.affinity
        self._custody.stored.clear()  # the other store has these
        for id, credential in self._custody.credentials.items():
            for kind in ("secret", "state"):
                if is_kept(credential, kind):
                    dirty.mark(kind, id)
        buckets = [f"{number:x}" for number in range(BUCKETS)]
        affinity.unsaved.update(buckets)
        for bucket in buckets:
            dirty.mark(KEEPERS, bucket)
        self.start(nursery)

    def go_on_with(self, store: Store) -> None:
        """The store may be the one that was opened again: the instance that failed answers nobody any more."""
        if store is self.writer.store:
            return
        self.writer.go_on_with(store)
        if self._nursery is not None:
            self._nursery.start_soon(partial(self.writer.watch, anew=True), name="following the store")
            self._share_limits(self._nursery)

    def _share_limits(self, nursery: trio.Nursery) -> None:
        if self.limits.use(self.writer.store, self.writer.border):
            nursery.start_soon(self.limits.run, name="sharing limits")

    async def flush(self) -> bool:
        """Bring what is dirty to the store; gives whether all of it is there now.

        Waits for 10 s at most, cancelled or not; for a moment only once the store has not taken everything.
        """
        limit = STORE_LIMIT if self._refused else FLUSH_LIMIT
        self._refused = True
        with trio.CancelScope(deadline=trio.current_time() + limit, shield=True):
            self.writer.mark_affinity()
            self._refused = not await self.writer.flush(patience=LAST_PATIENCE)
        return not self._refused
