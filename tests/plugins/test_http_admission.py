"""Places for requests in flight, without a server."""

from collections import Counter

from turnout_http import ClientLimits
from turnout_http._admission import REMEMBERED, Admission


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
