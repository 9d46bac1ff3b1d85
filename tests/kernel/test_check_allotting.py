"""`check_store` catches stores that divide limits among processes and break a law of that."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import attrs
import pytest
import trio
from kit_laws import laws_of, unproven
from trio.testing import MockClock

from turnout.abc import Allotment, Claim, Share, Store
from turnout.testing import MemoryStore, check_store
from turnout.testing import _check_allotting as rules


@attrs.frozen
class Row:
    """What one process holds of a limit."""

    claim: Claim
    granted: int
    held: int
    until: float


class Place:
    """What several processes share."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.rows: dict[str, dict[object, Row]] = {}
        self.opens = 0
        self.busy = 0


class Sound:
    """A store that divides, as one process sees it. Sound, and a base of broken ones."""

    api: ClassVar[int] = 1

    def __init__(self, place: Place) -> None:
        self.place = place
        self.list, self.save, self.delete = place.memory.list, place.memory.save, place.memory.delete

    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        await trio.lowlevel.checkpoint()
        return [self.judged(claim) for claim in claims]

    def judged(self, claim: Claim) -> Allotment:
        rows = {who: row for who, row in self.place.rows.get(claim.name, {}).items() if row.until > trio.current_time()}
        self.place.rows[claim.name] = rows
        before = rows.get(self)
        others = self.others(rows)
        granted = self.granted(claim, sum(row.held for row in others), before.granted if before else 0)
        rows.pop(self, None)
        if self.keeps(claim):
            rows[self] = Row(claim, granted, self.held(claim, granted), trio.current_time() + self.life(claim))
        return Allotment(granted=granted, others=[self.shown(row) for row in others])

    def others(self, rows: dict[object, Row]) -> list[Row]:
        return [row for who, row in rows.items() if who is not self]

    def granted(self, claim: Claim, held: int, before: int) -> int:
        return claim.granted(held)

    def keeps(self, claim: Claim) -> bool:
        return bool(claim.wanted or claim.used)

    def held(self, claim: Claim, granted: int) -> int:
        return max(claim.used, granted)

    def life(self, claim: Claim) -> float:
        return claim.seconds

    def shown(self, row: Row) -> Share:
        return Share(used=row.claim.used, wanted=row.claim.wanted)


def divides_once(place: Place) -> Store:
    place.opens += 1
    return Sound(place) if place.opens <= 4 else place.memory  # three for what every store must do, then together


class AllotsNothingToo(Sound):
    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        return await super().allot(claims) or [Allotment(granted=0, others=())]


class Stints(Sound):
    def granted(self, claim: Claim, held: int, before: int) -> int:
        return max(0, super().granted(claim, held, before) - 1)


class GivesAll(Sound):
    def granted(self, claim: Claim, held: int, before: int) -> int:
        return claim.wanted


class ShowsNobody(Sound):
    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        return [attrs.evolve(one, others=()) for one in await super().allot(claims)]


class CountsTwice(Sound):
    def others(self, rows: dict[object, Row]) -> list[Row]:
        return list(rows.values())


class NeverGrows(Sound):
    def granted(self, claim: Claim, held: int, before: int) -> int:
        return min(super().granted(claim, held, before), before or claim.wanted)


class KeepsWhatIsGivenBack(Sound):
    def granted(self, claim: Claim, held: int, before: int) -> int:
        return super().granted(claim, held, before) or before


class ShowsWhoHasLeft(Sound):
    def keeps(self, claim: Claim) -> bool:
        return True


class AnswersBackwards(Sound):
    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        return list(reversed(await super().allot(claims)))


class DropsTheRest(Sound):
    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        for name in self.place.rows.keys() - {claim.name for claim in claims}:
            self.place.rows[name].pop(self, None)
        return await super().allot(claims)


class GrantsWhatIsUsed(Sound):
    def granted(self, claim: Claim, held: int, before: int) -> int:
        return max(claim.used, super().granted(claim, held, before))


class ForgetsUse(Sound):
    def held(self, claim: Claim, granted: int) -> int:
        return granted


class ShowsWhatIsGranted(Sound):
    def shown(self, row: Row) -> Share:
        return Share(used=min(row.claim.used, row.granted), wanted=row.claim.wanted)


class NeverEnds(Sound):
    def life(self, claim: Claim) -> float:
        return 1e9


class GivesAllInAHurry(Sound):
    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        self.place.busy += 1
        found = await super().allot(claims)
        if self.place.busy > 1:
            found = [attrs.evolve(one, granted=claim.wanted) for one, claim in zip(found, claims, strict=True)]
        await trio.lowlevel.checkpoint()
        self.place.busy -= 1
        return found


BROKEN: tuple[tuple[Callable[[Place], Store], str], ...] = (
    (divides_once, "a store can do the same each time"),
    (AllotsNothingToo, "no claims get no allotments"),
    (Stints, "who is alone gets what it wants"),
    (GivesAll, "the next one gets what the limit leaves"),
    (ShowsNobody, "each is told what the others use and want"),
    (CountsTwice, "a claim takes the place of the earlier one"),
    (NeverGrows, "what one gives back another gets"),
    (KeepsWhatIsGivenBack, "a claim on nothing gives everything back"),
    (ShowsWhoHasLeft, "nobody holds more than the limit, or is shown without a claim"),
    (AnswersBackwards, "limits are told apart by name, and allotted in the order of the claims"),
    (DropsTheRest, "what is not claimed anew stays held"),
    (GrantsWhatIsUsed, "who uses more than is left is granted none"),
    (ForgetsUse, "what is in use is held, even beyond the limit"),
    (ShowsWhatIsGranted, "what is used beyond the limit is shown"),
    (NeverEnds, "a claim ends by itself"),
    (GivesAllInAHurry, "those that claim at the same time together get no more than the limit"),
)
"""Each with the law that it breaks."""


async def check(store: Callable[[Place], Store]) -> None:
    place = Place()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        yield store(place)
        await trio.lowlevel.checkpoint()

    await check_store(opened)


async def test_a_store_that_divides_passes(autojump_clock: MockClock) -> None:
    await check(Sound)


@pytest.mark.parametrize(("store", "law"), BROKEN)
async def test_a_store_that_breaks_a_law_of_dividing_is_told_which(
    store: Callable[[Place], Store], law: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(AssertionError, match=rf"^broken: .*{law}.* \(turnout\.abc\.Allotter; plugins\.md, Stores\)$"):
        await check(store)


def test_every_law_of_dividing_has_a_broken_store() -> None:
    assert not unproven(laws_of(rules), [law for _, law in BROKEN])
