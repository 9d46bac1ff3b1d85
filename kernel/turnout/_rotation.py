"""Whose turn it is inside one tier (C5.7): by id, or by virtual parent and then by id.

A rotation remembers the last choice by its id and goes on behind it, whoever came, went, cooled or recovered
meanwhile (O10). It is told of every choice, whichever selector made it.
"""

from collections.abc import Collection, Iterator
from typing import Generic, Protocol, TypeVar, final

from turnout._ring import Ring


class Seat(Protocol):
    """What a rotation asks of its members. None of it may change while they are members.

    Attributes:
        key: id.
        family: virtual parent (C1.12.3), empty for none.
        site: origin.
    """

    key: str
    family: str
    site: str


S = TypeVar("S", bound=Seat)


@final
class Filter:
    """Who is left out of a pick: those already tried, and all of an origin that fails (design 8)."""

    __slots__ = ("origins", "tried")

    def __init__(self, tried: Collection[str], origins: Collection[str]) -> None:
        self.tried = tried
        self.origins = origins

    def __call__(self, seat: Seat) -> bool:
        """Whether `seat` passes."""
        return seat.key not in self.tried and seat.site not in self.origins


class _Family(Generic[S]):
    """Members of one virtual parent, and whose turn was last among them."""

    __slots__ = ("last", "members")

    def __init__(self) -> None:
        self.members: Ring[S] = Ring()
        self.last = ""


class Rotation(Generic[S]):
    """The members of one tier, some of them ready: `ready` counts these."""

    __slots__ = ("_families", "_last", "_last_parent", "_members", "_orphans", "_parents", "_sites", "ready")

    def __init__(self) -> None:
        self.ready = 0
        self._members: Ring[S] = Ring()
        self._last = ""
        self._parents: Ring[_Family[S]] = Ring()
        self._families: dict[str, _Family[S]] = {}
        self._last_parent = ""
        self._orphans = 0  # ready members without a parent
        self._sites: dict[str, int] = {}  # members by origin

    def add(self, seat: S) -> None:
        """Let a new member in, not ready."""
        self._members.add(seat.key, seat)
        self._sites[seat.site] = self._sites.get(seat.site, 0) + 1
        parent = seat.family
        if parent:
            family = self._families.get(parent)
            if family is None:
                family = self._families[parent] = _Family()
                self._parents.add(parent, family)
            family.members.add(seat.key, seat)

    def discard(self, seat: S) -> None:
        """Let a member go that is not ready."""
        self._members.discard(seat.key)
        self._sites[seat.site] -= 1
        if not self._sites[seat.site]:
            del self._sites[seat.site]
        parent = seat.family
        if parent:
            family = self._families[parent]
            family.members.discard(seat.key)
            if not family.members:
                self._parents.discard(parent)
                del self._families[parent]

    def admit(self, seat: S) -> None:
        """Make a member ready that was not."""
        self.ready += 1
        self._members.admit(seat.key)
        parent = seat.family
        if parent:
            self._families[parent].members.admit(seat.key)
            self._parents.admit(parent)
        else:
            self._orphans += 1

    def bench(self, seat: S) -> None:
        """Make a member not ready that was."""
        self.ready -= 1
        self._members.bench(seat.key)
        parent = seat.family
        if parent:
            family = self._families[parent].members
            family.bench(seat.key)
            if not family.ready:
                self._parents.bench(parent)
        else:
            self._orphans -= 1

    def serves(self, passes: Filter | None) -> bool:
        """Whether a ready member passes."""
        return self.ready > 0 if passes is None else self.following(passes) is not None

    def first(self, passes: Filter | None) -> S | None:
        """The first by id that passes (C5.7.1), None when there is none."""
        return self._members.after("") if passes is None else next(self.in_order(passes), None)

    def in_order(self, passes: Filter | None) -> Iterator[S]:
        """Everyone ready who passes, by id."""
        if passes is None:
            return iter(self._members)
        return iter(()) if self._left_out(passes) else filter(passes, self._members)

    def following(self, passes: Filter | None) -> S | None:
        """The one whose turn it is (C5.7.2, C5.7.3), None when nobody passes. Does not move the rotation."""
        if not self._orphans and self._parents.ready > 1:
            return self._following_in_families(passes)
        if passes is None:
            return self._members.after(self._last)
        if self._left_out(passes):
            return None
        return next(filter(passes, self._members.behind(self._last)), None)

    def chosen(self, seat: S) -> None:
        """Go on behind `seat` from now on; it need not be a member any more."""
        self._last = seat.key
        parent = seat.family if self._families else ""
        if parent:
            self._last_parent = parent
            family = self._families.get(parent)
            if family is not None:
                family.last = seat.key

    def _following_in_families(self, passes: Filter | None) -> S | None:
        if passes is None:
            family = self._parents.after(self._last_parent)
            return None if family is None else family.members.after(family.last)
        if self._left_out(passes):
            return None
        for family in self._parents.behind(self._last_parent):
            for seat in filter(passes, family.members.behind(family.last)):
                return seat
        return None

    def _left_out(self, passes: Filter) -> bool:
        """Whether every member is of an origin that is left out: often all share one, and then nobody is walked."""
        return bool(passes.origins) and all(site in passes.origins for site in self._sites)
