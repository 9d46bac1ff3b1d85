"""How a limit is divided, by value: nobody gets more than there is, and nobody less than an equal part (G11)."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from turnout._allowance import alone, asked, fair, wanted
from turnout._shared_limits import Account
from turnout.abc import Allotment, Claim, Share

limits = st.integers(1, 200)
counts = st.integers(0, 300)
wishes = st.lists(st.integers(0, 200), min_size=1, max_size=6)


@given(limits, wishes)
def test_parts_fit_the_limit_and_are_equal_where_it_is_short(limit: int, all_wishes: list[int]) -> None:
    parts = [
        fair(limit, wish, [*all_wishes[:number], *all_wishes[number + 1 :]]) for number, wish in enumerate(all_wishes)
    ]

    assert all(part <= wish for part, wish in zip(parts, all_wishes, strict=True))
    assert sum(parts) < limit + len(parts), (
        "rounding up may give each but one a place too many, which the store refuses"
    )
    if sum(all_wishes) <= limit:
        assert parts == all_wishes
    else:
        assert sum(parts) >= limit, "no place is left over"
    equal = limit // len(parts)
    assert all(part >= min(wish, equal) for part, wish in zip(parts, all_wishes, strict=True))


@given(counts, limits)
def test_what_is_wanted_is_a_little_more_than_what_was_needed(peak: int, limit: int) -> None:
    found = wanted(peak, limit)

    assert min(peak, limit) <= found <= limit
    assert found <= peak + 1 + peak // 4
    assert bool(found) == bool(peak)


@given(limits, counts, wishes)
def test_what_is_asked_for_is_what_was_needed_or_an_equal_part_at_the_least(
    limit: int, peak: int, others: list[int]
) -> None:
    found = asked(peak, limit, others)

    assert found <= wanted(peak, limit)
    assert found >= min(peak, limit // (1 + len(others)))


@given(limits, st.integers(1, 300))
def test_parts_of_processes_that_hear_nothing_exceed_the_limit_by_less_than_one_each(limit: int, count: int) -> None:
    assert limit <= alone(limit, count) * count < limit + count


@given(limits, st.integers(0, 300), counts, counts)
def test_a_claim_is_granted_what_the_others_leave(limit: int, used: int, wish: int, others: int) -> None:
    granted = Claim(name="a", limit=limit, used=used, wanted=wish, seconds=1.0).granted(others)

    assert 0 <= granted <= wish
    assert granted == 0 or granted + others <= limit
    assert granted in {0, wish} or granted + others == limit


# --- a limit among processes, step by step ---------------------------------------------------------------------------


class House:
    """Processes and their store, without a clock. Answers of the store may be lost on their way."""

    def __init__(self, limit: int, count: int) -> None:
        self.limit = limit
        self.accounts = [Account("a", limit) for _ in range(count)]
        self.claims: dict[int, tuple[Claim, int]] = {}
        self.on_the_way: dict[int, tuple[Claim, Allotment]] = {}

    def enter(self, number: int) -> None:
        account = self.accounts[number]
        account.peak = max(account.peak, account.used + 1)
        account.used += account.used < account.held

    def leave(self, number: int) -> None:
        self.accounts[number].used -= self.accounts[number].used > 0

    def ask(self, number: int) -> None:
        """A claim reaches the store; its answer is on the way."""
        claim = self.accounts[number].claim()
        others = {other: held for other, held in self.claims.items() if other != number}
        granted = claim.granted(sum(held for _, held in others.values()))
        self.claims[number] = claim, max(claim.used, granted)
        shares = [Share(used=theirs.used, wanted=theirs.wanted) for theirs, _ in others.values()]
        self.on_the_way[number] = claim, Allotment(granted=granted, others=shares)

    def hear(self, number: int) -> None:
        if number in self.on_the_way:
            claim, allotment = self.on_the_way.pop(number)
            self.accounts[number].take(allotment, claim, 0.0, 0)

    def lose(self, number: int) -> None:
        self.on_the_way.pop(number, None)

    def settle(self, rounds: int) -> None:
        for _ in range(rounds):
            for number in range(len(self.accounts)):
                self.ask(number)
                self.hear(number)

    @property
    def used(self) -> int:
        return sum(account.used for account in self.accounts)


steps = st.lists(
    st.tuples(st.sampled_from([House.enter, House.enter, House.leave, House.ask, House.hear, House.lose]), counts),
    max_size=120,
)


@given(st.integers(1, 12), st.integers(1, 4), steps)
def test_processes_that_claim_in_any_order_never_use_more_than_the_limit(
    limit: int, count: int, play: Sequence[tuple[object, int]]
) -> None:
    """G11: nor when an answer is late or lost."""
    house = House(limit, count)
    for step, number in play:
        step(house, number % count)  # type: ignore[operator]  # a method of House
        assert house.used <= limit


def played(limit: int, count: int, play: Sequence[tuple[object, int]]) -> House:
    """A house in which all that has happened, and whatever was on the way is lost."""
    house = House(limit, count)
    for step, number in play:
        step(house, number % count)  # type: ignore[operator]  # a method of House
    for number in range(count):
        house.lose(number)
    return house


@given(st.integers(1, 40), st.integers(1, 4), steps, st.integers(0, 3))
def test_whatever_has_been_one_who_needs_all_places_gets_them_when_the_others_need_none(
    limit: int, count: int, play: Sequence[tuple[object, int]], hungry: int
) -> None:
    house = played(limit, count, play)
    for account in house.accounts:
        account.used = 0
    house.settle(2)
    for _ in range(4 * limit):
        house.enter(hungry % count)
        house.settle(1)

    assert house.used == limit


@given(st.integers(1, 40), st.integers(2, 4), steps)
def test_whatever_has_been_those_who_all_want_more_come_to_equal_parts(
    limit: int, count: int, play: Sequence[tuple[object, int]]
) -> None:
    """As calls end: nobody is cut off for it."""
    house = played(limit, count, play)
    for _ in range(2 * limit):
        for number, account in enumerate(house.accounts):
            house.leave(number)
            account.peak = 2 * limit
        house.settle(1)
        for number in range(count):
            for _ in range(limit):
                house.enter(number)

    held = [account.held for account in house.accounts]
    assert sum(held) == limit
    assert max(held) - min(held) <= count, held
