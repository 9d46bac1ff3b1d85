"""A place on a credential, held while it serves one attempt."""

from types import TracebackType
from typing import Self

from turnout._entry import Entry
from turnout._schedule import Schedule


class Slot:
    """Counts an attempt as in flight on its credential, and holds the probe of one that is half open (design 8).

    Attributes:
        began: when the attempt began, on Trio's clock.
    """

    __slots__ = ("_entry", "_probing", "_recorded", "_schedule", "began")

    def __init__(self, schedule: Schedule, entry: Entry, recorded: str, began: float) -> None:
        self._schedule = schedule
        self._entry = entry
        self._recorded = recorded
        self._probing = False
        self.began = began

    def __enter__(self) -> Self:
        self._probing = self._schedule.begin(self._entry, self._recorded)
        return self

    def answered(self, took: float) -> None:
        """The reply or the first payload is here, after so many seconds: a probe is over."""
        self._schedule.end(self._entry, self._recorded, probe_over=self._probing, release=False, took=took)
        self._probing = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._schedule.end(self._entry, self._recorded, probe_over=self._probing, release=True)
