"""Places under limits that several processes keep together: G11, G12, and what happens while they cannot ask."""

import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from turnout._plugin_calls import plugin_code
from turnout._shared_limits import ALONE, LIFE, PATIENCE, PERIOD, PRESENCE_PACE, WAITERS, SharedLimits
from turnout.abc import Allotment, Claim, Share, Store
from turnout.errors import StoreError
from turnout.testing import MemoryStore, check_store


class Ground:
    """The memory of a store that divides."""

    def __init__(self) -> None:
        self.held: dict[str, dict[object, tuple[Claim, int, float]]] = {}


class Divider:
    """One process's way to it. `away`: it fails; `hangs`: it does not answer; `takes`: seconds for an answer."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.away = False
        self.hangs = False
        self.takes = 0.0
        self.asked = 0

    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.away:
            raise StoreError("the server is gone")
        await trio.sleep(self.takes)
        return [self._judged(claim) for claim in claims]

    def _judged(self, claim: Claim) -> Allotment:
        now = trio.current_time()
        rows = {who: row for who, row in self.ground.held.get(claim.name, {}).items() if row[2] > now}
        rows.pop(self, None)
        granted = claim.granted(sum(held for _, held, _ in rows.values()))
        others = [Share(used=theirs.used, wanted=theirs.wanted) for theirs, _, _ in rows.values()]
        if claim.wanted or claim.used:
            rows[self] = claim, max(claim.used, granted), now + claim.seconds
        self.ground.held[claim.name] = rows
        return Allotment(granted=granted, others=others)


class DividingStore(Divider):
    """All that a store must do, besides: for the laws."""

    api: ClassVar[int] = 1

    def __init__(self, memory: MemoryStore, ground: Ground) -> None:
        super().__init__(ground)
        self.list, self.save, self.delete = memory.list, memory.save, memory.delete


async def test_the_store_of_these_tests_keeps_the_laws_of_one_that_divides(autojump_clock: MockClock) -> None:
    memory, ground = MemoryStore(), Ground()

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        yield DividingStore(memory, ground)

    await check_store(open_store)


class Process:
    """One process: its places, and its way to the store."""

    def __init__(self, ground: Ground) -> None:
        self.store = Divider(ground)
        self.limits = SharedLimits()
        self.scope: trio.CancelScope
        self.used = 0

    async def run(self) -> None:
        assert self.limits.use(self.store, plugin_code("turnout.stores", "divider"))
        with trio.CancelScope() as self.scope:
            await self.limits.run()

    async def enter(self, limit: int, name: str = "a") -> bool:
        found = await self.limits.enter(name, limit)
        self.used += found
        return found

    async def take(self, limit: int, count: int) -> int:
        """Try so many times at once; gives how often there was a place."""
        before = self.used
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(self.enter, limit)
        return self.used - before

    def leave(self, count: int = 1) -> None:
        for _ in range(count):
            self.used -= 1
            self.limits.leave("a")


@asynccontextmanager
async def running(count: int) -> AsyncIterator[list[Process]]:
    ground = Ground()
    processes = [Process(ground) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for process in processes:
            nursery.start_soon(process.run)
        await wait_all_tasks_blocked()
        yield processes
        nursery.cancel_scope.cancel()


async def test_all_places_can_be_taken_and_not_one_more(autojump_clock: MockClock) -> None:
    """G11: by three processes of which each could fill the limit alone."""
    async with running(3) as processes:
        async with trio.open_nursery() as nursery:
            for process in processes:
                nursery.start_soon(process.take, 20, 20)

        assert sum(process.used for process in processes) == 20


async def test_a_burst_into_an_idle_process_gets_every_place_there_is(autojump_clock: MockClock) -> None:
    """G11: how many may wait for the store is bounded by the limit, not below it."""
    limit = 4 * WAITERS
    entered: list[bool] = []
    async with running(1) as (process,):

        async def call() -> None:
            entered.append(await process.enter(limit))

        async with trio.open_nursery() as nursery:
            for _ in range(limit):
                nursery.start_soon(call)

    assert entered == [True] * limit


async def test_nobody_is_refused_while_calls_come_faster_than_a_slow_store_answers(autojump_clock: MockClock) -> None:
    """G11: later calls may take what was asked for an earlier one, which does not mean that the limit is used up."""
    entered: list[bool] = []
    async with running(1) as (process,):
        process.store.takes = 0.4

        async def call() -> None:
            entered.append(await process.enter(100_000))

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                for _ in range(10):
                    nursery.start_soon(call)
                await trio.sleep(0.01)

    assert len(entered) == 3000
    assert all(entered)


async def test_limits_are_told_apart_by_name(autojump_clock: MockClock) -> None:
    async with running(2) as (one, other):
        assert await one.enter(1, "a")
        assert await other.enter(1, "b")
        assert not await other.enter(1, "a")


async def test_calls_seldom_ask_the_store(autojump_clock: MockClock) -> None:
    """G12: ten thousand of them, with a few in flight, cost a few rounds; only the first one waits for the store."""
    async with running(2) as (one, _):
        await one.enter(64)
        before = one.store.asked
        for _ in range(100):
            for _ in range(100):
                began = trio.current_time()
                assert await one.enter(64)
                assert trio.current_time() == began
                one.leave()
            await trio.sleep(PERIOD / 10)

        assert one.store.asked - before < 30


async def test_a_process_alone_under_its_limits_asks_seldom_until_somebody_else_is_there(
    autojump_clock: MockClock,
) -> None:
    """G12: and whoever comes finds half of the limit free at once."""
    async with running(2) as (one, other):
        for _ in range(4):
            assert await one.enter(16)
        await trio.sleep(ALONE)
        before = one.store.asked
        await trio.sleep(4 * ALONE)
        assert one.store.asked - before <= 4

        began = trio.current_time()
        assert await other.take(16, 8) == 8
        assert trio.current_time() == began
        await trio.sleep(ALONE + PERIOD)  # it has heard of the other
        before = one.store.asked
        await trio.sleep(4 * PERIOD)
        assert one.store.asked - before >= 3


async def test_a_process_that_holds_most_of_a_limit_asks_often_for_somebody_may_come(autojump_clock: MockClock) -> None:
    """G11."""
    async with running(1) as (one,):
        for _ in range(9):
            assert await one.enter(16)
        before = one.store.asked
        await trio.sleep(4 * PERIOD)
        assert one.store.asked - before >= 3


async def test_places_that_are_not_used_any_more_are_there_for_the_others(autojump_clock: MockClock) -> None:
    async with running(2) as (one, other):
        assert await one.take(10, 10) == 10
        one.leave(10)

        assert await other.take(10, 10) == 10


async def test_those_who_want_more_than_there_is_come_to_equal_parts(autojump_clock: MockClock) -> None:
    """As calls end; nobody is cut off for it."""
    async with running(2) as (one, other):
        assert await one.take(12, 20) == 12
        for _ in range(40):
            for process in (one, other):
                process.leave(min(process.used, 2))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.take, 12, 12)
                nursery.start_soon(other.take, 12, 12)
            assert one.used + other.used <= 12
            await trio.sleep(PERIOD)

        assert (one.used, other.used) == (6, 6)


async def test_a_full_limit_refuses_as_soon_as_the_store_has_said_so(autojump_clock: MockClock) -> None:
    async with running(2) as (one, other):
        await one.take(10, 10)
        began = trio.current_time()

        assert not await one.enter(10)
        assert not await other.enter(10)
        assert trio.current_time() - began < 2 * PERIOD


async def test_only_some_wait_for_a_place_and_none_for_long(autojump_clock: MockClock) -> None:
    """The others are refused at once: who waits costs memory."""
    async with running(2) as (one, other):
        assert await one.take(4, 4) == 4
        one.leave(4)
        one.scope.cancel()  # it dies, holding four places that it does not use
        async with trio.open_nursery() as nursery:
            for _ in range(WAITERS):
                nursery.start_soon(other.enter, 4)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            assert not await other.enter(4)
            assert trio.current_time() == began

        assert trio.current_time() - began <= PATIENCE


async def test_the_places_of_a_process_that_died_are_free_after_its_claim_is_over(autojump_clock: MockClock) -> None:
    async with running(2) as (one, other):
        await one.take(10, 10)
        one.scope.cancel()
        await trio.sleep(LIFE - 1.5)
        assert not await other.enter(10)
        await trio.sleep(1.5)

        assert await other.take(10, 10) == 10


async def test_one_that_stood_still_asks_again_before_it_lets_anybody_in(autojump_clock: MockClock) -> None:
    """K2: others may have its places by now."""
    async with running(1) as (one,):
        assert await one.enter(10)
        one.store.hangs = True
        autojump_clock.autojump_threshold = math.inf
        autojump_clock.jump(LIFE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.enter, 10)
            await wait_all_tasks_blocked()
            assert one.used == 1
            nursery.cancel_scope.cancel()


# --- without a store -------------------------------------------------------------------------------------------------


async def known(processes: Sequence[Process]) -> None:
    """Each has heard of the others."""
    await trio.sleep(2 * PRESENCE_PACE)
    assert {process.limits._processes for process in processes} == {len(processes)}


async def test_while_the_store_is_away_each_has_its_part(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """G2, G11: and afterwards they keep the limit together again."""
    async with running(3) as processes:
        await known(processes)
        caplog.set_level(logging.INFO)
        for process in processes:
            process.store.away = True
        for process in processes:
            await process.take(20, 20)
            began = trio.current_time()
            await process.take(20, 20)
            assert trio.current_time() == began, "nobody waits for a store that is away"
        assert [process.used for process in processes] == [7, 7, 7]
        assert caplog.text.count("each of 3 processes keeps to its part of the limits for now: the server is gone") == 3
        for process in processes:
            process.store.away = False
        await trio.sleep(3)
        assert not await processes[0].enter(20)
        processes[1].leave(2)
        async with trio.open_nursery() as nursery:
            for process in processes:
                nursery.start_soon(process.take, 20, 20)

        assert sum(process.used for process in processes) == 20
        assert caplog.text.count("limits hold over all processes again") == 3


async def test_what_is_held_may_be_used_until_the_claim_is_over(autojump_clock: MockClock) -> None:
    async with running(2) as processes:
        await known(processes)
        one, other = processes
        assert await one.take(20, 16) == 16
        await trio.sleep(PERIOD)
        one.store.away = other.store.away = True
        await trio.sleep(PERIOD)
        one.leave(4)
        assert await one.take(20, 1) == 1
        await trio.sleep(LIFE)
        assert await one.take(20, 1) == 0, "its part is ten"


async def test_a_store_that_hangs_is_waited_for_once(autojump_clock: MockClock) -> None:
    """G3."""
    async with running(2) as processes:
        await known(processes)
        one = processes[0]
        one.store.hangs = True
        began = trio.current_time()
        assert await one.enter(20)
        assert trio.current_time() - began <= PATIENCE
        began = trio.current_time()
        assert await one.take(20, 20) == 9
        assert trio.current_time() == began
        one.store.hangs = False
        await trio.sleep(3)
        assert await one.take(20, 20) == 10


async def test_without_a_store_that_divides_one_process_has_the_whole_limit() -> None:
    limits = SharedLimits()
    assert not limits.use(MemoryStore(), plugin_code("turnout.stores", "memory"))
    assert [await limits.enter("a", 2) for _ in range(3)] == [True, True, False]
    limits.leave("a")
    assert await limits.enter("a", 2)


async def test_another_store_counts_what_is_in_use(autojump_clock: MockClock) -> None:
    """Reload."""
    async with running(1) as (one,), trio.open_nursery() as nursery:
        await one.take(10, 6)
        one.store = Divider(Ground())
        nursery.start_soon(one.run)
        assert await one.take(10, 10) == 4
        nursery.cancel_scope.cancel()


async def test_a_limit_may_change(autojump_clock: MockClock) -> None:
    """Reload: who is in stays in."""
    async with running(2) as (one, other):
        assert await one.take(10, 10) == 10
        assert not await one.enter(5)
        assert not await other.enter(5)
        one.leave(6)
        await trio.sleep(2 * PERIOD)
        assert await other.take(5, 5) == 1
        await trio.sleep(3 * PERIOD)
        assert await one.take(8, 8) == 3
