"""The last decision records, so that a call can be explained afterwards."""

from collections import OrderedDict

from turnout._values import Decision

KEPT = 1000
"""Decision records in memory; the oldest goes first."""


class Decisions:
    """Decision records by request id."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: OrderedDict[str, Decision] = OrderedDict()

    def remember(self, decision: Decision) -> None:
        """Keep a record; one with the same id is replaced."""
        self._records[decision.id] = decision
        if len(self._records) > KEPT:
            self._records.popitem(last=False)

    def explain(self, id: str) -> Decision | None:
        """The record of a call, None when it is not known any more."""
        return self._records.get(id)
