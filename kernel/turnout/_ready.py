"""What a selector sees: the ready tiers of a pick, over one provider or several (C5.8 to C5.11).

Views are cheap and short-lived: nothing is walked until it is asked for.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from turnout._entry import Entry
from turnout._rotation import Filter
from turnout._shard import Shard
from turnout._tier import TierView
from turnout._turns import Turn
from turnout.abc import Tier


class Source(Protocol):
    """Where a view finds its tiers when it is asked for all of them."""

    def views(self) -> Sequence[Tier]: ...


class OnlyTier:
    """The tier of a pick that is pinned to one credential (C5.11)."""

    __slots__ = ("_entry", "priority")

    def __init__(self, entry: Entry) -> None:
        self.priority = entry.priority
        self._entry = entry

    def __iter__(self) -> Iterator[Entry]:
        return iter((self._entry,))

    def first(self) -> Entry:
        """The pinned credential."""
        return self._entry

    def following(self) -> Entry:
        """The pinned credential."""
        return self._entry

    def views(self) -> Sequence[Tier]:
        """Itself."""
        return (self,)


class Pick:
    """Whom a pick is about when that is not simply one whole group.

    `listed` has the groups of the providers in the order asked for, `in_turn` in the order of their turns.
    """

    __slots__ = ("_in_turn", "_listed", "_passes", "_websocket")

    def __init__(
        self, listed: Sequence[Shard], in_turn: Sequence[Shard], passes: Filter | None, *, websocket: bool
    ) -> None:
        self._listed = listed
        self._in_turn = in_turn
        self._passes = passes
        self._websocket = websocket

    def tier(self, priority: int) -> TierView[Entry]:
        """One tier over all providers; of its websocket members only, where any of these passes (C5.9.3, O8, O9)."""
        passes = self._passes
        listed = [tier for shard in self._listed if (tier := shard.tier(priority)) is not None]
        in_turn = [tier for shard in self._in_turn if (tier := shard.tier(priority)) is not None]
        if self._websocket and any(tier.websockets.serves(passes) for tier in listed):
            sockets = [tier.websockets for tier in listed]
            return TierView(priority, sockets, [tier.websockets for tier in in_turn], passes)
        return TierView(priority, [tier.everyone for tier in listed], [tier.everyone for tier in in_turn], passes)

    def views(self) -> Sequence[Tier]:
        """Every tier with a ready entry that passes, the highest first."""
        found = {tier.priority for shard in self._listed for tier in shard.tiers if tier.everyone.serves(self._passes)}
        return [self.tier(priority) for priority in sorted(found, reverse=True)]


class ReadyView:
    """The ready candidates of one pick, never none of them; an `abc.Ready`.

    Attributes:
        best: the highest tier with a ready candidate.
        preferred: the candidate that affinity asks for, if it passes and no higher tier goes before it (O1, O5).
        turn: whose mark moves when one of several providers is chosen (O17); None for one provider or a pin.
    """

    __slots__ = ("_source", "best", "now", "preferred", "turn")

    def __init__(
        self,
        now: float,
        best: Tier,
        source: Source,
        preferred: Entry | None,
        turn: Turn | None = None,
    ) -> None:
        self.now = now
        self.best = best
        self.preferred = preferred
        self.turn = turn
        self._source = source

    @property
    def tiers(self) -> Sequence[Tier]:
        """Every tier with a ready candidate that passes, the highest first."""
        return self._source.views()
