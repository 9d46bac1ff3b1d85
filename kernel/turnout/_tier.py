"""One tier (C5.5): of one provider as the schedule keeps it, and of all providers of a pick as a selector sees it."""

from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from turnout._rotation import Filter, Rotation, Seat


class WireSeat(Seat, Protocol):
    """A seat that may have websockets on (C1.12.2)."""

    websockets: bool


W = TypeVar("W", bound=WireSeat)
S = TypeVar("S", bound=Seat)


class TierView(Generic[S]):
    """Ready candidates of one priority, provider by provider; an `abc.Tier`.

    `listed` has the rotations of the providers in the order asked for, `in_turn` in the order of their turns.
    """

    __slots__ = ("_in_turn", "_listed", "_passes", "priority")

    def __init__(
        self,
        priority: int,
        listed: Sequence[Rotation[S]],
        in_turn: Sequence[Rotation[S]],
        passes: Filter | None,
    ) -> None:
        self.priority = priority
        self._listed = listed
        self._in_turn = in_turn
        self._passes = passes

    def __iter__(self) -> Iterator[S]:
        for rotation in self._listed:
            yield from rotation.in_order(self._passes)

    def first(self) -> S:
        """C5.7.1, and C5.10.4 over several providers."""
        for rotation in self._listed:
            found = rotation.first(self._passes)
            if found is not None:
                return found
        raise _over()

    def following(self) -> S:
        """C5.7.2 and C5.7.3, and C5.10.5 over several providers."""
        for rotation in self._in_turn:
            found = rotation.following(self._passes)
            if found is not None:
                return found
        raise _over()


class Tier(Generic[W]):
    """Entries of one priority. Those with websockets on have a rotation of their own besides (C5.9.3).

    Attributes:
        alone: the view of a pick that asks for this provider only and leaves nobody out.
    """

    __slots__ = ("alone", "everyone", "priority", "websockets")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.everyone: Rotation[W] = Rotation()
        self.websockets: Rotation[W] = Rotation()
        self.alone = TierView(priority, (self.everyone,), (self.everyone,), None)

    def add(self, seat: W) -> None:
        """Let a new entry in, not ready."""
        self.everyone.add(seat)
        if seat.websockets:
            self.websockets.add(seat)

    def discard(self, seat: W) -> None:
        """Let an entry go that is not ready."""
        self.everyone.discard(seat)
        if seat.websockets:
            self.websockets.discard(seat)

    def admit(self, seat: W) -> None:
        """Make an entry ready that was not."""
        self.everyone.admit(seat)
        if seat.websockets:
            self.websockets.admit(seat)

    def bench(self, seat: W) -> None:
        """Make an entry not ready that was."""
        self.everyone.bench(seat)
        if seat.websockets:
            self.websockets.bench(seat)

    def chosen(self, seat: W) -> None:
        """Move the rotations behind this choice."""
        self.everyone.chosen(seat)
        if seat.websockets:
            self.websockets.chosen(seat)


def _over() -> LookupError:
    return LookupError("this view of ready candidates is over: it is valid only during `select`")
