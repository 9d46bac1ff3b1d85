"""A place on a credential, held while it serves one attempt."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import trio

from turnout._entry import Entry
from turnout._schedule import Schedule


class Slot:
    """Counts an attempt as in flight on its credential, and holds the probe of one that is half open (design 8)."""

    __slots__ = ("_entry", "_now", "_probing", "_schedule", "began")

    def __init__(self, schedule: Schedule, entry: Entry, now: float) -> None:
        self._schedule = schedule
        self._entry = entry
        self._now = now
        self._probing = False
        self.began = trio.current_time()

    @contextmanager
    def until_kept(self) -> Iterator[None]:
        """Hold the place while the block runs; when it ends well, it stays held, for whoever leaves it later."""
        self.__enter__()
        try:
            yield
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        self._probing = self._schedule.begin(self._entry, self._now)
        return self

    def answered(self) -> float:
        """The reply or the first payload is here: a probe is over. Gives the seconds it took, on Trio's clock."""
        took = trio.current_time() - self.began
        self._schedule.end(self._entry, probe_over=self._probing, release=False, took=took)
        self._probing = False
        return took

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._schedule.end(self._entry, probe_over=self._probing, release=True)
