"""Places for requests in flight, without a server."""

from collections import Counter
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from turnout import Seconds
from turnout_http import ClientLimits
from turnout_http._admission import REMEMBERED, Admission
from turnout_http._refusals import Refusal


class Counting:
    """Places that there are enough of."""

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()

    async def enter(self, name: str, limit: int) -> bool:
        self.used[name] += 1
        return True

    def leave(self, name: str) -> None:
        self.used[name] -= 1


async def test_clients_that_come_no_more_are_forgotten_and_those_that_are_in_give_their_places_back() -> None:
    """A4, G11: keys come and go with reloads, for as long as the process lives."""
    places = Counting()
    admission = Admission(ClientLimits(), places, "http")
    await admission.enter("first")
    for number in range(2 * REMEMBERED):
        await admission.enter(f"key {number}")
        admission.leave(f"key {number}")
    assert len(admission._names) <= REMEMBERED
    admission.leave("first")

    assert places.used.total() == admission.in_flight == 0
    assert set(places.used.values()) == {0}


async def test_who_waited_in_vain_gives_the_place_of_its_client_back(autojump_clock: MockClock) -> None:
    """I6, C-12: refused at once, after the wait, or gone meanwhile; and the next in line gets in."""
    places = Counting()
    admission = Admission(ClientLimits(requests=1, queue=2, queue_wait=Seconds(5.0)), places, "http")
    await admission.enter("in")

    async def wait_in_vain() -> None:
        with pytest.raises(Refusal, match="all places"):
            await admission.enter("late")

    async with trio.open_nursery() as nursery:
        gone = trio.CancelScope()

        async def leave_early() -> None:
            with gone:
                await admission.enter("gone")

        nursery.start_soon(leave_early)
        nursery.start_soon(wait_in_vain)
        await wait_all_tasks_blocked()
        with pytest.raises(Refusal, match="all places"):
            await admission.enter("one too many")
        gone.cancel()
    assert places.used == {"http requests in": 1, "http requests late": 0, "http requests gone": 0} | {
        "http requests one too many": 0
    }

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(admission.enter, "next"))
        await wait_all_tasks_blocked()
        admission.leave("in")
    assert places.used["http requests next"] == admission.in_flight == 1
