"""Run a Trio program so that the same seed gives the same order of steps.

Trio shuffles the tasks that are ready, with a generator of its own. Seeding that generator, and switching on the sort
that it does under Hypothesis, makes the order a function of the seed. Both are private names of Trio: `HOOKS` lists
them, and a test fails loudly on a Trio that has them no more.
"""
# ruff: noqa: SLF001  # that is what this is about

import heapq
import itertools
import math
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import trio
import trio.testing
from trio._core import _run as scheduler

T = TypeVar("T")

HOOKS = ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING")
"""Trio's own names that this leans on (trio 0.35)."""


PATIENCE = 100
"""How often in a row Trio may find nobody to run and nothing to wait for: it has a task of its own to wake at times."""


class Stuck(RuntimeError):
    """Every task waits, and no time will end that."""


class SkippingClock(trio.abc.Clock):
    """Virtual seconds that pass only while nobody can run: then they skip to the next deadline.

    As `trio.testing.MockClock` with an `autojump_threshold` of 0, which takes one more turn of Trio's loop for each
    jump and waits for ever where nobody will wake. `trio.testing.wait_all_tasks_blocked` is not seen: `wait_blocked` is
    for this clock. One clock is for one run of Trio.
    """

    def __init__(self) -> None:
        self._alive = trio.CancelScope()
        self._now = 0.0
        self._sleepers: list[tuple[float, int, trio.lowlevel.Task]] = []
        self._gone: set[int] = set()
        self._count = itertools.count()
        self._in_vain = 0
        self._watchers = trio.lowlevel.ParkingLot()

    def restart(self) -> None:
        """Say 0 again, in the middle of a run: nobody may wait for a time."""
        self._now = 0.0
        self._in_vain = 0
        self._sleepers.clear()
        self._gone.clear()

    def start_clock(self) -> None:
        """Nothing: no time passes by itself."""

    def current_time(self) -> float:
        """Seconds since the start."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Never any: Trio asks when no task can run, and it is later at once."""
        at = min(deadline, self._first())
        self._in_vain = self._in_vain + 1 if at == math.inf else 0
        if self._watchers:
            self._watchers.unpark_all()
        elif self._in_vain > PATIENCE:
            self._end()
        elif not self._in_vain:
            self._now = max(self._now, at)
            while self._first() <= self._now:
                trio.lowlevel.reschedule(heapq.heappop(self._sleepers)[2])
        return 0.0

    def _first(self) -> float:
        """When the first of those who sleep by this clock is to wake."""
        sleepers = self._sleepers
        while sleepers and sleepers[0][1] in self._gone:
            self._gone.remove(heapq.heappop(sleepers)[1])
        return sleepers[0][0] if sleepers else math.inf

    async def sleep(self, seconds: float) -> None:
        """As `trio.sleep`, for a quarter of its price: that ends in a deadline, which is a cancellation."""
        if seconds <= 0:
            await trio.lowlevel.checkpoint()
            return
        number = next(self._count)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._gone.add(number)
            return trio.lowlevel.Abort.SUCCEEDED

        heapq.heappush(self._sleepers, (self._now + seconds, number, trio.lowlevel.current_task()))
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _end(self) -> None:
        if self._alive.cancel_called:
            raise Stuck("every task waits, nothing will ever wake one, and some cannot be cancelled")
        self._alive.cancel()
        self._in_vain = 0

    async def run(self, program: Callable[[], Awaitable[T]]) -> T:
        """Run a program; raises Stuck when every task waits and nothing will ever wake one."""
        before, self._alive = self._alive, trio.CancelScope()
        try:
            with self._alive:
                return await program()
        finally:
            self._alive = before
        raise Stuck("every task waits, and nothing will ever wake one")

    async def wait_blocked(self) -> None:
        """Wait until no other task can run without time passing."""
        await self._watchers.park()


def run_deterministically(
    program: Callable[[], Awaitable[T]],
    seed: int,
    instruments: Sequence[trio.abc.Instrument] = (),
    clock: SkippingClock | None = None,
) -> T:
    """`trio.run` on a clock that jumps over every wait; the order of steps follows from `seed` alone.

    None stands for a mock clock of Trio's. With a `SkippingClock` it raises Stuck where that would wait for ever.

    Only programs that wait for nothing but Trio are deterministic: no sockets, no threads, no processes. What iterates
    over sets of texts depends on `PYTHONHASHSEED` as well.
    """
    with _seeded(seed):
        if clock is not None:
            return trio.run(clock.run, program, clock=clock, instruments=instruments)
        return trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0), instruments=instruments)


def begin_anew(seed: int, clock: SkippingClock) -> None:
    """In the middle of a run, while nobody else is alive: from here on all goes as if the run began with this seed."""
    scheduler._r.seed(seed)
    clock.restart()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    hooks: Any = scheduler
    for name in HOOKS:
        if not hasattr(hooks, name):
            raise RuntimeError(f"this Trio has no trio._core._run.{name}: its order of steps cannot be seeded")
    generator: random.Random = hooks._r
    before, sorted_before = generator.getstate(), hooks._ALLOW_DETERMINISTIC_SCHEDULING
    generator.seed(seed)
    hooks._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        generator.setstate(before)
        hooks._ALLOW_DETERMINISTIC_SCHEDULING = sorted_before
