"""What a selector sees: the ready tiers of a pick, over one provider or several (C5.8 to C5.10).

Views are cheap and short-lived: nothing is walked until it is asked for.
"""

from collections.abc import Iterator, Sequence

from turnout._entry import Entry
from turnout._rotation import Filter, Rotation
from turnout._shard import Shard
from turnout.abc import Candidate, Tier


class TierView:
    """Ready candidates of one priority over all providers asked for; an `abc.Tier`."""

    __slots__ = ("_in_turn", "_listed", "_passes", "_websocket", "priority")

    def __init__(
        self, priority: int, listed: Sequence[Shard], in_turn: Sequence[Shard], passes: Filter | None, websocket: bool
    ) -> None:
        self.priority = priority
        self._listed = listed
        self._in_turn = in_turn
        self._passes = passes
        self._websocket = websocket

    def __iter__(self) -> Iterator[Entry]:
        for rotation in self._rotations(self._listed):
            yield from rotation.in_order(self._passes)

    def first(self) -> Entry:
        """C5.7.1 and C5.10.4."""
        for rotation in self._rotations(self._listed):
            found = rotation.first(self._passes)
            if found is not None:
                return found
        raise _over()

    def following(self) -> Entry:
        """C5.7.2, C5.7.3 and C5.10.5."""
        for rotation in self._rotations(self._in_turn):
            found = rotation.following(self._passes)
            if found is not None:
                return found
        raise _over()

    def _rotations(self, shards: Sequence[Shard]) -> list[Rotation[Entry]]:
        """Those of this tier; of their websocket members only where any of these passes (C5.9.3, O8, O9)."""
        tiers = [tier for shard in shards if (tier := shard.tier(self.priority)) is not None]
        if self._websocket:
            preferred = [tier.websockets for tier in tiers]
            if any(rotation.serves(self._passes) for rotation in preferred):
                return preferred
        return [tier.everyone for tier in tiers]


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


class ReadyView:
    """The ready candidates of one pick, never none of them; an `abc.Ready`.

    Attributes:
        best: the highest tier with a ready candidate.
        preferred: the candidate that affinity asks for, if it passes and no higher tier is ready (O1, O5).
        turn: whose cursor moves when one of several providers is chosen (O17); None for one provider or a pin.
    """

    __slots__ = ("_in_turn", "_listed", "_passes", "_websocket", "best", "now", "preferred", "turn")

    def __init__(
        self,
        now: float,
        best: TierView | OnlyTier,
        *,
        listed: Sequence[Shard] = (),
        in_turn: Sequence[Shard] = (),
        passes: Filter | None = None,
        websocket: bool = False,
        preferred: Entry | None = None,
        turn: tuple[frozenset[str], str] | None = None,
    ) -> None:
        self.now = now
        self.best: Tier = best
        self.preferred: Candidate | None = preferred
        self.turn = turn
        self._listed = listed
        self._in_turn = in_turn
        self._passes = passes
        self._websocket = websocket

    @property
    def tiers(self) -> Sequence[Tier]:
        """Every tier with a ready candidate that passes, the highest first."""
        passes = self._passes
        found = {tier.priority for shard in self._listed for tier in shard.tiers if tier.everyone.serves(passes)}
        return [
            TierView(priority, self._listed, self._in_turn, passes, self._websocket)
            for priority in sorted(found, reverse=True)
        ] or [self.best]


def _over() -> LookupError:
    return LookupError("this view of ready candidates is over: it is valid only during `select`")
