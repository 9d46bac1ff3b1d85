"""Upstreams that fail by the hundred, through the whole house and on the wire: no storm, and a quick return."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from inside import House, open_house

from turnout_upstream import Play, Rule, Script, Upstream, open_upstream, plays

TRANSPORTS = ("pool", "httpx")

IN_FLIGHT = 20

DOWN = Script(default=plays.reset_after_request())


def half(requests: int) -> Script:
    """Every other request is reset."""
    alternating: tuple[Play, ...] = (plays.reset_after_request(), plays.chat()) * requests
    return Script(rules=(Rule(plays=alternating),))


@attrs.frozen
class Houses:
    """A house whose credentials `a` and `b` have an upstream each.

    Attributes:
        rationed: decision records that name the retry budget.
    """

    house: House
    upstreams: tuple[Upstream, Upstream]
    rationed: list[str] = attrs.field(factory=list)

    @property
    def seen(self) -> list[int]:
        """Requests that each upstream has seen."""
        return [upstream.log.seen for upstream in self.upstreams]

    async def ask(self, requests: int) -> Counter[int]:
        """So many requests, twenty of them in flight: how often each status was the answer."""
        statuses: Counter[int] = Counter()
        numbers = iter(range(requests))

        async def client() -> None:
            for _ in numbers:
                reply = await self.house.chat()
                statuses[reply.status_code] += 1
                record = reply.headers["x-turnout-decision"]
                self.rationed.extend([record] if "budget" in record else [])

        async with trio.open_nursery() as nursery:
            for _ in range(IN_FLIGHT):
                nursery.start_soon(client)
        return statuses


@asynccontextmanager
async def open_two(folder: Path, first: Script, second: Script, *, transport: str) -> AsyncIterator[Houses]:
    async with open_upstream(second) as other:
        urls = {"b": other.url}
        opened = open_house(folder, first, names=("a", "b"), urls=urls, transport=transport, limit=300)
        async with opened as house:
            yield Houses(house, (house.upstream, other))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("requests", [100, pytest.param(10_000, marks=pytest.mark.long)])
async def test_an_upstream_that_resets_every_other_request_is_left_for_the_sound_one(
    tmp_path: Path, transport: str, requests: int
) -> None:
    """B32, first part: ejected after a few, and what met it goes on elsewhere."""
    async with open_two(tmp_path, half(requests), Script(), transport=transport) as both:
        statuses = await both.ask(requests)
        bad, good = both.seen

    assert statuses[200] >= 0.995 * requests
    assert bad + good <= 1.25 * requests
    assert bad <= IN_FLIGHT + 0.05 * requests


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("requests", [100, pytest.param(10_000, marks=pytest.mark.long)])
async def test_two_upstreams_that_reset_every_other_request_see_no_storm(
    tmp_path: Path, transport: str, requests: int
) -> None:
    """B32, second part: the rest fails, and its records say that the retry budget was used up."""
    async with open_two(tmp_path, half(requests), half(requests), transport=transport) as both:
        statuses = await both.ask(requests)
        seen = sum(both.seen)
    assert seen <= 1.25 * requests + IN_FLIGHT
    assert set(statuses) == {200, 502}
    assert both.rationed


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("requests", [100, pytest.param(6000, marks=pytest.mark.long)])
async def test_an_outage_sees_little_more_than_the_load_and_its_end_is_noticed_by_the_first_call(
    tmp_path: Path, transport: str, requests: int
) -> None:
    """B33: everything is down, and then up again."""
    async with open_two(tmp_path, DOWN, DOWN, transport=transport) as both:
        statuses = await both.ask(requests)
        seen = sum(both.seen)
        for upstream in both.upstreams:
            upstream.use(Script())
        first = await both.house.chat()
        afterwards = await both.ask(50)

    assert set(statuses) <= {429, 502, 503}
    assert seen <= 1.2 * requests + IN_FLIGHT
    assert first.status_code == 200
    assert afterwards == {200: 50}
