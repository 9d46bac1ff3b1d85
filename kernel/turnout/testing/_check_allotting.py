"""The laws of a store that divides limits among processes (`turnout.abc.Allotter`)."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from turnout.abc import Allotter, Claim, Store
from turnout.testing._law import Laws

_law = Laws("Allotter", "Stores")

ENDS_SOON = 0.2
"""Seconds of a claim whose end is waited for."""


async def check_allotting(open_store: Callable[[], AbstractAsyncContextManager[Store]]) -> None:
    """Check that a store which can divide limits does it by the laws; others are let pass.

    It is opened several times at once, as by several processes. Raises AssertionError.
    """
    async with open_store() as one:
        if not isinstance(one, Allotter):
            return
        async with open_store() as other, open_store() as third:
            _law(isinstance(other, Allotter) and isinstance(third, Allotter), "a store can do the same each time")
            if isinstance(other, Allotter) and isinstance(third, Allotter):
                await _check_sharing(one, other)
                await _check_use_counts(one, other)
                await _check_that_claims_end(one, other)
                await _check_together((one, other, third))


def _claim(name: str, used: int, wanted: int, *, limit: int = 10, seconds: float = 600.0) -> Claim:
    return Claim(name=name, limit=limit, used=used, wanted=wanted, seconds=seconds)


async def _granted(store: Allotter, *claims: Claim) -> list[int]:
    return [one.granted for one in await store.allot(claims)]


async def _check_sharing(one: Allotter, other: Allotter) -> None:
    _law(await _granted(one) == [], "no claims get no allotments")
    _law(await _granted(one, _claim("a", 0, 7)) == [7], "who is alone gets what it wants")
    (second,) = await other.allot([_claim("a", 0, 7)])
    _law(second.granted == 3, "the next one gets what the limit leaves")
    shown = [(share.used, share.wanted) for share in second.others]
    _law(shown == [(0, 7)], "each is told what the others use and want, and nothing of its own")
    _law(await _granted(one, _claim("a", 0, 6)) == [6], "a claim takes the place of the earlier one")
    _law(await _granted(other, _claim("a", 0, 7)) == [4], "what one gives back another gets")
    _law(await _granted(one, _claim("a", 0, 0)) == [0], "a claim on nothing gives everything back")
    (alone,) = await other.allot([_claim("a", 0, 12)])
    _law(
        (alone.granted, list(alone.others)) == (10, []), "nobody holds more than the limit, or is shown without a claim"
    )
    several = await _granted(one, _claim("b", 0, 2), _claim("a", 0, 1), _claim("A", 0, 10), _claim("a\0b ü", 0, 3))
    _law(several == [2, 0, 10, 3], "limits are told apart by name, and allotted in the order of the claims")
    await one.allot([_claim("A", 0, 5)])
    _law(await _granted(other, _claim("b", 0, 10), _claim("A", 0, 10)) == [8, 5], "what is not claimed anew stays held")


async def _check_use_counts(one: Allotter, other: Allotter) -> None:
    await one.allot([_claim("used", 10, 10)])
    _law(await _granted(other, _claim("used", 4, 8)) == [0], "who uses more than is left is granted none")
    (again,) = await one.allot([_claim("used", 9, 10)])
    _law(again.granted == 6, "what is in use is held, even beyond the limit, and nobody else is granted it")
    _law([(share.used, share.wanted) for share in again.others] == [(4, 8)], "what is used beyond the limit is shown")


async def _check_that_claims_end(one: Allotter, other: Allotter) -> None:
    await one.allot([_claim("ends", 3, 10, seconds=ENDS_SOON)])
    with trio.move_on_after(60):
        while await _granted(other, _claim("ends", 0, 10)) != [10]:  # noqa: ASYNC110  # the clock is the store's
            await trio.sleep(ENDS_SOON)
        return
    _law(False, "a claim ends by itself, and what it held is free again")


async def _check_together(stores: tuple[Allotter, ...]) -> None:
    got = [0] * len(stores)

    async def claim(number: int) -> None:
        for wanted in (1, 4, 2, 9, 5):
            (got[number],) = await _granted(stores[number], _claim("together", 0, wanted))

    async with trio.open_nursery() as nursery:
        for number in range(len(stores)):
            nursery.start_soon(claim, number)
    _law(sum(got) <= 10, "those that claim at the same time together get no more than the limit")
